"""What travels beside an image: its bill of materials and its provenance, signed or not.

`sbom` and `provenance` are pure functions of the plan and of what is known of the
build; `attach` has them signed and makes them artifacts that refer to the image.
`audit` asks for known vulnerabilities of what the lock names.
"""

from mlrepro_nb.image.supply.attach import Documents, Supply
from mlrepro_nb.image.supply.packages import LISTS, system
from mlrepro_nb.image.supply.provenance import Made
from mlrepro_nb.image.supply.sbom import sbom

__all__ = ["LISTS", "Documents", "Made", "Supply", "sbom", "system"]
