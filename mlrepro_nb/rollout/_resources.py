"""What to request of a node, inferred from what the recorded run used: pure."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import Gpu, Record
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
AMPERE = 8
"""Compute capability from which on bfloat16 and flash attention are computed in hardware."""
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
    gpu_compute: int = 0
    """Major compute capability that a GPU must have; 0 where it is not known."""
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
    how = peak.figures.get("memory")
    source["memory"] = (
        f"peak of the run {_mib(peak.memory)} in {peak.samples} samples"
        f"{f' ({how.source})' if how else ''} × {MARGIN}{floor}; "
        f"{_confidence(record, workload, 'memory')}"
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
        f"{_confidence(record, workload, 'cpu')}"
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
        f"{_mib(read)} read and {_mib(written)} written by the run "
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
    products = {label_value(gpu.product) for gpu in used} - {""}
    return Resources(
        gpus=count,
        gpu_memory=_gpu_memory(record, used, source),
        gpu_compute=_gpu_compute(record, used, source),
        gpu_products=tuple(sorted(products)),
    )


def _gpu_memory(record: Record, used: list[Gpu], source: dict[str, str]) -> int:
    """Return the MiB that each GPU must have: what the fullest of them held, and a margin."""
    measured = [gpu.use for gpu in used if gpu.use is not None and gpu.use.memory > 0]
    card = min(gpu.memory for gpu in used) // 2**20
    if measured:
        most = max(measured, key=lambda use: use.memory)
        peak, figure = most.memory, most.figure
        what = f"peak of the run {_mib(most.memory)} ({figure.source}"
        if most.reserved:
            what += f": {_mib(most.reserved)} reserved, {_mib(most.overhead)} beside it"
        what, sure = f"{what})", figure.confidence
    elif peak := record.hardware.peak.gpu_memory:
        what, sure = f"peak of the run {_mib(peak)}", "medium"
    else:
        return 0
    need = GPU_STEP * math.ceil(peak * MARGIN / 2**20 / GPU_STEP)
    source["gpu-memory"] = f"{what} × {MARGIN}, at most the card's own {card}Mi; {sure} confidence"
    # The card that was enough is enough.
    return min(need, card) if card else need


_NEEDS_AMPERE = re.compile(r"\b(?:bfloat16|bf16|flash_attn|flash_attention)\b")


def _gpu_compute(record: Record, used: list[Gpu], source: dict[str, str]) -> int:
    """Return the least major compute capability that the run's code has kernels for."""
    least = _major(record.hardware.least_capability)
    if any(_NEEDS_AMPERE.search(cell.source) for cell in record.code.cells):
        # The card that was enough is enough, here too.
        own = [_major(gpu.compute_capability) for gpu in used]
        least = max(least, min([AMPERE, *(major for major in own if major)]))
        source["gpu-compute"] = "the notebook names bfloat16 or flash attention; medium confidence"
    elif least:
        source["gpu-compute"] = (
            f"the framework's kernels begin at {record.hardware.least_capability}; high confidence"
        )
    return least


def _major(capability: str | None) -> int:
    major = (capability or "").partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _mib(size: int) -> str:
    return f"{math.ceil(size / 2**20)}Mi"


def _confidence(record: Record, workload: Workload, what: str) -> str:
    peak = record.hardware.peak
    figure = peak.figures.get(what)
    if figure is None:
        sure = "high" if peak.samples >= FEW_SAMPLES else "low"
    else:
        sure = figure.confidence
    if sure == "low":
        return "low confidence: few samples"
    if workload == "Deployment":
        return "medium confidence: training bounds serving from above"
    return f"{sure} confidence"


def _unknown(record: Record | None) -> str:
    return "the record is not known" if record is None else "the run's use was not measured"
