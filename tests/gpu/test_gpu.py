"""What a record says of the GPU, for real notebooks on a real one."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from mlrepro_nb.model import Gpu, Record
from mlrepro_nb.rollout import Options, Subject, manifests, plan
from tests.gpu.conftest import Run

pytestmark = pytest.mark.gpu

GI, MI = 2**30, 2**20
TWENTY_PERCENT = 0.2
Recorded = Callable[..., Run]

WHO_IS_ON_IT = """
import subprocess
asked = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
print(subprocess.run(asked, capture_output=True, text=True).stdout.split())
"""


def needs(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def smi(what: str) -> str:
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits", "-i", "0"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def the_gpu(record: Record) -> Gpu:
    (used,) = [gpu for gpu in record.hardware.gpus if gpu.used]
    return used


TORCH = (
    "import torch, time",
    "torch.manual_seed(3); torch.cuda.manual_seed_all(4)\nsmall = torch.rand(64, device='cuda')",
    "big = torch.ones(2 * 2**30, dtype=torch.uint8, device='cuda')\n"
    "torch.cuda.synchronize(); time.sleep(1.5)",
    "del big; torch.cuda.empty_cache()",
    "half = torch.ones(2**29, dtype=torch.uint8, device='cuda')\n"
    "torch.cuda.synchronize(); time.sleep(1)",
    "net = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Flatten(),\n"
    "    torch.nn.Linear(32 * 62 * 62, 10)).cuda()\n"
    "adam = torch.optim.Adam(net.parameters())\n"
    "x = torch.rand(64, 3, 64, 64, device='cuda'); y = torch.randint(10, (64,), device='cuda')\n"
    "end = time.time() + 2\n"
    "while time.time() < end:\n"
    "    adam.zero_grad(); loss = torch.nn.functional.cross_entropy(net(x), y)\n"
    "    loss.backward(); adam.step(); loss.item()",
    "a = torch.rand(8192, 8192, device='cuda'); end = time.time() + 3; n = 0\n"
    "while time.time() < end: a @ a; n += 1; n % 50 or torch.cuda.synchronize()\n"
    + WHO_IS_ON_IT.replace("compute-apps=pid", "gpu=utilization.gpu"),
    "print(torch.cuda.max_memory_allocated())",
)


def test_what_torch_held_is_recorded_by_run_and_by_cell(recorded: Recorded) -> None:
    needs("torch")
    run = recorded(*TORCH)
    record, gpu = run.record, the_gpu(run.record)
    assert run.done.returncode == 0
    use, cells = gpu.use, record.hardware.cells
    assert use is not None
    assert use.reserved == pytest.approx(2 * GI, rel=TWENTY_PERCENT)
    assert 100 * MI < use.overhead < 2 * GI, "a context was measured beside the allocator"
    assert use.memory == use.reserved + use.overhead
    assert (use.figure.source, use.figure.confidence) == ("torch+nvml", "high")
    assert use.utilisation is not None
    assert (gpu.visible, gpu.index, gpu.shared) == (True, 0, False)
    assert record.hardware.peak.gpu_memory == use.memory
    assert cells["0"].gpu_memory == 0
    for cell, size in (("1", 0), ("2", 2 * GI), ("4", GI // 2)):
        assert cells[cell].gpu_memory == pytest.approx(size, rel=TWENTY_PERCENT, abs=4 * MI), cell
    # Of the smaller one it is known, too, that it was no more.
    assert cells["4"].gpu_memory_most == pytest.approx(GI // 2, rel=TWENTY_PERCENT)
    assert cells["6"].gpu_utilisation is not None
    assert cells["6"].gpu_utilisation > 50
    # The user's own peak was not reset.
    assert int(run.text(7)) >= 2 * GI


def test_the_card_and_cuda_are_recorded_as_nvidia_smi_has_them(recorded: Recorded) -> None:
    needs("torch")
    import torch

    record = recorded(*TORCH).record
    gpu, cuda = the_gpu(record), record.environment.cuda
    assert [gpu.product, gpu.uuid, gpu.compute_capability] == [
        smi("name"), smi("uuid"), smi("compute_cap"),
    ]  # fmt: skip
    assert gpu.memory == pytest.approx(int(smi("memory.total")) * MI, rel=0.02)
    assert cuda is not None
    assert cuda.driver == smi("driver_version")
    assert cuda.runtime == torch.version.cuda
    number = torch.backends.cudnn.version()
    assert cuda.cudnn == f"{number // 10000}.{number % 10000 // 100}.{number % 100}"
    assert any(name.startswith("nvidia-cudnn-cu") for name in cuda.packages)
    assert record.hardware.least_capability is not None
    assert any(seed.generator.startswith("torch") for seed in record.randomness.seeds)
    torch_wheel = {d.name: d for d in record.environment.distributions}["torch"]
    assert "cpu" not in torch_wheel.version


def test_a_rollout_asks_for_one_gpu_with_that_much_memory(recorded: Recorded) -> None:
    needs("torch")
    record = recorded(*TORCH).record
    subject = Subject(
        reference=f"registry.example.com/n@sha256:{'a' * 64}", kind="job",
        record=f"sha256:{'b' * 64}", notebook="n.ipynb",
    )  # fmt: skip
    (job,) = [m for m in manifests(plan(subject, record, Options())) if m["kind"] == "Job"]
    pod: Any = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    affinity = pod["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    wanted = {e["key"]: int(e["values"][0]) for t in terms for e in t["matchExpressions"]}
    use = the_gpu(record).use
    assert use is not None
    assert wanted["nvidia.com/gpu.memory"] + 1 == pytest.approx(use.memory * 1.15 / MI, abs=256)
    assert wanted["nvidia.com/gpu.compute.major"] >= 5


def test_what_jax_takes_ahead_is_not_taken_for_use(recorded: Recorded) -> None:
    needs("jax")
    run = recorded(
        "import jax, jax.numpy as jnp, time",
        "x = jnp.ones((256, 1024, 1024), jnp.float32).block_until_ready(); time.sleep(1)",
        "del x",
        "y = jnp.ones((64, 1024, 1024), jnp.float32).block_until_ready(); time.sleep(1)",
        "end = time.time() + 1\nf = jax.jit(lambda a: (a @ a.T).sum())\n"
        "while time.time() < end: f(y[0]).block_until_ready()",
    )
    gpu, cells = the_gpu(run.record), run.record.hardware.cells
    assert gpu.use is not None
    # XLA has reserved three quarters of the card by now.
    assert gpu.use.reserved == pytest.approx(GI, rel=TWENTY_PERCENT)
    assert gpu.use.memory < 4 * GI
    assert gpu.use.figure.source.startswith("jax")
    assert cells["0"].gpu_memory == 0
    assert cells["1"].gpu_memory == pytest.approx(GI, rel=TWENTY_PERCENT)
    assert cells["3"].gpu_memory == pytest.approx(GI // 4, rel=TWENTY_PERCENT)
    assert run.record.environment.cuda is not None


@pytest.mark.parametrize("imports", ["pass", "import torch", "import jax", "import cupy"])
def test_measuring_makes_no_context(recorded: Recorded, imports: str) -> None:
    if imports != "pass":
        needs(imports.split()[-1])
    run = recorded("import time", imports, "time.sleep(2)", WHO_IS_ON_IT)
    assert run.text(3).strip() == "[]"
    assert not any(gpu.used for gpu in run.record.hardware.gpus)
    assert run.record.hardware.gpus, "it is seen all the same"
    assert run.record.hardware.peak.gpu_memory == 0
    assert run.record.hardware.cells["2"].gpu_memory == 0


def test_a_hidden_gpu_is_recorded_as_hidden(recorded: Recorded) -> None:
    needs("torch")
    run = recorded(
        "import torch; print(torch.cuda.is_available())", "x = torch.ones(9)",
        CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip
    assert run.text(0).strip() == "False"
    assert [(gpu.visible, gpu.used) for gpu in run.record.hardware.gpus] == [(False, False)]
    assert run.record.hardware.visible_devices == ("", "")


@pytest.mark.parametrize("name", ["0", "uuid"])
def test_a_gpu_that_a_cell_chose_is_found(recorded: Recorded, name: str) -> None:
    needs("torch")
    value = smi("uuid") if name == "uuid" else name
    run = recorded(
        f"import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '{value}'",
        "import torch; x = torch.ones(2**28, dtype=torch.uint8, device='cuda')",
    )
    assert run.record.hardware.visible_devices == (None, value)
    assert the_gpu(run.record).uuid == smi("uuid")


def test_a_killed_kernel_leaves_word_of_the_gpu(recorded: Recorded) -> None:
    needs("torch")
    run = recorded(
        "import torch, os; x = torch.ones(2**30, dtype=torch.uint8, device='cuda')",
        "os.kill(os.getpid(), 9)",
    )
    use = the_gpu(run.record).use
    assert use is not None
    assert use.reserved == pytest.approx(GI, rel=TWENTY_PERCENT)


def test_a_child_process_that_uses_the_gpu_counts(recorded: Recorded) -> None:
    needs("torch")
    run = recorded(
        "import subprocess, sys\n"
        "code = \"import torch, time; x = torch.ones(2**30, dtype=torch.uint8, device='cuda')\"\n"
        "code += '; torch.cuda.synchronize(); time.sleep(4)'\n"
        "print(subprocess.run([sys.executable, '-c', code]).returncode)",
    )
    use = the_gpu(run.record).use
    assert run.text(0).strip() == "0"
    assert use is not None
    assert GI < use.memory < 3 * GI
    assert use.figure.source.startswith("nvml")


def test_a_library_without_a_peak_of_its_own_is_measured_by_the_driver(recorded: Recorded) -> None:
    needs("cupy")
    run = recorded(
        "import cupy, time\nx = cupy.ones(2**30, dtype=cupy.uint8)\n"
        "cupy.cuda.Device().synchronize(); time.sleep(2)",
    )
    use = the_gpu(run.record).use
    assert use is not None
    assert GI < use.memory < 3 * GI
    assert use.figure.confidence == "medium"
