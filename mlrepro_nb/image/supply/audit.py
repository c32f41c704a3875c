"""Whether what the lock names has known vulnerabilities, and what follows from that."""

from __future__ import annotations

from mlrepro_nb.connect import pip_audit
from mlrepro_nb.errors import MlreproError, ToolError, UsageError
from mlrepro_nb.image import _lock
from mlrepro_nb.image._plan import Plan
from mlrepro_nb.model import Report, Step

MODES = ("off", "warn", "fail")


def audit(plan: Plan, mode: str | None, report: Report) -> None:
    """Ask for known vulnerabilities of what an image's locks name, and say them.

    What cannot be asked is said, and never stops a build.

    Parameters
    ----------
    mode
        ``off``, ``warn`` says them, ``fail`` refuses such an image.

    Raises
    ------
    UsageError
        There is no such mode.
    MlreproError
        There are some, and the mode is ``fail``.
    """
    if mode is not None and mode not in MODES:
        raise UsageError(f"There is no audit {mode!r}.", f"It is one of {', '.join(MODES)}.")
    if mode in (None, "off"):
        return
    pins = [pin for text in (plan.lock, plan.lab) for pin in _lock.parse(text or "")[1]]
    exact = {(pin.name, pin.version): pin.hashes for pin in pins if pin.version}
    beside = [*(d.name for d in plan.local), *(pin.name for pin in pins if not pin.version)]
    report(Step(message=f"asking for known vulnerabilities of {len(exact)} distributions"))
    try:
        found = pip_audit.audit(exact)
    except ToolError as error:
        report(Step(message=f"NOT CHECKED for vulnerabilities: {error.message}", log=True))
        return
    if exact and len(found.skipped) == len(exact):
        said = "NOT CHECKED for vulnerabilities: the service knows none of the distributions."
        report(Step(message=said, log=True))
        return
    unknown = sorted({*found.skipped, *beside})
    if unknown:
        said = f"Not checked for vulnerabilities, as nobody knows them: {', '.join(unknown)}."
        report(Step(message=said, log=True))
    lines = []
    for known in found.vulnerabilities:
        names = ", ".join([known.id, *known.aliases[:2]])
        fixed = f"; fixed in {', '.join(known.fixed)}" if known.fixed else "; not fixed yet"
        lines.append(f"{known.distribution} {known.version} has {names}{fixed}")
    for line in lines:
        report(Step(message=f"Vulnerability: {line}.", log=True))
    if not lines:
        checked = len(exact) - len(found.skipped)
        report(Step(message=f"No known vulnerability in {checked} distributions.", log=True))
    elif mode == "fail":
        raise MlreproError(
            f"The lock has {len(lines)} known vulnerabilit{'y' if len(lines) == 1 else 'ies'}: "
            f"{'; '.join(lines[:5])}.",
            "Upgrade and record again, or build with --audit=warn. Nothing was built.",
        )
