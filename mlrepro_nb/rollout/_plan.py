"""Everything that the manifests will say, decided and explained: pure."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Record
from mlrepro_nb.rollout._image import ImageKind, Subject, registry_name
from mlrepro_nb.rollout._names import check_name, label_value, parse_cpu, workload_name
from mlrepro_nb.rollout._resources import Resources, resources

NOT_PUSHED = "<not-pushed>"
"""Stands for a digest that does not exist yet. No label may hold it, so no cluster takes it."""

NAMESPACE = "mlrepro"
PORT = 8080
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_VALUE = re.compile(r"(?i)\d{1,6}|true|false")
_SECRET = re.compile(r"(?:([^=:]+)=)?([^=:]+)(?::([^=:]+))?")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_OBJECT_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


class SecretRef(msgspec.Struct, frozen=True, kw_only=True):
    """A Secret in the namespace, or one key of it; never its value."""

    name: str
    key: str | None = None
    variable: str | None = None
    """None: every key becomes a variable of its own name."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user said; the rest is inferred."""

    kind: ImageKind | None = None
    name: str | None = None
    namespace: str | None = None
    context_namespace: str | None = None
    """The kubeconfig's, for want of one that was said."""
    replicas: int = 1
    memory: str | None = None
    cpu: str | None = None
    cpu_limit: str | None = None
    gpus: int | None = None
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    """``NAME``, ``NAME:KEY`` or ``VARIABLE=NAME:KEY``."""
    data_secrets: tuple[str, ...] = ()
    """As `secrets`, for the init step alone that fetches the data."""
    data_claim: str | None = None
    """PersistentVolumeClaim that the data is in, or is fetched into."""
    pull_secret: str | None = None
    allow_from: tuple[str, ...] = ()
    """Namespaces, beside its own, whose pods may call the service."""
    allow_egress: bool = False
    create_namespace: bool = False


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """The data that an image does not hold: fetched before its container starts."""

    size: int
    """MiB of the volume, where it is the pod's own."""
    claim: str | None = None
    secrets: tuple[SecretRef, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be rolled out, every value decided."""

    workload: Literal["Deployment", "Job"]
    name: str
    namespace: str
    image: str
    record: str | None
    notebook: str | None
    commit: str | None
    dirty: bool
    run: str | None
    version: str | None
    project: str
    replicas: int
    resources: Resources
    cpu_limit: str | None
    env: dict[str, str]
    secrets: tuple[SecretRef, ...]
    pull_secret: str | None
    allow_from: tuple[str, ...]
    egress: bool
    create_namespace: bool
    deadline: int | None
    """Seconds after which a Job is given up."""
    source: dict[str, str]
    """Where each inferred value comes from, and how sure that is."""
    data: Data | None = None
    proves: bool = False
    """Whether the image is known to be a service that mlrepro built: it has /ready, which says
    whether the model has proved itself, and /metrics. Any other has /health alone."""


def plan(image: Subject, record: Record | None, options: Options | None = None) -> Plan:
    """Decide everything about a rollout.

    Raises
    ------
    UsageError
        An option is not possible.
    """
    options = options or Options()
    source = {"image": f"{image.source}; high confidence"}
    kind = _kind(image, record, options, source)
    workload: Literal["Deployment", "Job"] = "Job" if kind == "job" else "Deployment"
    if options.replicas < 1 or (workload == "Job" and options.replicas != 1):
        raise UsageError(
            f"{options.replicas} replicas of a {workload} are not possible.",
            "A Job has one; a Deployment at least one (`kubectl scale` stops it).",
        )
    needs = resources(
        record, workload=workload, cpu=options.cpu, memory=options.memory, gpus=options.gpus
    )
    if options.cpu_limit is not None and parse_cpu(options.cpu_limit, "--cpu-limit") < parse_cpu(
        needs.cpu, "--cpu"
    ):
        raise UsageError(
            f"The CPU limit {options.cpu_limit} is below the request {needs.cpu}.",
            "Raise --cpu-limit or lower --cpu.",
        )
    data = _data(image, options, source)
    if data is not None and data.claim is None:
        ephemeral = int(needs.ephemeral.removesuffix("Mi")) + data.size
        needs = msgspec.structs.replace(needs, ephemeral=f"{ephemeral}Mi")
    env = {name: _checked_value(name, value) for name, value in sorted(options.env.items())}
    if needs.threads is not None and "OMP_NUM_THREADS" not in env:
        env = {"OMP_NUM_THREADS": needs.threads, **env}
    secrets = tuple(_secret(text) for text in options.secrets)
    for secret in secrets:
        if secret.variable in env:
            raise UsageError(
                f"{secret.variable} is given by --env and by --secret.", "Drop one of them."
            )
    if options.pull_secret is not None and not _OBJECT_NAME.fullmatch(options.pull_secret):
        raise UsageError(
            f"{options.pull_secret!r} is not the name of a Secret.",
            "Give the name of a Secret of type kubernetes.io/dockerconfigjson.",
        )
    return Plan(
        workload=workload,
        data=data,
        proves=image.kind == "service",
        name=_name(image, kind, options, source),
        namespace=_namespace(options, source),
        image=image.reference,
        record=image.record,
        notebook=image.notebook or (record.code.notebook if record else None),
        commit=image.commit or (record.code.commit if record else None),
        dirty=image.dirty or bool(record and record.code.dirty),
        run=image.run
        or (record.lineage.runs[0].run_id if record and record.lineage.runs else None),
        version=image.version,
        project=_project(record),
        replicas=options.replicas,
        resources=needs,
        cpu_limit=options.cpu_limit,
        env=env,
        secrets=secrets,
        pull_secret=options.pull_secret,
        allow_from=tuple(check_name(n, "namespace", 63) for n in options.allow_from),
        egress=_egress(record, workload, options, source, fetches=data is not None),
        create_namespace=options.create_namespace,
        deadline=_deadline(record, source) if workload == "Job" else None,
        source={**source, **needs.source},
    )


def _kind(
    image: Subject, record: Record | None, options: Options, source: dict[str, str]
) -> ImageKind:
    if options.kind is not None and image.kind not in (None, options.kind):
        raise UsageError(
            f"{image.reference} is a {image.kind} image, not a {options.kind} image.",
            f"Drop --kind, or build one with `mlrepro build --kind {options.kind}`.",
        )
    if options.kind is not None:
        source["kind"] = "given"
        return options.kind
    if image.kind is not None:
        source["kind"] = f"a {image.kind} image; high confidence"
        return image.kind
    if record is not None:
        serves = bool(record.results.models)
        source["kind"] = f"the run logged {'a' if serves else 'no'} model; medium confidence"
        return "service" if serves else "job"
    raise UsageError(
        f"Nothing is known of {image.reference}: it has no label of mlrepro-nb, or its registry "
        "could not be asked.",
        "Say --kind service (HTTP on port 8080 with /ping and /health) or --kind job.",
    )


def _name(image: Subject, kind: ImageKind, options: Options, source: dict[str, str]) -> str:
    if options.name is not None:
        source["name"] = "given"
        return check_name(options.name, "workload")
    source["name"] = "the notebook's; high confidence"
    if image.notebook:
        base = image.notebook
    else:
        base = registry_name(image.reference)
        source["name"] = "the repository's; medium confidence"
    # A notebook may have both, and they must not share what belongs to one.
    stem = base.removesuffix(".ipynb")
    return workload_name(f"{stem}-job" if kind == "job" and not stem.endswith("-job") else stem)


def _namespace(options: Options, source: dict[str, str]) -> str:
    if options.namespace is not None:
        source["namespace"] = "given"
        return check_name(options.namespace, "namespace", 63)
    if options.context_namespace and options.context_namespace != "default":
        source["namespace"] = "the kubeconfig's context; medium confidence"
        return check_name(options.context_namespace, "namespace", 63)
    # `default` is where nobody meant to put anything: it has to be said.
    source["namespace"] = "a default; low confidence"
    return NAMESPACE


def _data(image: Subject, options: Options, source: dict[str, str]) -> Data | None:
    if image.fetches is None:
        if options.data_claim or options.data_secrets:
            raise UsageError(
                f"{image.reference} is not known to need data that it does not hold.",
                "Drop --data-claim and --data-secret.",
            )
        return None
    if image.mounts and options.data_claim is None:
        raise UsageError(
            f"The image does not hold {image.mounts}, and nothing says where a pod could fetch "
            "that: it would fail.",
            "Put it into a PersistentVolumeClaim, laid out as in the project, and say "
            "--data-claim NAME; or build again with it in git, in DVC's remote, or --bake-data.",
        )
    source["data"] = (
        "given" if options.data_claim else f"the recorded {image.fetches} bytes; high confidence"
    )
    if options.data_claim is not None and not _OBJECT_NAME.fullmatch(options.data_claim):
        raise UsageError(
            f"{options.data_claim!r} is not the name of a PersistentVolumeClaim.",
            "Give the name of one in the namespace.",
        )
    return Data(
        # A little more than the files have: folders, and a part that is begun anew.
        size=image.fetches * 105 // 100 // 2**20 + 64,
        claim=options.data_claim,
        secrets=tuple(_secret(text) for text in options.data_secrets),
    )


def _egress(
    record: Record | None, workload: str, options: Options, source: dict[str, str], *,
    fetches: bool,
) -> bool:  # fmt: skip
    if options.allow_egress:
        source["egress"] = "given"
        return True
    if fetches:
        source["egress"] = "the data is fetched before it starts; high confidence"
        return True
    if workload == "Job" and record is not None:
        from mlrepro_nb.capture.secrets import mask

        remote = next((a.path for a in record.data if _is_remote(a.path)), None)
        if remote is not None:
            source["egress"] = f"the run used {mask(remote)[:200]}; medium confidence"
            return True
    source["egress"] = "none: what it needs is in the image; medium confidence"
    return False


def _is_remote(path: str) -> bool:
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.isalnum() and scheme.lower() not in ("file", "memory")


def _deadline(record: Record | None, source: dict[str, str]) -> int:
    seconds = int(record.results.duration) if record else 0
    source["deadline"] = (
        f"ten times the run's {seconds} s, at least an hour; medium confidence"
        if record
        else "a default: the record is not known; low confidence"
    )
    return max(3600, 10 * seconds)


def _project(record: Record | None) -> str:
    remote = (record.code.remote or "") if record else ""
    name = remote.rstrip("/").removesuffix(".git").replace(":", "/").rpartition("/")[2]
    return label_value(name) or "mlrepro"


def _checked_value(name: str, value: str) -> str:
    from mlrepro_nb.capture.secrets import is_secret_name, mask

    if not _ENV_NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be an environment variable.", "Write --env NAME=VALUE.")
    looks_secret = is_secret_name(name) and value and not _PLAIN_VALUE.fullmatch(value)
    if looks_secret or mask(value) != value:
        raise UsageError(
            f"--env {name} looks like a secret, which a manifest must not hold.",
            f"Put it into a Secret and name that: --secret {name}=SECRET:KEY.",
        )
    if "\0" in value:
        raise UsageError(f"The value of --env {name} holds a NUL.", "Leave it out.")
    return value


def _secret(text: str) -> SecretRef:
    found = _SECRET.fullmatch(text)
    variable, name, key = found.groups() if found else (None, "", None)
    variable = variable or key
    good = (
        _OBJECT_NAME.fullmatch(name)
        and (key is not None or variable is None)
        and (key is None or _KEY.fullmatch(key))
    )
    if not good or (variable is not None and not _ENV_NAME.fullmatch(variable)):
        shown = name if _OBJECT_NAME.fullmatch(name) else "the text given"
        raise UsageError(
            f"--secret: {shown!r} does not name a Secret of the namespace and a key of it that "
            "can be a variable.",
            "Write --secret NAME, --secret NAME:KEY or --secret VARIABLE=NAME:KEY; the value "
            "stays in the cluster.",
        )
    return SecretRef(name=name, key=key, variable=variable)
