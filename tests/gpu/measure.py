"""What recording costs a notebook that trains on a GPU, against a plain kernel in one run.

``python -m tests.gpu.measure`` prints a table. Both kernels are alive at once and run the
same cells in turn, so that the machine's noise falls on both.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NOTEBOOKS = {
    "torch": (
        "import torch\n"
        "net = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(8)]).cuda()\n"
        "adam = torch.optim.Adam(net.parameters())\n"
        "x = torch.rand(4096, 1024, device='cuda')\n"
        "def train(steps):\n"
        "    for _ in range(steps):\n"
        "        adam.zero_grad(); loss = net(x).square().mean(); loss.backward(); adam.step()\n"
        "    return loss.item()",
        {
            "small: a tensor of 10": "y = torch.ones(10, device='cuda'); torch.cuda.synchronize()",
            "20 steps of training": "_ = train(20)",
            "1000 steps of training": "_ = train(1000)",
        },
    ),
    "jax": (
        "import jax, jax.numpy as jnp\n"
        "w = [jnp.ones((1024, 1024)) * 1e-3 for _ in range(8)]\n"
        "x = jnp.ones((4096, 1024))\n"
        "def loss(w):\n"
        "    y = x\n"
        "    for one in w: y = jnp.tanh(y @ one)\n"
        "    return (y ** 2).mean()\n"
        "step = jax.jit(lambda w: [a - 1e-3 * b for a, b in zip(w, jax.grad(loss)(w))])\n"
        "def train(steps):\n"
        "    global w\n"
        "    for _ in range(steps): w = step(w)\n"
        "    jax.block_until_ready(w)",
        {
            "small: an array of 10": "y = jnp.ones(10).block_until_ready()",
            "20 steps of training": "train(20)",
            "1000 steps of training": "train(1000)",
        },
    ),
}


class _Kernel:
    def __init__(self, folder: Path, *setup: str) -> None:
        from jupyter_client.manager import start_new_kernel

        variables = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self.manager, self.client = start_new_kernel(
            kernel_name="python3", cwd=str(folder), env=variables
        )
        for source in setup:
            self.run(source)

    def run(self, source: str) -> float:
        start = time.perf_counter()
        reply: dict[str, Any] = self.client.execute_interactive(
            source, timeout=300, output_hook=lambda message: None
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return time.perf_counter() - start

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()


def measure(rounds: int = 40) -> list[tuple[str, str, float, float]]:
    """Return framework, cell, and milliseconds without and with recording."""
    rows = []
    for framework, (setup, cells) in NOTEBOOKS.items():
        with tempfile.TemporaryDirectory() as name:
            os.environ["MLREPRO_STORE"] = str(Path(name) / "store")
            plain = _Kernel(Path(name), setup)
            recorded = _Kernel(Path(name), "%load_ext mlrepro_nb", setup)
            for cell, source in cells.items():
                times: dict[_Kernel, list[float]] = {plain: [], recorded: []}
                for kernel in (plain, recorded):
                    kernel.run(source)  # what is compiled is compiled now
                for turn in range(max(6, rounds // 5) if "1000" in cell else rounds):
                    for kernel in (plain, recorded) if turn % 2 else (recorded, plain):
                        times[kernel].append(kernel.run(source) * 1000)
                without, with_ = (statistics.median(t) for t in times.values())
                rows.append((framework, cell, without, with_))
            plain.stop()
            recorded.stop()
    return rows


if __name__ == "__main__":
    print("| notebook | cell | plain, ms | recorded, ms | added, ms | ratio |")
    print("|---|---|---|---|---|---|")
    for framework, cell, without, with_ in measure():
        sys.stdout.write(
            f"| {framework} | {cell} | {without:.2f} | {with_:.2f} | {with_ - without:.2f} "
            f"| {with_ / without:.3f} |\n"
        )
