"""A process that verifies the notebooks that it reads from standard input, a task a line.

What it tells goes to what was its standard output, a line of JSON each; what anything else
prints goes to standard error.
"""

from __future__ import annotations

import os
import sys

from mlrepro_nb.execute import Nursery


def main() -> int:
    """Work until there is no more to do."""
    told = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    with Nursery() as nursery:
        nursery.warm_up()  # while what follows is imported
        import msgspec

        from mlrepro_nb.model import Step
        from mlrepro_nb.verify._many import Told
        from mlrepro_nb.verify._task import Task, perform

        decoder = msgspec.json.Decoder(Task)

        def report(step: Step) -> None:
            told.write(msgspec.json.encode(Told(step=step)) + b"\n")

        import nbclient  # noqa: F401 - while the first task is on its way
        import papermill.clientwrap  # noqa: F401

        try:
            for line in sys.stdin.buffer:
                outcome = perform(decoder.decode(line), nursery=nursery, report=report)
                told.write(msgspec.json.encode(Told(outcome=outcome)) + b"\n")
        except (KeyboardInterrupt, BrokenPipeError):
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
