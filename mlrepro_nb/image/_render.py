"""A plan as text: Containerfile, .dockerignore, requirements, entrypoint. Pure.

What stays the same from one commit to the next comes first: base image, locked
distributions, local wheels, data, code, the record. What a build needs but an
image must not have (pip, its cache, the index, certificates) is in the first
stage only, or a secret.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence

from mlrepro_nb.connect.oci import EPOCH
from mlrepro_nb.image._configuration import (
    LAB,
    LAYERS,
    LOCAL,
    NOT_COMPILED,
    PTH,
    VENV,
    configuration,
    entrypoint,
    labels,
    site_packages,
    tags,
)
from mlrepro_nb.image._plan import Plan

DEPENDENCIES = "dependencies"
"""The stage that has all that changes with the lock alone."""
LAST = "image"
"""The stage that is the image."""
PACKAGES = "packages.tar.gz"
"""File of the build context that holds the operating system's packages, unpacked."""

__all__ = [
    "EPOCH",
    "containerfile",
    "dependencies",
    "dockerignore",
    "entrypoint",
    "labels",
    "quote",
    "requirements",
    "tags",
]


def quote(value: str) -> str:
    """Return a value as a Containerfile's ENV and LABEL read it; control characters go."""
    clean = "".join(c if c.isprintable() else " " for c in value)
    for special in ("\\", '"', "$"):
        clean = clean.replace(special, f"\\{special}")
    return f'"{clean}"'


def requirements(plan: Plan) -> str:
    """Return the hash-pinned requirements; pins without hashes where nothing locked them yet."""
    if plan.lock is not None:
        return plan.lock
    head = "# Not locked yet: the build adds the hashes.\n"
    return head + "".join(f"{pin}\n" for pin in plan.pins)


def dockerignore(plan: Plan) -> str:
    """Return the allow-list of what of the build context the engine may see."""
    allowed = ["requirements.txt"] if plan.pins else []
    allowed += [PACKAGES] if plan.packages else []
    allowed += ["lab-requirements.txt"] if plan.lab else []
    allowed += ["wheels"] if plan.local else []
    allowed += [layer for layer, _ in LAYERS if plan.layer(layer)]
    return "".join(["*\n", *(f"!{name}\n" for name in allowed)])


def containerfile(plan: Plan) -> str:
    """Return the Containerfile."""
    parts = [_head(plan), _builder(plan), _dependencies(plan), _final(plan)]
    return "\n".join(parts)


def upper(plan: Plan) -> str:
    """Return the Containerfile of what is above the dependencies, which are an image by then.

    Its layers are linked on top: BuildKit need not unpack those below, nor have them at all.
    """
    return "\n".join([_head(plan), _final(plan).replace("\nCOPY ", "\nCOPY --link ")])


def dependencies(plan: Plan) -> tuple[str, ...]:
    """Return what the stage of the dependencies is made of, but for wheels of no index."""
    packages = tuple(f"{p.name} {p.version} {p.sha256}" for p in plan.packages)
    return (_builder(plan), _dependencies(plan), requirements(plan), plan.lab or "", *packages)


def _head(plan: Plan) -> str:
    lines = [
        f"# A {plan.kind} image of {_comment(plan.notebook)}, written by mlrepro-nb.",
        f"# Record {plan.record}",
    ]
    if not plan.base_digest:
        lines += [
            "# WARNING: the base image below is not pinned: its registry could not be asked for",
            "# the digest. A build refuses it; give --base NAME@sha256:… .",
        ]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _builder(plan: Plan) -> str:
    major, minor = plan.python.split(".")[:2]
    version = f"({major}, {minor})"
    wrong = f"the base image has another Python than the record, {major}.{minor}"
    lines = [
        f"FROM {plan.base_reference} AS builder",
        "",
        "# Dates and string hashes are fixed so that the same lock gives the same bytes.",
        f"ENV SOURCE_DATE_EPOCH={EPOCH} \\",
        "    PYTHONHASHSEED=0 \\",
        "    PYTHONDONTWRITEBYTECODE=1 \\",
        "    PIP_DISABLE_PIP_VERSION_CHECK=1 \\",
        "    PIP_NO_INPUT=1 \\",
        "    PIP_ROOT_USER_ACTION=ignore",
        "WORKDIR /build",
        f"RUN python -c 'import sys; sys.exit(sys.version_info[:2] != {version} and \\",
        f'        "{wrong}")\' \\',
        f"    && python -m venv --without-pip {VENV} \\",
        *([f"    && python -m venv --without-pip {LAB} \\"] if plan.lab else []),
        f"    && echo {LOCAL} > {site_packages(plan)}/{PTH}",
        "",
    ]
    if plan.packages:
        lines += [
            "# Packages of the operating system that the base image lacks, checked and unpacked:",
            *(f"#   {p.name} {p.version}" for p in plan.packages),
            f"COPY {PACKAGES} ./",
            f"RUN mkdir /packages && python -m tarfile -e {PACKAGES} /packages",
            "",
        ]
    if plan.pins or plan.lab:
        lines += [
            "# Certificates, index and proxy of the machine that builds are secrets: they are",
            "# in no layer, no history and no cache key.",
        ]
    if plan.lab:
        lines += [
            "# JupyterLab has an environment of its own, so that the recorded one stays as it was.",
            *_install(plan, LAB, "lab-requirements.txt"),
        ]
    if plan.pins:
        names = [re.split("==| @ ", pin)[0] for pin in plan.pins]
        lines += _install(plan, VENV, "requirements.txt", names)
    if plan.local:
        lines += [
            "# What comes from no index changes more often, so it has a layer of its own.",
            "COPY wheels/ wheels/",
            "RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \\",
            f"    python -m pip --python {VENV}/bin/python install --require-hashes --no-deps \\",
            f"        --no-compile --no-index --target {LOCAL} -r wheels/requirements.txt \\",
            f"    && {_settle(plan, LOCAL, [d.name for d in plan.local])}",
            "",
        ]
    return "\n".join(lines)


def _install(plan: Plan, environment: str, lock: str, names: Sequence[str] = ()) -> list[str]:
    return [
        f"COPY {lock} ./",
        "RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \\",
        "    --mount=type=secret,id=ca,target=/run/secrets/ca,required=false \\",
        "    --mount=type=secret,id=pipconf,target=/etc/pip.conf,required=false \\",
        f"    python -m pip --python {environment}/bin/python install --require-hashes \\",
        f"        --no-deps --no-compile -r {lock} \\",
        f"    && {_settle(plan, environment, names)}",
        "",
    ]


def _settle(plan: Plan, folder: str, names: Sequence[str]) -> str:
    """Compile and date a folder's distributions; all of them where nothing says which."""
    date = f'find {folder} -exec touch -h -d "@$SOURCE_DATE_EPOCH" {{}} +'
    compiled = sorted({*names} - {*plan.uncompiled})
    if not plan.bytecode or (names and not compiled):
        return date
    listed, what = "", folder
    if len(compiled) < len(names):
        lines = textwrap.wrap(" ".join(compiled), 80, break_on_hyphens=False)
        listed = (
            f'{VENV}/bin/python -c "import importlib.metadata as m, sys; \\\n'
            "        print(*(f.locate() for n in sys.argv[1:] for f in m.files(n) or ()), "
            "sep='\\n')\" \\\n"
            + "".join(f"        {line} \\\n" for line in lines)
            + "        > compiled.txt \\\n    && "
        )
        what = "-i compiled.txt"
    # Bytecode by one process in sorted order, never checked against its source: the
    # files cannot change any more. A package may hold files that do not compile.
    return (
        f"{listed}{{ {VENV}/bin/python -m compileall -qq -j 1 --invalidation-mode unchecked-hash "
        f"\\\n        -x '{NOT_COMPILED}' {what} \\\n        || true; }} \\\n"
        f"    && {date}"
    )


def _dependencies(plan: Plan) -> str:
    setup = configuration(plan)
    lines = [f"FROM {plan.base_reference} AS {DEPENDENCIES}"]
    if plan.packages:
        lines.append("COPY --from=builder /packages/ /")
    if setup.writable:
        lines.append(f"RUN install -d -m 1777 {' '.join(setup.writable)}")
    if plan.lab:
        lines.append(f"COPY --from=builder {LAB} {LAB}")
    lines.append(f"COPY --from=builder {VENV} {VENV}")
    if plan.local:
        lines.append(f"COPY --from=builder {LOCAL} {LOCAL}")
    lines += [f"WORKDIR {setup.workdir}", ""]
    return "\n".join(lines)


def _final(plan: Plan) -> str:
    setup = configuration(plan)
    rendered = [f'PATH="{":".join((*setup.path, "$PATH"))}"']
    rendered += [f"{name}={quote(value)}" for name, value in setup.variables.items()]
    lines = [f"FROM {DEPENDENCIES} AS {LAST}", "ENV " + " \\\n    ".join(rendered)]
    lines += [f"COPY {layer}/ {where}" for layer, where in LAYERS if plan.layer(layer)]
    lines.append(f"USER {setup.user}")
    if setup.port:
        lines.append(f"EXPOSE {setup.port}")
    if probe := setup.probe:
        lines += [
            f"HEALTHCHECK --interval={probe.interval}s --timeout={probe.timeout}s "
            f"--start-period={probe.start}s --retries={probe.retries} \\",
            f"    CMD {json.dumps(list(probe.command))}",
        ]
    else:
        lines.append("HEALTHCHECK NONE")
    lines += [f"ENTRYPOINT {json.dumps(list(setup.entrypoint))}", ""]
    rendered = [f"{name}={quote(value)}" for name, value in setup.labels.items()]
    lines += ["LABEL " + " \\\n      ".join(rendered), ""]
    return "\n".join(lines)
