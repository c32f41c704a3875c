"""HTML as a reader sees it."""

from mlrepro_nb.verify.compare.html._compare import (
    DRAWN,
    compare_html,
    has_table,
    table_cells,
)

__all__ = ["DRAWN", "compare_html", "has_table", "table_cells"]
