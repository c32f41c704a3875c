"""What child processes draw: compared whenever they send something, and told before it arrives."""

from __future__ import annotations

from typing import Any, Protocol

from mlrepro_nb.capture.data.children import Reporter


class Children(Protocol):
    """Who hears child processes, in the kernel (`data.children`)."""

    def drawn(self) -> list[tuple[str, bool | None]]:
        """Return what they drew from since the last time."""


class _Worker:
    """Stands for the recorder in a process that has no cells."""

    shell, mode = None, "interactive"

    def emit(self, kind: str, data: Any) -> None:
        """Do nothing."""

    def gap(self, text: str) -> None:
        """Do nothing."""

    def current(self) -> int | None:
        """Return None: no cell runs here."""
        return None


def begin(reporter: Reporter) -> None:
    """In a new interpreter: tell from now on what is drawn."""
    from mlrepro_nb.capture.randomness.watch import RandomnessWatch

    watch = RandomnessWatch(_Worker())
    watch.start()
    watch.tell(reporter)


def uses(drawn: list[tuple[str, bool | None]]) -> list[dict[str, Any]]:
    """Return what workers drew from as uses of generators, one each."""
    seeded: dict[str, bool] = {}
    for name, sown in drawn:
        if sown is not None:
            seeded[name] = seeded.get(name, True) and sown
    return [
        {"generator": name, "before": "", "after": "", "seeded": sown, "worker": True}
        for name, sown in seeded.items()
    ]


def entropy(drawn: list[tuple[str, bool | None]]) -> list[dict[str, Any]]:
    """Return what workers drew of the system's entropy."""
    return [
        {"source": source, "replayable": False, "worker": True}
        for source, sown in drawn
        if sown is None
    ]
