"""Requests come from what the run used, and say so."""

import msgspec
import pytest

from mlrepro_nb.errors import UsageError
from mlrepro_nb.model import (
    DataAccess,
    Figure,
    Gpu,
    GpuUse,
    Hardware,
    Peak,
    Record,
    ThreadPool,
)
from mlrepro_nb.rollout import resources
from tests.records import a_cell, a_record

MI = 2**20


def used(*, gpus: tuple[Gpu, ...] = (), **peak: float) -> Record:
    measured = msgspec.convert({"samples": 60, **peak}, Peak)
    return a_record(hardware=Hardware(cpu="A CPU", cores=8, memory=2**34, gpus=gpus, peak=measured))


def a_gpu(product: str = "NVIDIA H100 80GB HBM3", **fields: object) -> Gpu:
    gpu = Gpu(product=product, uuid="GPU-1", memory=81559 * MI, used=True)
    return msgspec.structs.replace(gpu, **fields)


def test_memory_is_the_peak_and_a_margin_rounded_up() -> None:
    found = resources(used(memory=1000 * MI), workload="Job")
    assert found.memory == "1152Mi"  # 1150 up to a multiple of 64
    assert "1000Mi in 60 samples × 1.15" in found.source["memory"]
    assert "high confidence" in found.source["memory"]


def test_a_small_job_gets_128_mebibytes_and_100_millicores() -> None:
    found = resources(used(memory=10 * MI, cpu=0.01), workload="Job")
    assert (found.memory, found.cpu) == ("128Mi", "100m")


def test_a_service_is_told_that_training_is_an_upper_bound() -> None:
    found = resources(used(memory=1000 * MI, cpu=1.5))
    assert "training bounds serving from above" in found.source["memory"]
    assert found.cpu == "1500m"
    assert found.threads == "2"


def test_a_peak_of_few_samples_is_doubted() -> None:
    assert "low confidence" in resources(used(memory=MI, samples=3)).source["memory"]


@pytest.mark.parametrize("record", [None, a_record()])
def test_what_was_not_measured_gets_a_default_that_says_so(record: Record | None) -> None:
    found = resources(record)
    assert (found.memory, found.cpu, found.gpus) == ("512Mi", "250m", 0)
    assert "a default" in found.source["memory"]
    assert "a default" in found.source["cpu"]


def test_what_the_user_says_wins() -> None:
    found = resources(used(memory=1000 * MI, cpu=1), memory="3Gi", cpu="2", gpus=1)
    assert (found.memory, found.cpu, found.gpus) == ("3Gi", "2", 1)
    assert {found.source[what] for what in ("memory", "cpu", "gpus")} == {"given"}


def test_only_gpus_that_were_used_are_requested() -> None:
    idle = a_gpu(used=False)
    assert resources(used(gpus=(idle, idle))).gpus == 0
    found = resources(used(gpus=(a_gpu(), idle), gpu_memory=10_000 * MI))
    assert found.gpus == 1
    assert found.gpu_memory == 11_520  # 11500 up to a multiple of 256
    assert found.gpu_products == ("NVIDIA-H100-80GB-HBM3",)


def test_the_card_that_was_enough_is_enough() -> None:
    found = resources(used(gpus=(a_gpu(),), gpu_memory=80_000 * MI))
    assert found.gpu_memory == 81_559


def a_use(**fields: object) -> GpuUse:
    figure = Figure(source="torch+nvml", samples=20, confidence="high")
    use = GpuUse(memory=2800 * MI, reserved=2000 * MI, overhead=800 * MI, figure=figure)
    return msgspec.structs.replace(use, **fields)


def test_a_gpus_need_is_what_was_reserved_what_cuda_takes_and_a_margin() -> None:
    low = Figure(source="nvml-growth", confidence="low")
    gpus = (a_gpu(use=a_use()), a_gpu(uuid="GPU-2", use=a_use(memory=100 * MI, figure=low)))
    found = resources(used(gpus=gpus, gpu_memory=2900 * MI))
    assert (found.gpus, found.gpu_memory) == (2, 3328)  # 3220 up to a multiple of 256
    assert found.source["gpu-memory"] == (
        "peak of the run 2800Mi (torch+nvml: 2000Mi reserved, 800Mi beside it) × 1.15, "
        "at most the card's own 81559Mi; high confidence"
    )


def test_a_gpu_must_have_the_kernels_that_the_run_had() -> None:
    record = used(gpus=(a_gpu(use=a_use(), compute_capability="9.0"),))
    hardware = msgspec.structs.replace(record.hardware, least_capability="7.5")
    old = msgspec.structs.replace(record, hardware=hardware)
    assert resources(record).gpu_compute == 0
    assert resources(old).gpu_compute == 7
    cells = (a_cell(0, "model = model.to(torch.bfloat16)"),)
    new = msgspec.structs.replace(old, code=msgspec.structs.replace(old.code, cells=cells))
    assert resources(new).gpu_compute == 8
    turing = msgspec.structs.replace(hardware, gpus=(a_gpu(use=a_use(), compute_capability="7.5"),))
    assert resources(msgspec.structs.replace(new, hardware=turing)).gpu_compute == 7


def test_how_sure_a_figure_is_comes_from_the_record() -> None:
    measured = used(memory=1000 * MI, samples=3)
    sure = Figure(source="peak-rss", samples=3, confidence="high")
    peak = msgspec.structs.replace(measured.hardware.peak, figures={"memory": sure})
    hardware = msgspec.structs.replace(measured.hardware, peak=peak)
    found = resources(msgspec.structs.replace(measured, hardware=hardware), workload="Job")
    assert "(peak-rss)" in found.source["memory"]
    assert "high confidence" in found.source["memory"]
    assert "low confidence" in found.source["cpu"]


def test_a_slice_of_a_gpu_is_requested_as_that_slice() -> None:
    sliced = a_gpu("NVIDIA A100-SXM4-80GB MIG 2g.20gb", mig=True)
    found = resources(used(gpus=(sliced,)))
    assert (found.gpu_resource, found.gpus) == ("nvidia.com/mig-2g.20gb", 1)


def test_a_job_has_room_for_what_the_run_read_and_wrote() -> None:
    data = (
        DataAccess(path="in.csv", size=1000 * MI, access="read"),
        DataAccess(path="out.csv", size=400 * MI, access="write"),
    )
    found = resources(a_record(data=data), workload="Job")
    sizes = [int(str(text).removesuffix("Mi")) for text in (found.scratch, found.results)]
    assert sizes[0] >= 1800
    assert sizes[1] >= 400
    assert int(found.ephemeral.removesuffix("Mi")) >= sum(sizes)


def test_a_job_sums_in_the_order_of_the_run() -> None:
    record = a_record()
    pools = (ThreadPool(api="blas", implementation="openblas", threads=6),)
    record = msgspec.structs.replace(
        record, environment=msgspec.structs.replace(record.environment, threadpools=pools)
    )
    assert resources(record, workload="Job").threads == "6"


@pytest.mark.parametrize("option", [{"memory": "lots"}, {"cpu": "2 cores"}, {"gpus": -1}])
def test_what_is_no_quantity_is_refused(option: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        resources(None, **option)
