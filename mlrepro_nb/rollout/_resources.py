"""What to request of a node, inferred from what the recorded run used: pure."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Record
from mlrepro_nb.rollout._names import (
    label_value,
    mebibytes,
    millicores,
    parse_cpu,
    parse_memory,
)

MARGIN = 1.15
"""Above the peak, as Robusta's KRR has it for memory."""
STEP = 64
GPU_STEP = 256
LEAST_MEMORY = 128
LEAST_SCRATCH = 256
FEW_SAMPLES = 10
"""Below this many samples a peak may have been missed."""

SERVER_MEMORY = 512
"""MiB that a service gets at least: the server and its libraries, which no notebook held."""
UNKNOWN_MEMORY = "512Mi"
UNKNOWN_CPU = "250m"

Workload = Literal["Deployment", "Job"]


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Requests, and where each of them comes from."""

    cpu: str = ""
    memory: str = ""
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    gpu_memory: int = 0
    """MiB that one GPU must have; 0 where it is not known."""
    gpu_products: tuple[str, ...] = ()
    """As the nodes' label has them; preferred, not required."""
    scratch: str = f"{LEAST_SCRATCH}Mi"
    """Size of ``/tmp``."""
    results: str | None = None
    """Size of ``/results``, of a Job."""
    ephemeral: str = ""
    """The scratch volumes and the logs together."""
    threads: str | None = None
    """``OMP_NUM_THREADS``."""
    source: dict[str, str] = {}
    """By the name of the field: where its value comes from, and how sure that is."""


def resources(
    record: Record | None,
    *,
    workload: Workload = "Deployment",
    cpu: str | None = None,
    memory: str | None = None,
    gpus: int | None = None,
) -> Resources:
    """Return what to request for a record's image.

    Parameters
    ----------
    record : Record or None
        The recorded run; None where it is not known.
    workload : {"Deployment", "Job"}
        A Job runs the notebook again; a Deployment serves its model, which
        needs less than training did.
    cpu, memory, gpus : optional
        Said by the user instead of inferred.

    Raises
    ------
    UsageError
        One of them is not a quantity.
    """
    source: dict[str, str] = {}
    cpu = _cpu(record, workload, cpu, source)
    memory = _memory(record, workload, memory, source)
    scratch, results = _storage(record, workload, source)
    sizes = [int(size.removesuffix("Mi")) for size in (scratch, results) if size]
    found = _gpus(record, gpus, source)
    return msgspec.structs.replace(
        found,
        cpu=cpu,
        memory=memory,
        scratch=scratch,
        results=results,
        ephemeral=f"{sum(sizes) + STEP}Mi",
        threads=_threads(record, workload, cpu, source),
        source=source,
    )


def _memory(
    record: Record | None, workload: Workload, given: str | None, source: dict[str, str]
) -> str:
    if given is not None:
        parse_memory(given, "--memory")
        source["memory"] = "given"
        return given.strip()
    if record is None or record.hardware.peak.memory <= 0:
        source["memory"] = f"a default: {_unknown(record)}; low confidence"
        return UNKNOWN_MEMORY
    peak = record.hardware.peak
    least = LEAST_MEMORY if workload == "Job" else SERVER_MEMORY
    value = mebibytes(peak.memory * MARGIN, STEP, least)
    floor = f", at least {least}Mi" if value == f"{least}Mi" else ""
    source["memory"] = (
        f"peak of the run {math.ceil(peak.memory / 2**20)}Mi in {peak.samples} samples × {MARGIN}"
        f"{floor}; {_confidence(record, workload)}"
    )
    return value


def _cpu(
    record: Record | None, workload: Workload, given: str | None, source: dict[str, str]
) -> str:
    if given is not None:
        parse_cpu(given, "--cpu")
        source["cpu"] = "given"
        return given.strip()
    if record is None or record.hardware.peak.samples <= 0:
        source["cpu"] = f"a default: {_unknown(record)}; low confidence"
        return UNKNOWN_CPU
    peak = record.hardware.peak
    source["cpu"] = (
        f"95th percentile of the run {peak.cpu:.2f} cores in {peak.samples} samples; "
        f"{_confidence(record, workload)}"
    )
    return millicores(peak.cpu)


def _storage(
    record: Record | None, workload: Workload, source: dict[str, str]
) -> tuple[str, str | None]:
    read = written = 0
    if record is not None:
        # A file that was read twice is one file.
        files = {a.repo_path or a.path: a.size or 0 for a in record.data if a.access == "read"}
        read = sum(files.values())
        written = sum(a.size or 0 for a in record.data if a.access == "write")
    if workload == "Deployment":
        source["storage"] = "a default: a service keeps nothing; medium confidence"
        return f"{LEAST_SCRATCH}Mi", None
    if record is None:
        source["storage"] = f"a default: {_unknown(record)}; low confidence"
        return f"{LEAST_SCRATCH}Mi", f"{LEAST_SCRATCH}Mi"
    # The rerun works on a copy of the project.
    scratch = mebibytes(MARGIN * (read + 2 * written), STEP, LEAST_SCRATCH)
    results = mebibytes(MARGIN * written, STEP, LEAST_SCRATCH)
    source["storage"] = (
        f"{math.ceil(read / 2**20)}Mi read and {math.ceil(written / 2**20)}Mi written by the run "
        f"× {MARGIN}, at least {LEAST_SCRATCH}Mi; medium confidence"
    )
    return scratch, results


def _threads(
    record: Record | None, workload: Workload, cpu: str, source: dict[str, str]
) -> str | None:
    if workload == "Job":
        if record is None:
            return None
        variables = record.environment.variables
        if variables.get("OMP_NUM_THREADS", "").isdecimal():
            source["threads"] = "OMP_NUM_THREADS of the run; high confidence"
            return variables["OMP_NUM_THREADS"]
        counts = [pool.threads for pool in record.environment.threadpools if pool.threads > 0]
        if not counts:
            return None
        # The order of a parallel sum, and so its last digits, hang on the number of threads.
        source["threads"] = "threads of the run's BLAS and OpenMP; high confidence"
        return str(max(counts))
    threads = max(1, math.ceil(parse_cpu(cpu, "--cpu")))
    # Libraries count the node's cores, of which the pod gets a share.
    source["threads"] = f"cores of the CPU request ({cpu}); medium confidence"
    return str(threads)


def _gpus(record: Record | None, given: int | None, source: dict[str, str]) -> Resources:
    """Return what is requested of GPUs, the rest still open."""
    if given is not None and given < 0:
        raise UsageError(f"--gpus {given} is less than none.", "Say 0 for none.")
    used = [gpu for gpu in record.hardware.gpus if gpu.used] if record else []
    count = len(used) if given is None else given
    if given is not None:
        source["gpus"] = "given"
    elif used:
        names = ", ".join(sorted({gpu.product for gpu in used}))
        source["gpus"] = f"GPUs that the run used ({names}); high confidence"
    elif record is None:
        source["gpus"] = f"a default: {_unknown(record)}; low confidence"
    else:
        source["gpus"] = f"the run used none of {len(record.hardware.gpus)} GPUs; high confidence"
    if not count or record is None or not used:
        return Resources(gpus=count)
    if used[0].mig and (profile := re.search(r"\d+g\.\d+gb", used[0].product)):
        # One slice: a process sees only one, whatever it is given.
        return Resources(gpus=1, gpu_resource=f"nvidia.com/mig-{profile.group()}")
    peak, need = record.hardware.peak.gpu_memory, 0
    if peak > 0:
        card = min(gpu.memory for gpu in used) // 2**20
        need = GPU_STEP * math.ceil(peak * MARGIN / 2**20 / GPU_STEP)
        # The card that was enough is enough.
        need = min(need, card) if card else need
        source["gpu-memory"] = (
            f"peak of the run {math.ceil(peak / 2**20)}Mi × {MARGIN}, at most the card's own "
            f"{card}Mi; medium confidence"
        )
    products = {label_value(gpu.product) for gpu in used} - {""}
    return Resources(gpus=count, gpu_memory=need, gpu_products=tuple(sorted(products)))


def _confidence(record: Record, workload: Workload) -> str:
    if record.hardware.peak.samples < FEW_SAMPLES:
        return "low confidence: few samples"
    if workload == "Deployment":
        return "medium confidence: training bounds serving from above"
    return "high confidence"


def _unknown(record: Record | None) -> str:
    return "the record is not known" if record is None else "the run's use was not measured"
