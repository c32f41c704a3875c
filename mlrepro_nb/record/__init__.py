"""Recording: run a notebook headless, or listen to the kernel that a person types in.

Both end in the same document; `record` makes one from a file, `LiveSession`
from a live kernel, `recover` from what a killed kernel left behind. `stamp`
writes into a notebook's file which record it is from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrepro_nb.lazily import exports

if TYPE_CHECKING:
    from mlrepro_nb.record._headless import record
    from mlrepro_nb.record._live import LiveSession, recover
    from mlrepro_nb.record._managed import record_managed
    from mlrepro_nb.record._stamp import Stamped, stamp

__all__ = ["LiveSession", "Stamped", "record", "record_managed", "recover", "stamp"]

__getattr__ = exports(
    __name__,
    {
        "LiveSession": "_live",
        "Stamped": "_stamp",
        "record": "_headless",
        "record_managed": "_managed",
        "recover": "_live",
        "stamp": "_stamp",
    },
)
