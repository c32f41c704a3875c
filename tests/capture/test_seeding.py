"""``%mlrepro seed N``: what it seeds, now and later, and what it says comes too late."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import framework

LOAD = "%load_ext mlrepro_nb"


def test_loaded_and_later_libraries_are_seeded_and_recorded(kernel: Callable) -> None:
    k = kernel()
    k.run(LOAD)
    k.run("import random")
    said = k.run("%mlrepro seed 7")["text"]
    assert "Seeded random with 7." in said
    assert "numpy" in said.partition("When imported, ")[2].partition("will be seeded")[0]
    first = k.run("import numpy as np\nimport polars as pl\nrandom.random(), np.random.rand()")
    k.run("random.seed(7); np.random.seed(7)")
    assert k.run("random.random(), np.random.rand()")["text"] == first["text"]
    assert "Seeded random, numpy and polars with 8." in k.run("%mlrepro seed 8")["text"]
    k.close()
    seeds = [(s.generator, s.value, s.execution) for s in k.record().randomness.seeds]
    assert seeds[:3] == [("random", "7", 2), ("numpy", "7", 3), ("polars", "7", 3)] or (
        sorted(seeds[:3]) == [("numpy", "7", 3), ("polars", "7", 3), ("random", "7", 2)]
    )
    assert {s for s in seeds if s[2] == 6} == {
        ("random", "8", 6), ("numpy", "8", 6), ("polars", "8", 6),
    }  # fmt: skip


def test_torch_is_made_deterministic(kernel: Callable) -> None:
    framework("torch")
    k = kernel()
    k.run(LOAD)
    k.run("%mlrepro seed 7")
    one = k.run("import torch\ntorch.rand(3)")["text"]
    said = k.run("%mlrepro seed 7")["text"]
    assert k.run("torch.rand(3)")["text"] == one
    assert "torch.use_deterministic_algorithms(True, warn_only=True)" in said
    state = k.run(
        "(torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark,\n"
        " torch.backends.cudnn.deterministic, __import__('os').environ['CUBLAS_WORKSPACE_CONFIG'])"
    )
    assert state["text"] == "(True, False, True, ':4096:8')"
    k.close()
    assert {("torch", "7")} <= {(s.generator, s.value) for s in k.record().randomness.seeds}


def test_what_comes_too_late_is_named(kernel: Callable) -> None:
    k = kernel()
    k.run("import os; [os.environ.pop(n, None) for n in list(os.environ) if 'THREADS' in n]")
    k.run(LOAD)
    k.run("import numpy")
    late = k.run("%mlrepro seed 1")["text"].partition("Too late")[2]
    assert "PYTHONHASHSEED" in late
    assert "thread counts, since numpy" in late
    assert "mlrepro kernel install" in late


def test_in_a_kernel_that_has_them_nothing_is_too_late(kernel: Callable) -> None:
    k = kernel(PYTHONHASHSEED="0", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    k.run(LOAD)
    k.run("import numpy")
    assert "Too late" not in k.run("%mlrepro seed 1")["text"]


def test_what_takes_its_own_seed_is_told(kernel: Callable) -> None:
    framework("jax")
    k = kernel()
    k.run(LOAD)
    k.run("import jax")
    assert "jax.random.key(3)" in k.run("%mlrepro seed 3")["text"]
    assert k.run("jax.numpy.ones(2).sum()")["text"], "XLA takes what we left in the environment"
