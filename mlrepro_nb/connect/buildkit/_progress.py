"""What BuildKit prints while it builds (``--progress=plain``), read as steps.

The engine's own, ``buildx`` and ``buildctl`` print the same, in every version.
"""

from __future__ import annotations

import re

from mlrepro_nb.model import Report, Step

_VERTEX = re.compile(r"#\d+ \[(?:(?P<stage>[\w.-]+) +)?(?P<done>\d+)/(?P<total>\d+)\] (?P<what>.*)")
_LOG = re.compile(r"#\d+ (?:\d+\.\d+ )?(?P<text>.*)")
_NOISE = re.compile(
    r"sha256:|DONE|CACHED|transferring|extracting|resolve |\[internal\]|\.\.\.|━|done$"
    r"|^exporting |^rewriting layers|^copying |^sending tarball"
)


class Progress:
    """Turns lines of progress into steps."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __call__(self, line: str) -> None:
        """Read one line."""
        if vertex := _VERTEX.match(line):
            stage = f"{vertex['stage']}: " if vertex["stage"] else ""
            what = re.sub(r"--mount=\S+ +", "", " ".join(vertex["what"].split()))
            self.report(
                Step(
                    message=f"{stage}{what[:100]}",
                    done=float(vertex["done"]),
                    total=float(vertex["total"]),
                )
            )
        elif (log := _LOG.match(line)) and log["text"] and not _NOISE.search(log["text"]):
            self.report(Step(message=log["text"][:200], log=True))


def telling(output: str) -> str:
    """Return the lines of a failed build that tell why: those of the step that failed."""
    lines = output.splitlines()
    failed = [m[1] for line in lines if (m := re.match(r"(#\d+) ERROR", line))]
    if not failed:
        return output
    step = [line for line in lines if line.startswith(f"{failed[-1]} ")]
    return "\n".join(re.sub(r"^#\d+ (?:\d+\.\d+ )?", "", line) for line in step)
