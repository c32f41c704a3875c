"""Which GPUs a run saw and used, where there is none to try it on: stand-ins for the driver.

What real ones say is in tests/gpu.
"""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mlrepro_nb.capture.environment.cuda import cuda
from mlrepro_nb.capture.hardware import devices, frameworks
from mlrepro_nb.capture.hardware.frameworks import Held
from mlrepro_nb.capture.hardware.sampling import gpus
from mlrepro_nb.capture.hardware.watch import between
from tests.conftest import framework

GI, MI = 2**30, 2**20


class Card:
    """A GPU as the driver has it."""

    def __init__(self, uuid: str, *, total: int = 80 * GI, slices: tuple[Card, ...] = ()) -> None:
        self.uuid, self.total, self.slices = uuid, total, slices
        self.used, self.busy = 500 * MI, 0
        self.running: list[tuple[int, int | None]] = []
        self.name = "NVIDIA A100-SXM4-80GB"


class Nvml(ModuleType):
    """A stand-in for pynvml."""

    def __init__(self, *cards: Card) -> None:
        super().__init__("pynvml")
        self._cards = cards

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._cards)

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetHandleByIndex": lambda index: self._cards[index],
            "nvmlDeviceGetName": lambda card: card.name.encode(),
            "nvmlDeviceGetUUID": lambda card: card.uuid,
            "nvmlDeviceGetCudaComputeCapability": lambda card: (8, 0),
            "nvmlDeviceGetMigMode": lambda card: (int(bool(card.slices)), 0),
            "nvmlDeviceGetMaxMigDeviceCount": lambda card: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": lambda card, place: card.slices[place],
            "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(
                total=card.total, used=card.used
            ),
            "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(gpu=card.busy),
            "nvmlDeviceGetComputeRunningProcesses": lambda card: [
                SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in card.running
            ],
        }
        if name not in answers:
            raise AttributeError(name)  # as a driver that is too old for it
        return answers[name]


def first_namespace(monkeypatch: pytest.MonkeyPatch, *, yes: bool) -> None:
    monkeypatch.setattr(gpus, "_namespace", lambda: gpus._FIRST_NAMESPACE if yes else 4026533999)


def seen(opened: gpus.Gpus, root: int = 10, pids: tuple[int, ...] = (10,)) -> dict[str, Any]:
    (found,) = opened.read(root, pids)
    return found


# --- the driver


def test_ours_is_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    first_namespace(monkeypatch, yes=True)
    card = Card("GPU-a")
    card.running = [(99, 3 * GI)]
    opened = gpus.Gpus(Nvml(card))
    card.running += [(10, 2 * GI), (11, GI)]
    card.used += 3 * GI
    found = seen(opened, pids=(10, 11))
    assert (found["own"], found["children"], found["others"]) == (2 * GI, GI, 1)
    assert found["grown"] == 3 * GI


@pytest.mark.parametrize("told", [2 * GI, 0, None])
def test_in_a_container_processes_are_numbered_otherwise(
    monkeypatch: pytest.MonkeyPatch, told: int | None
) -> None:
    first_namespace(monkeypatch, yes=False)
    card = Card("GPU-a")
    opened = gpus.Gpus(Nvml(card))
    card.running, card.used = [(4_000_000_000, told)], card.used + 2 * GI
    found = seen(opened)
    assert (found["own"], found["others"]) == (None, None)
    assert (found["grown"], found["processes"]) == (2 * GI, 1)


def test_of_a_card_in_slices_the_slices_count_and_not_the_cards_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first_namespace(monkeypatch, yes=True)
    part = Card("MIG-1")
    part.name = "NVIDIA A100-SXM4-80GB MIG 2g.20gb"
    whole = Card("GPU-a", slices=(part,))
    opened = gpus.Gpus(Nvml(whole))
    (fact,) = opened.facts()
    assert (fact["uuid"], fact["mig"], fact["parent"]) == ("MIG-1", True, "GPU-a")
    assert fact["product"].endswith("MIG 2g.20gb")
    part.used += 70 * GI  # another slice's
    found = seen(opened)
    assert (found["grown"], found["busy"]) == (None, None)


def test_a_driver_that_answers_nothing_is_no_error() -> None:
    class Mute(ModuleType):
        def __getattr__(self, name: str) -> Any:
            def refuse(*_: Any) -> Any:
                raise RuntimeError("Insufficient Permissions")

            return (lambda: 1) if name == "nvmlDeviceGetCount" else refuse

    assert gpus.Gpus(Mute("pynvml")).facts() == []


# --- visible and used


FACTS = [
    {"index": i, "uuid": f"GPU-{i}{i}-x", "product": "P", "memory": 80 * GI,
     "compute_capability": "8.0", "mig": False, "parent": None, "baseline": 0, "processes": 0}
    for i in range(4)
]  # fmt: skip
SLICES = [
    {**FACTS[0], "uuid": f"MIG-{i}", "mig": True, "parent": "GPU-00-x"} for i in range(2)
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "0123"), ("", ""), ("-1", ""), ("NoDevFiles", ""), ("2,0", "20"), (" 1 , 3 ", "13"),
        ("GPU-33", "3"), ("GPU-11-x,2", "12"), ("0,9,1", "0"), ("1,1", "1"), ("GPU-", "0"),
    ],
)  # fmt: skip
def test_visible_devices_are_read_as_cuda_reads_them(value: str | None, expected: str) -> None:
    found = devices.visible(FACTS, value)
    assert found == [f"GPU-{i}{i}-x" for i in expected]


@pytest.mark.parametrize(("value", "expected"), [("MIG-1", ["MIG-1"]), ("GPU-00-x", ["MIG-0"])])
def test_a_slice_is_found_by_its_name(value: str, expected: list[str]) -> None:
    assert devices.visible(SLICES, value) == expected


def held(**fields: Any) -> Held:
    return Held(**{
        "framework": "torch", "ordinal": 0, "peak": 4 * GI, "pool": 4 * GI, "used": 3 * GI,
        "most_used": 3 * GI, "allocated": 9 * GI, **fields,
    })  # fmt: skip


def described(**fields: Any) -> list[dict[str, Any]]:
    given = {"held": [], "most": {}, "overhead": {}, "value": None, "late": False, **fields}
    return devices.gpus(FACTS, **given)


def test_a_gpu_counts_only_if_it_was_used() -> None:
    found = described(held=[held(ordinal=0)], value="2,1", overhead={"GPU-22-x": 600 * MI})
    assert [gpu["used"] for gpu in found] == [False, False, True, False]
    assert [gpu["visible"] for gpu in found] == [False, True, True, False]
    assert found[2]["use"]["memory"] == 4 * GI + 600 * MI
    assert found[2]["use"]["figure"]["confidence"] == "high"


def test_a_framework_that_names_the_gpu_is_believed() -> None:
    found = described(held=[held(ordinal=0, uuid="33-x")])
    assert [gpu["used"] for gpu in found] == [False, False, False, True]


def test_where_the_context_was_not_measured_it_is_assumed_and_doubted() -> None:
    use = described(held=[held()])[0]["use"]
    assert use["overhead"] == devices.USUAL_OVERHEAD
    assert use["figure"]["confidence"] == "medium"


def test_on_a_gpu_that_others_use_too_what_has_grown_is_doubted() -> None:
    facts = [{**FACTS[0], "processes": 2, "baseline": 9 * GI}]
    most = {"GPU-00-x": {"grown": 2 * GI, "processes": 3}}
    (gpu,) = devices.gpus(facts, held=[], most=most, overhead={}, value=None, late=False)
    assert (gpu["used"], gpu["shared"], gpu["baseline"]) == (True, True, 9 * GI)
    assert gpu["use"]["figure"] == {"source": "nvml-growth", "samples": 1, "confidence": "low"}


def test_what_others_do_is_not_our_use() -> None:
    most = {"GPU-00-x": {"grown": 9 * GI, "processes": 1, "own": 0, "children": 0, "others": 1}}
    gpu = described(most=most)[0]
    assert (gpu["used"], gpu["shared"], gpu["use"]) == (False, True, None)


def test_a_gpu_that_the_driver_hides_is_told_by_the_framework() -> None:
    (gpu,) = devices.gpus(
        [], held=[held(product="AMD Instinct", memory=64 * GI)], most={}, overhead={},
        value=None, late=False,
    )  # fmt: skip
    assert (gpu["product"], gpu["used"]) == ("AMD Instinct", True)


def test_what_cuda_takes_is_what_is_beside_the_pool() -> None:
    reading = {"uuid": "GPU-00-x", "own": 5 * GI, "processes": 1}
    taken = devices.beside(FACTS, [held()], [reading], None, late=False)
    assert taken == {"GPU-00-x": GI}


@pytest.mark.parametrize(
    ("fact", "late"), [({}, True), ({"processes": 1}, False)], ids=["late", "shared"]
)
def test_growth_is_not_taken_for_ours_where_it_may_be_anothers(
    fact: dict[str, Any], late: bool
) -> None:
    reading = {"uuid": "GPU-00-x", "own": None, "grown": 5 * GI, "processes": 1}
    assert devices.beside([{**FACTS[0], **fact}], [held()], [reading], None, late=late) == {}


# --- a cell's part of a peak that is never reset


@pytest.mark.parametrize(
    ("before", "now", "least", "most"),
    [
        # The first use.
        (None, (1, 5, 9), 5, 5),
        # It raised the mark.
        ((1, 5, 9), (1, 7, 20), 7, 7),
        # It did nothing.
        ((1, 5, 9), (1, 5, 9), 1, 1),
        # It took 2 and gave them back, under the mark of another cell.
        ((1, 5, 9), (1, 5, 11), 1, 3),
        # It took and gave back so much that only the mark bounds it.
        ((1, 5, 9), (2, 5, 99), 2, 5),
        # The user reset the marks.
        ((1, 5, 9), (1, 3, 12), 3, 4),
        # No count of all allocations (jax).
        ((1, 5, None), (2, 5, None), 2, 5),
    ],
)  # fmt: skip
def test_a_cells_peak_is_bounded(
    before: tuple[Any, ...] | None, now: tuple[Any, ...], least: int, most: int
) -> None:
    names = ("used", "most_used", "allocated")
    earlier = held(**dict(zip(names, before, strict=True))) if before else None
    assert between(earlier, held(**dict(zip(names, now, strict=True)))) == (least, most)


# --- frameworks


def test_a_framework_that_was_not_begun_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("asking makes a context")

    torch, jax, flow = (ModuleType(n) for n in ("torch", "jax", "tensorflow"))
    torch.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        is_initialized=lambda: False, device_count=fail, memory_stats_as_nested_dict=fail
    )
    jax.devices = jax.local_devices = fail  # type: ignore[attr-defined]
    flow.config = SimpleNamespace(list_logical_devices=fail)  # type: ignore[attr-defined]
    bridge, eager = ModuleType("b"), ModuleType("e")
    bridge._backends = {}  # type: ignore[attr-defined]
    eager._context = None  # type: ignore[attr-defined]
    for name, module in {
        "torch": torch, "jax": jax, "tensorflow": flow, "jax._src.xla_bridge": bridge,
        "tensorflow.python.eager.context": eager,
    }.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    assert not frameworks.initialized()
    assert frameworks.held() == []


def test_tensorflow_is_asked_by_the_names_that_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    eager, flow = ModuleType("e"), ModuleType("tensorflow")
    eager._context = SimpleNamespace(_initialized=True)  # type: ignore[attr-defined]
    flow.config = SimpleNamespace(  # type: ignore[attr-defined]
        list_logical_devices=lambda kind: [SimpleNamespace(name="/device:GPU:0")],
        experimental=SimpleNamespace(
            get_memory_info=lambda name: {"GPU:0": {"current": 1, "peak": 7}}[name]
        ),
    )
    monkeypatch.setitem(sys.modules, "tensorflow.python.eager.context", eager)
    monkeypatch.setitem(sys.modules, "tensorflow", flow)
    (found,) = frameworks.held()
    assert (found.framework, found.peak, found.used) == ("tensorflow", 7, 1)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_asking_real_frameworks_begins_none() -> None:
    framework("torch")
    framework("jax")
    said = run(
        "import os; os.environ['JAX_PLATFORMS'] = 'cpu'; import torch, jax\n"
        "from mlrepro_nb.capture.hardware import frameworks as f\n"
        "print(f.initialized(), f.held(), torch.cuda.is_initialized())\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge._backends)\n"
        "jax.numpy.ones(3); print(f.held(), sorted(xla_bridge._backends))"
    )
    assert said.split("\n") == ["False [] False", "{}", "[] ['cpu']"]


# --- CUDA


def test_without_a_driver_and_a_framework_there_is_no_cuda() -> None:
    code = "from mlrepro_nb.capture.environment import cuda as c; c._driver = lambda: None\n"
    assert run(f"{code}print(c.cuda())") == "None"


def test_cuda_is_told_of_a_torch_that_was_built_for_it() -> None:
    framework("torch")
    said = run(
        "import torch; from mlrepro_nb.capture.environment.cuda import cuda\n"
        "found = cuda()\n"
        "print(torch.version.cuda is None if found is None or not found['runtime'] else\n"
        "    found['runtime'] == torch.version.cuda, torch.cuda.is_initialized())"
    )
    assert said == "True False"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2\n", "470.256.02"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65  Release\n", "580.65"),
        ("something else 1.2 \n", None),
    ],
)  # fmt: skip
def test_the_drivers_version_is_read(text: str, version: str | None) -> None:
    from mlrepro_nb.capture.environment.cuda import _VERSION

    found = _VERSION.search(text)
    assert (found.group(1) if found else None) == version


def test_cudnn_and_nvidias_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("nvidia_cudnn_cu13-9.19.0.56", "nvidia_ml_py-13.0", "nvidia_cuda_runtime-13.0.96"):
        (tmp_path / f"{name}.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "gone")])
    monkeypatch.setitem(sys.modules, "jax", ModuleType("jax"))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = cuda()
    assert found is not None
    assert found["runtime"] == "13.0.96"
    assert found["cudnn"] == "9.19.0.56"
    assert sorted(found["packages"]) == ["nvidia-cuda-runtime", "nvidia-cudnn-cu13"]
