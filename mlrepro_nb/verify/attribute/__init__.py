"""Why a cell was not reproduced: from the source, the record, and runs compared.

Evidence that costs nothing comes first; a second run is only asked for where a
cell may be nondeterministic.
"""

from mlrepro_nb.verify.attribute._attribute import attribute, needs_second_run, without_effect
from mlrepro_nb.verify.attribute.case import Case, Seen

__all__ = ["Case", "Seen", "attribute", "needs_second_run", "without_effect"]
