"""A plan as text: Containerfile, .dockerignore, requirements, entrypoint. Pure.

What stays the same from one commit to the next comes first: base image, locked
distributions, local wheels, data, code, the record. What a build needs but an
image must not have (pip, its cache, the index, certificates) is in the first
stage only, or a secret.
"""

from __future__ import annotations

import json

from mlrepro_nb.image._names import tags as _tags
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.model import canonical, digest_text

EPOCH = 315532800
"""1980-01-01, the oldest date that a wheel can hold. Not the commit's: a layer of
dependencies must not change with every commit."""

USER = 10001
"""Numeric, or `runAsNonRoot` cannot tell that it is not root; high, or it may be someone's."""

PORT = 8080
_DATA_LABEL_LIMIT = 4096

LAYERS = (("data", "/app/project/"), ("model", "/app/model/"), ("code", "/app/project/"),
          ("record", "/app/record/"))  # fmt: skip
"""Folders of the build context and where they go, those that change least first."""


def quote(value: str) -> str:
    """Return a value as a Containerfile's ENV and LABEL read it; control characters go."""
    clean = "".join(c if c.isprintable() else " " for c in value)
    for special in ("\\", '"', "$"):
        clean = clean.replace(special, f"\\{special}")
    return f'"{clean}"'


def entrypoint(plan: Plan) -> tuple[str, ...]:
    """Return what a container runs; its arguments follow."""
    return ("/opt/venv/bin/python", "-m", f"mlrepro_nb.image.{plan.kind}")


def tags(plan: Plan) -> tuple[str, ...]:
    """Return the image's tags: version, commit, build."""
    return _tags(version=plan.version, commit=plan.commit, build_id=plan.build_id, dirty=plan.dirty)


def labels(plan: Plan) -> dict[str, str]:
    """Return the image's labels: the record's digest and what a person wants to see at once.

    Nothing of the moment or the machine is in them (the build id is a tag), so
    that the same plan gives the same image.
    """
    data = canonical(plan.data).decode()
    found = {
        "io.mlrepro.record": plan.record,
        "io.mlrepro.kind": plan.kind,
        "io.mlrepro.notebook": plan.notebook,
        "io.mlrepro.run": plan.run,
        "io.mlrepro.cell": None if plan.cell is None else str(plan.cell),
        "io.mlrepro.data": data if plan.data and len(data) <= _DATA_LABEL_LIMIT else None,
        "io.mlrepro.model": plan.model,
        "io.mlrepro.lock": None if plan.lock is None else digest_text(plan.lock),
        "io.mlrepro.dirty": "true" if plan.dirty else None,
        "org.opencontainers.image.title": plan.notebook.rpartition("/")[2],
        "org.opencontainers.image.version": plan.version,
        "org.opencontainers.image.revision": plan.commit,
        "org.opencontainers.image.source": plan.source,
        "org.opencontainers.image.created": plan.created,
        "org.opencontainers.image.base.name": plan.base.partition("@")[0],
        "org.opencontainers.image.base.digest": plan.base_digest,
    }
    return {key: value for key, value in found.items() if value}


def requirements(plan: Plan) -> str:
    """Return the hash-pinned requirements; pins without hashes where nothing locked them yet."""
    if plan.lock is not None:
        return plan.lock
    head = "# Not locked yet: the build adds the hashes.\n"
    return head + "".join(f"{pin}\n" for pin in plan.pins)


def dockerignore(plan: Plan) -> str:
    """Return the allow-list of what of the build context the engine may see."""
    allowed = ["requirements.txt"] if plan.pins else []
    allowed += ["wheels"] if plan.local else []
    allowed += [layer for layer, _ in LAYERS if plan.layer(layer)]
    return "".join(["*\n", *(f"!{name}\n" for name in allowed)])


def containerfile(plan: Plan) -> str:
    """Return the Containerfile."""
    parts = [_head(plan), _builder(plan), _final(plan)]
    return "\n".join(parts)


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
    site = f"/opt/venv/lib/python{major}.{minor}/site-packages"
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
        "    && python -m venv --without-pip /opt/venv \\",
        f"    && echo /opt/local > {site}/mlrepro-local.pth",
        "",
    ]
    if plan.pins:
        lines += [
            "# Certificates, index and proxy of the machine that builds are secrets: they are",
            "# in no layer, no history and no cache key.",
            "COPY requirements.txt ./",
            "RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \\",
            "    --mount=type=secret,id=ca,target=/run/secrets/ca,required=false \\",
            "    --mount=type=secret,id=pipconf,target=/etc/pip.conf,required=false \\",
            "    python -m pip --python /opt/venv/bin/python install --require-hashes --no-deps \\",
            "        --no-compile -r requirements.txt \\",
            f"    && {_settle('/opt/venv')}",
            "",
        ]
    if plan.local:
        lines += [
            "# What comes from no index changes more often, so it has a layer of its own.",
            "COPY wheels/ wheels/",
            "RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \\",
            "    python -m pip --python /opt/venv/bin/python install --require-hashes --no-deps \\",
            "        --no-compile --no-index --target /opt/local -r wheels/requirements.txt \\",
            f"    && {_settle('/opt/local')}",
            "",
        ]
    return "\n".join(lines)


def _settle(folder: str) -> str:
    # Bytecode by one process in sorted order, never checked against its source: the
    # files cannot change any more. A package may hold files that do not compile.
    return (
        "{ /opt/venv/bin/python -m compileall -qq -j 1 --invalidation-mode unchecked-hash "
        f"{folder} \\\n        || true; }} \\\n"
        f'    && find {folder} -exec touch -h -d "@$SOURCE_DATE_EPOCH" {{}} +'
    )


def _final(plan: Plan) -> str:
    variables = {
        "PATH": None,
        "HOME": "/tmp",
        "USER": "mlrepro",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        **plan.variables,
    }
    if plan.kind == "job":
        variables["MLREPRO_RESULTS"] = "/results"
    rendered = [
        'PATH="/opt/venv/bin:/opt/local/bin:$PATH"' if value is None else f"{name}={quote(value)}"
        for name, value in variables.items()
    ]
    lines = [f"FROM {plan.base_reference}", ""]
    if plan.kind == "job":
        # For any user: clusters may choose one, and a tmpfs keeps the mode of what it covers.
        lines.append("RUN install -d -m 1777 /results")
    lines.append("COPY --from=builder /opt/venv /opt/venv")
    if plan.local:
        lines.append("COPY --from=builder /opt/local /opt/local")
    lines.append("ENV " + " \\\n    ".join(rendered))
    lines += [f"COPY {layer}/ {where}" for layer, where in LAYERS if plan.layer(layer)]
    lines += ["WORKDIR /app", f"USER {USER}:{USER}"]
    if plan.kind == "service":
        probe = (
            "import os, urllib.request as r; "
            f"r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '{PORT}') + '/ping', "
            "timeout=4)"
        )
        lines += [
            f"EXPOSE {PORT}",
            "HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \\",
            f"    CMD {json.dumps(['/opt/venv/bin/python', '-c', probe])}",
        ]
    else:
        lines.append("HEALTHCHECK NONE")
    lines += [f"ENTRYPOINT {json.dumps(list(entrypoint(plan)))}", ""]
    rendered = [f"{name}={quote(value)}" for name, value in labels(plan).items()]
    lines += ["LABEL " + " \\\n      ".join(rendered), ""]
    return "\n".join(lines)
