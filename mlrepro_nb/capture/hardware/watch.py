"""Watches what the run uses of the machine."""

from __future__ import annotations

import os
import time
from typing import Any

from mlrepro_nb.capture.hardware import devices, frameworks
from mlrepro_nb.capture.hardware.frameworks import Held
from mlrepro_nb.capture.hardware.machine import container_peak, machine
from mlrepro_nb.capture.hardware.sampler import Sampler
from mlrepro_nb.capture.hardware.sampling.processes import rss_marks
from mlrepro_nb.capture.watch import Execution, Recording, Watch

_SHORT = 0.05
"""Seconds: a cell shorter than this tells nothing about cores used."""
_FEW = 10
"""Samples, below which a peak that no counter keeps may have been missed."""
_MOST_RATES = 10_000
_NEWS = 1.1
"""Times that GPU memory must have grown since it was last reported."""
_ONE_MORE = 0.7
"""Seconds that the end of a run on a GPU waits for a last sample."""


class HardwareWatch(Watch):
    """Reports the machine, and what was used of it by each cell and by the run up to its end."""

    title = "peak use"
    part = "use"

    def __init__(self, recording: Recording) -> None:
        self._emit, self._gap = recording.emit, recording.gap
        self._sampler = Sampler()
        self._pid = os.getpid()
        self._has_proc = rss_marks(self._pid)[0] > 0
        self._machine: dict[str, Any] | None = None
        self._cpu_before = self._cpu = cpu_seconds()
        self._rates: list[float] = []
        self._unsampled = 0
        self._ended = 0.0
        self._most_rss, self._rss = self._marks()
        # Of a GPU that is in use already, the driver's figures begin with our own use.
        self._late = frameworks.initialized()
        self._visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self._visible_read = self._visible
        self._using_gpu = self._late
        self._held: dict[tuple[str, int], Held] = {}
        self._before = self._held
        self._most: dict[tuple[str, int], Held] = {}
        self._overhead: dict[str, int] = {}
        self._reported: tuple[int, int] = (0, 0)

    def start(self) -> None:
        """Begin to take samples."""
        self._sampler.start()
        self._look_at_frameworks()

    def stop(self) -> None:
        """Take no more."""
        self._sampler.stop()

    def cell_begins(self, execution: Execution) -> None:
        """Note what was used before the cell."""
        self._cpu = cpu_seconds()
        self._sampler.begins(execution.order)

    def cell_ended(self, execution: Execution) -> Any:
        """Return what the cell and the run so far used."""
        seen = self._sampler.ended(execution.order)
        self._ended = time.monotonic()
        cell = self._cell(execution, seen)
        # What goes with every cell is short; where the figures come from is told at the end.
        run = self._peak(self._sampler.said(), self._most_rss)
        run.pop("figures", None)
        return {"run": run, "cell": cell}

    def after_cell(self, execution: Execution) -> None:
        """Report the GPUs if the cell used more of them than was known."""
        self._sampler.check()
        now = (len(self._most), sum(held.peak for held in self._most.values()))
        if now[0] > self._reported[0] or now[1] > _NEWS * self._reported[1]:
            self._reported = now
            self._report(self._sampler.said())

    def describe(self) -> None:
        """Report the machine."""
        self._sampler.wait_for_first()
        self._report(self._sampler.said())

    def seal(self, timeout: float) -> None:
        """Report the machine and the peak as of now."""
        self._look_at_frameworks()
        said = self._sampler.said()
        if self._held:
            # To tell the allocator's part of a GPU's memory, both as of one moment.
            said = self._sampler.await_word(self._ended, min(_ONE_MORE, timeout / 3))
        self._report(said)

    # --- a cell

    def _cell(self, execution: Execution, seen: dict[str, Any]) -> dict[str, Any]:
        spent = max(cpu_seconds() - self._cpu, seen.get("cpu_seconds", 0.0))
        samples = seen.get("samples", 0)
        if not samples:
            self._unsampled += 1
            if execution.duration >= _SHORT and len(self._rates) < _MOST_RATES:
                self._rates.append(spent / execution.duration)
        memory, memory_figure = self._cell_memory(seen, samples)
        figures = {"memory": memory_figure}
        gpu: dict[str, Any] = {}
        figure: dict[str, Any] | None = None
        if self._look_at_frameworks_begun():
            gpu, figure = self._cell_gpu()
        elif seen.get("gpus"):
            gpu, figure = self._cell_nvml(seen["gpus"], samples)
        if figure is not None:
            figures["gpu_memory"] = figure
        if gpu and (busy := _busy(seen.get("gpus", {}), self._used_uuids())) is not None:
            gpu["gpu_utilisation"] = busy
        return {
            "memory": memory,
            "cpu": round(spent / execution.duration, 3) if execution.duration >= _SHORT else 0.0,
            "cpu_seconds": round(spent, 4),
            "samples": samples,
            **gpu,
            "figures": figures,
        }

    def _cell_memory(self, seen: dict[str, Any], samples: int) -> tuple[int, dict[str, Any]]:
        most, now = self._marks()
        risen, before = most > self._most_rss, self._rss
        self._most_rss, self._rss = max(most, self._most_rss), now
        sampled = int(seen.get("memory", 0))
        if risen and most >= sampled:
            # The kernel (of the operating system) keeps this mark: no moment is missed.
            return most, _figure("peak-rss", samples, "high")
        if samples:
            return sampled, _figure("pss", samples, "high" if samples >= _FEW else "medium")
        return max(before, now), _figure("rss", 2, "low")

    def _marks(self) -> tuple[int, int]:
        if self._has_proc:
            return rss_marks(self._pid)
        import psutil

        now = psutil.Process(self._pid).memory_info().rss
        return now, now

    def _look_at_frameworks_begun(self) -> bool:
        if not self._using_gpu and frameworks.initialized():
            self._using_gpu = True
            # CUDA reads it once, when it is first used.
            self._visible_read = os.environ.get("CUDA_VISIBLE_DEVICES")
        if not self._using_gpu:
            return False
        self._before = self._held
        self._look_at_frameworks()
        return bool(self._held)

    def _look_at_frameworks(self) -> None:
        if not frameworks.initialized():
            return
        self._held = {(one.framework, one.ordinal): one for one in frameworks.held()}
        for key, one in self._held.items():
            known = self._most.get(key)
            if known is None or one.peak > known.peak:
                self._most[key] = one

    def _cell_gpu(self) -> tuple[dict[str, Any], dict[str, Any]]:
        least = most = 0
        for key, now in self._held.items():
            low, high = between(self._before.get(key), now)
            least, most = least + low, most + high
        names = "+".join(sorted({framework for framework, _ in self._held}))
        sure = "high" if most <= 1.05 * least else "medium"
        return {"gpu_memory": least, "gpu_memory_most": most}, _figure(names, 2, sure)

    @staticmethod
    def _cell_nvml(
        seen: dict[str, dict[str, float]], samples: int
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        own = sum(int(gpu.get("own", 0) + gpu.get("children", 0)) for gpu in seen.values())
        if not own:
            return {}, None
        return {"gpu_memory": own, "gpu_memory_most": own}, _figure("nvml", samples, "medium")

    # --- the run

    def _peak(self, said: dict[str, Any], most: int) -> dict[str, Any]:
        run = said.get("run", {})
        samples, sampled = run.get("samples", 0), int(run.get("memory", 0))
        alone = run.get("processes", 0) <= 1
        if most >= sampled:
            sure = "high" if alone or samples >= _FEW else "low"
            memory, figure = most, _figure("peak-rss", samples, sure)
        else:
            source = "pss" if said.get("exact", True) else "pss+rss"
            memory = sampled
            figure = _figure(source, samples, "high" if samples >= _FEW else "low")
        cpu = float(run.get("cpu", 0.0))
        if samples < _FEW and self._rates:
            rates = sorted(self._rates)
            cpu = max(cpu, rates[int(0.95 * (len(rates) - 1))])
        counted = samples + self._unsampled
        return {
            "memory": memory,
            "cpu": round(cpu, 3),
            "cpu_seconds": round(
                max(cpu_seconds() - self._cpu_before, run.get("cpu_seconds", 0.0)), 3
            ),
            "gpu_memory": sum(held.peak for held in self._most.values()),
            "samples": counted,
            "shared_memory": int(run.get("shared", 0)),
            "processes": int(run.get("processes", 0)),
            "figures": {
                "memory": figure,
                "cpu": _figure(
                    "tree" if samples >= _FEW else "tree+cells",
                    counted,
                    "high" if samples >= _FEW else "medium" if counted >= _FEW else "low",
                ),
            },
        }

    def _report(self, said: dict[str, Any]) -> None:
        if self._machine is None:
            self._machine = machine()
        if why := said.get("why_no_gpus"):
            self._gap(f"There is an NVIDIA driver, but the GPUs were not seen: {why}.")
        facts = said.get("facts", [])
        if said.get("at", 0) >= self._ended:
            self._overhead |= {
                uuid: max(taken, self._overhead.get(uuid, 0))
                for uuid, taken in devices.beside(
                    facts, self._held.values(), said.get("gpus", ()), self._visible_read,
                    late=self._late,
                ).items()
            }  # fmt: skip
        gpus = devices.gpus(
            facts,
            held=list(self._most.values()),
            most=said.get("run", {}).get("gpus", {}),
            overhead=self._overhead,
            value=self._visible_read,
            late=self._late,
        )
        peak = self._peak(said, max(self._most_rss, self._marks()[0]))
        uses = [gpu["use"] for gpu in gpus if gpu.get("use")]
        if uses:
            peak["gpu_memory"] = sum(use["memory"] for use in uses)
            order = ("low", "medium", "high")
            peak["figures"]["gpu_memory"] = _figure(
                "+".join(sorted({use["figure"]["source"] for use in uses})),
                max(use["figure"]["samples"] for use in uses),
                min((use["figure"]["confidence"] for use in uses), key=order.index),
            )
        self._emit(
            "hardware",
            {
                **self._machine,
                "gpus": gpus,
                "peak": {**peak, "container_memory": container_peak()},
                "visible_devices": [self._visible, os.environ.get("CUDA_VISIBLE_DEVICES")],
                "least_capability": frameworks.least_capability(),
                "sampler": self._sampler.how,
            },
        )

    def _used_uuids(self) -> set[str] | None:
        facts = self._sampler.said().get("facts", ())
        seen = devices.visible(facts, self._visible_read)
        found = {devices.located(facts, held, seen) for held in self._held.values()}
        return {uuid for uuid in found if uuid} or None


def between(before: Held | None, now: Held) -> tuple[int, int]:
    """Return what arrays took of a GPU during a cell at the least, and at the most.

    A framework keeps only the highest mark ever. Where the cell raised it, it is the
    cell's own; where not, the cell took no more than that, nor than what there was and
    all that it allocated.
    """
    started = before.used if before else 0
    least, most = max(started, now.used), now.most_used
    if before is None or now.most_used > before.most_used:
        return max(least, now.most_used), max(least, now.most_used)
    reset = now.most_used < before.most_used
    if reset:  # the user's doing; what came before it in the cell is not known
        least = max(least, now.most_used)
        most = max(before.most_used, least)
    came = before.allocated
    if came is not None and now.allocated is not None and now.allocated >= came:
        churn = started + now.allocated - came
        most = churn if reset else min(most, churn)
    return least, max(least, most)


def cpu_seconds() -> float:
    """Return the seconds of CPU that this process and its ended children have used."""
    try:
        import resource
    except ImportError:
        times = os.times()
        return times.user + times.system
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def _busy(seen: dict[str, dict[str, float]], uuids: set[str] | None) -> float | None:
    rates = [
        gpu["busy"] / gpu["busy_samples"]
        for uuid, gpu in seen.items()
        if gpu.get("busy_samples") and (uuids is None or uuid in uuids)
    ]
    return round(max(rates), 1) if rates else None


def _figure(source: str, samples: int, confidence: str) -> dict[str, Any]:
    return {"source": source, "samples": samples, "confidence": confidence}
