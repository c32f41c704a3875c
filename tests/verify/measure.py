"""Print recall, cause accuracy and false alarms over the corpus: python tests/verify/measure.py."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from corpus import build
from reference import ReferenceKernel, plant

from mlrepro_nb.model import REPRODUCED
from mlrepro_nb.verify import verify


def main(first: str = "", last: str = "~") -> None:
    """Run the cases whose names lie between two."""
    kernel = ReferenceKernel()
    started = False
    missed, wrong, cell_wrong, alarms, faults, benign = [], [], [], [], 0, 0
    for fault in build():
        if not started and fault.name.startswith(first):
            started = True
        if not started or fault.name.startswith(last):
            continue
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            begun = time.monotonic()
            try:
                path = plant(fault, Path(folder), kernel)
                found = verify(path)
            except Exception:
                traceback.print_exc()
                wrong.append(fault.name)
                continue
            seconds = time.monotonic() - begun
        kinds = [(c.kind, c.cell) for c in found.causes]
        state = "ok"
        if fault.expect is None:
            benign += 1
            if found.verdict not in REPRODUCED or kinds:
                alarms.append(fault.name)
                state = "ALARM"
        else:
            faults += 1
            if found.verdict in REPRODUCED:
                missed.append(fault.name)
                state = "MISSED"
            elif fault.expect[0] not in [k for k, _ in kinds]:
                wrong.append(fault.name)
                state = "WRONG"
            elif fault.expect not in kinds or len(kinds) > 1:
                cell_wrong.append(fault.name)
                state = "CELL/EXTRA"
        print(f"{state:10} {fault.name:40} {found.verdict:18} {kinds} {seconds:.1f}s", flush=True)
        if state != "ok":
            for cell in found.cells:
                print(
                    "      ", cell.index, cell.verdict, cell.detail, cell.cause and cell.cause.kind
                )
            for cause in found.causes:
                print("      ", cause.evidence, "|", cause.fix)
    kernel.close()
    print(f"faults {faults} missed {len(missed)} wrong {len(wrong)} cell {len(cell_wrong)}; "
          f"benign {benign} alarms {len(alarms)}")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
