"""A request's body, read and held against the model's signature. Pure.

What comes out is what MLflow then parses in its own way: the decoded JSON, or
the text of the CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from mlrepro_nb.image.service.signature import (
    Column,
    RefusedError,
    Signature,
    check_column,
    check_tensor,
)

CSV = "text/csv"
JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"
FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CHAT = ("messages", "input", "prompt")
"""MLflow's keys of what language models take: no table, and its own to check."""
_MISSING = frozenset({
    "", "NA", "N/A", "NaN", "nan", "null", "None", "NULL", "<NA>", "n/a", "-nan", "-NaN", "#N/A",
    "#NA", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN", "#N/A N/A",
})  # fmt: skip
"""What pandas reads as a missing value."""
_BOOLEANS = {"true": True, "false": False}


def media_type(content_type: str | None) -> str:
    """Return the media type of a body.

    Raises
    ------
    RefusedError
        With 415, it is none that the protocol has.
    """
    kind, *rest = [part.strip() for part in (content_type or "").split(";")]
    parameters = {
        key.strip().lower(): value.strip().strip('"').lower()
        for key, _, value in (part.partition("=") for part in rest if part)
    }
    charset = parameters.pop("charset", "utf-8")
    if kind.lower() in (CSV, JSON, PARQUET) and charset in ("utf-8", "utf8") and not parameters:
        return kind.lower()
    if kind.lower() in (CSV, JSON, PARQUET):
        wrong = f"charset {charset}" if charset not in ("utf-8", "utf8") else next(iter(parameters))
        message = f"The content type's {wrong} is not supported; send UTF-8."
    else:
        named = f"The content type {content_type[:80]!r}" if content_type else "No content type"
        message = f"{named} is not supported. Send {JSON}, {CSV} or {PARQUET}."
    raise RefusedError(message, status=415, code="UNSUPPORTED_MEDIA_TYPE")


def read(body: bytes, kind: str, wanted: Signature | None, *, extra: str = "refuse") -> Any:
    """Return a body's JSON, CSV text or bytes, once it keeps to the signature.

    Parameters
    ----------
    kind
        As `media_type` returns it.
    extra
        ``ignore`` columns that the signature lacks, or ``refuse`` them.

    Raises
    ------
    RefusedError
        It does not.
    """
    if not body.strip():
        raise RefusedError("The body is empty.")
    if kind == PARQUET:
        return body  # binary and typed: MLflow and its reader enforce the signature
    try:
        text = body.decode("utf-8-sig" if kind == CSV else "utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"The body is not UTF-8 (byte {error.start}).") from None
    if kind == CSV:
        return _csv(text, wanted, extra)
    return _json(text, wanted, extra)


# --- JSON


def _json(text: str, wanted: Signature | None, extra: str) -> dict[str, Any]:
    try:
        payload = json.loads(text)
    except json.JSONDecodeError as error:
        raise RefusedError(
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except (RecursionError, ValueError):
        raise RefusedError(
            "The body is not JSON that can be read: too deep, or too long a number."
        ) from None
    if not isinstance(payload, dict):
        raise RefusedError(f"The body is no JSON object with one of {', '.join(FORMATS)}.")
    if not isinstance(payload.get("params", {}), dict | None):
        raise RefusedError("`params` is no JSON object.")
    if any(key in payload for key in _CHAT):
        _check_finite(payload)
        return payload
    found = [name for name in FORMATS if name in payload]
    if len(found) != 1:
        told = f"has {' and '.join(found)}" if found else f"has none of {', '.join(FORMATS)}"
        raise RefusedError(f"The body {told}; it must have exactly one.")
    data = payload[found[0]]
    if wanted is not None and wanted.columns and found[0] != "inputs" and not _is_tensor(data):
        _check_table(*_TABLES[found[0]](data), wanted, extra)
    elif wanted is not None and wanted.columns:
        _check_inputs(data, wanted, extra)
    elif wanted is not None and wanted.tensors and found[0] in ("instances", "inputs"):
        _check_tensors(data, wanted, rows=found[0] == "instances")
    else:
        if found[0].startswith("dataframe"):
            _TABLES[found[0]](data)
        _check_finite(data)
    return payload


Table = tuple[list[Any] | None, list[Sequence[Any]], int]
"""Names of the columns if they have some, the columns, the number of rows."""


def _is_tensor(data: Any) -> bool:
    """Whether ``instances`` are arrays instead of records."""
    return isinstance(data, list) and bool(data) and not isinstance(data[0], dict)


def _split(data: Any) -> Table:
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        raise RefusedError('`dataframe_split` is no object with "columns" and "data".')
    rows, names = data["data"], data.get("columns")
    if unknown := sorted(set(data) - {"columns", "data", "index"}):
        raise RefusedError(f"`dataframe_split` has {unknown[0][:40]!r}, which it cannot have.")
    if names is not None and not isinstance(names, list):
        raise RefusedError('The "columns" of `dataframe_split` are no array.')
    if not all(isinstance(row, list) for row in rows):
        raise RefusedError('The "data" of `dataframe_split` are no array of arrays.')
    width = len(rows[0]) if names is None and rows else len(names or ())
    for number, row in enumerate(rows):
        if len(row) != width:
            raise RefusedError(f"Row {number} has {len(row)} values, not {width}.", row=number)
    index = data.get("index")
    if index is not None and (
        not isinstance(index, list)
        or len(index) != len(rows)
        or not all(isinstance(i, str | int | float) for i in index)
    ):
        raise RefusedError('The "index" of `dataframe_split` does not fit its "data".')
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * width
    return names, columns, len(rows)


def _records(data: Any) -> Table:
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise RefusedError("The records are no array of objects.")
    names = list(dict.fromkeys(name for row in data for name in row))
    return names, [[row.get(name, _ABSENT) for row in data] for name in names], len(data)


_ABSENT = object()
"""In the place of what a record does not have at all."""


_TABLES: dict[str, Callable[[Any], Table]] = {
    "dataframe_split": _split, "dataframe_records": _records, "instances": _records,
}  # fmt: skip


def _check_inputs(data: Any, wanted: Signature, extra: str) -> None:
    """Check columns by name, records, or rows of a table whose columns have no names."""
    if isinstance(data, list) and data and isinstance(data[0], dict):
        _check_table(*_records(data), wanted, extra)
    elif isinstance(data, dict) and wanted.named:
        nested = {c.name for c in wanted.columns if c.type.get("type") == "array"}
        plain = [v for k, v in data.items() if isinstance(v, list) and k not in nested]
        if len({len(v) for v in plain}) > 1:
            raise RefusedError("The columns of `inputs` differ in length.")
        rows = len(plain[0]) if plain else 1
        columns: list[Sequence[Any]] = []
        for name, value in data.items():
            # One row may be told without arrays around its values.
            column = value if isinstance(value, list) and (name not in nested or plain) else [value]
            if plain and not isinstance(value, list):
                raise RefusedError(
                    f"The column {name[:80]!r} of `inputs` is no array.", column=name
                )
            columns.append(column)
        _check_table(list(data), columns, rows, wanted, extra)
    else:
        _check_finite(data)  # arrays for unnamed columns: MLflow says what fits


def _check_table(
    names: list[Any] | None,
    columns: list[Sequence[Any]],
    rows: int,
    wanted: Signature,
    extra: str,
) -> None:
    if not rows:
        raise RefusedError("There are no rows.")
    if names is None or not wanted.named:
        if len(columns) < len(wanted.columns):
            raise RefusedError(f"There are {len(columns)} columns, not {len(wanted.columns)}.")
        for number, (column, values) in enumerate(zip(wanted.columns, columns, strict=False)):
            check_column(column, values, f"Column {number}")
        return
    check_names(names, wanted, extra)
    for column in wanted.columns:
        if column.name in names:
            values = columns[names.index(column.name)]
            if _ABSENT in values:
                if column.required:
                    row = list(values).index(_ABSENT)
                    message = f"Row {row} lacks the column {column.name!r}."
                    raise RefusedError(message, column=column.name, row=row)
                values = [v for v in values if v is not _ABSENT]
            check_column(column, values, f"Column {column.name!r}")


def check_names(names: Sequence[Any], wanted: Signature, extra: str) -> None:
    """Refuse a table whose columns are not those of the signature, in any order."""
    known = {column.name for column in wanted.columns}
    for column in wanted.columns:
        if column.required and column.name not in names:
            raise RefusedError(f"The column {column.name!r} is missing.", column=column.name)
    for name in names:
        if not isinstance(name, str):
            raise RefusedError("A column's name is no string.")
        if names.count(name) > 1:
            raise RefusedError(f"The column {name[:80]!r} is there twice.", column=name)
        if name not in known and extra == "refuse":
            raise RefusedError(
                f"The column {name[:80]!r} is none of the model's; they are "
                f"{', '.join(repr(c.name) for c in wanted.columns[:20])}"
                f"{'…' if len(wanted.columns) > 20 else ''}.",
                column=name,
            )


def _check_tensors(data: Any, wanted: Signature, *, rows: bool) -> None:
    if len(wanted.tensors) == 1 and wanted.tensors[0].name is None:
        if isinstance(data, dict):
            raise RefusedError("The model takes one array without a name, not an object.")
        if not check_tensor(wanted.tensors[0], data, "The array"):
            raise RefusedError("There are no rows.")
        return
    if rows and isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        names, columns, _ = _records(data)
        data = dict(zip(names or (), map(list, columns), strict=True))
    if not isinstance(data, dict):
        raise RefusedError(
            f"The model takes arrays by name: {', '.join(str(t.name) for t in wanted.tensors)}."
        )
    for tensor in wanted.tensors:
        if tensor.name in data:
            check_tensor(tensor, data[tensor.name], f"The array {tensor.name!r}")
        elif tensor.required:
            raise RefusedError(f"The array {tensor.name!r} is missing.", column=tensor.name)


def _check_finite(value: Any) -> None:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, float) and not math.isfinite(one):
            raise RefusedError(f"The body has the number {one}, which is not finite.")


# --- CSV


def _csv(text: str, wanted: Signature | None, extra: str) -> str:
    if "\0" in text:
        raise RefusedError("The body is not CSV: it has a NUL character.")
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise RefusedError(f"The body is not CSV: {error}.") from None
    if not rows:
        raise RefusedError("The body is empty.")
    names, *rows = rows
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise RefusedError(
                f"Row {number} has {len(row)} values, but the first line names {len(names)} "
                "columns.",
                row=number,
            )
    if not rows:
        raise RefusedError("There are no rows below the first line, which names the columns.")
    if wanted is None or not wanted.columns:
        return text
    if wanted.named:
        check_names(names, wanted, extra)
    for number, column in enumerate(wanted.columns):
        where = names.index(column.name) if column.name in names else number
        if (wanted.named and column.name not in names) or where >= len(names):
            continue
        _check_cells(column, [row[where] for row in rows], names[where])
    return text


def _check_cells(column: Column, cells: list[str], name: str) -> None:
    kind = column.type.get("type")
    if kind == "string":
        return
    if kind not in _CELLS:
        raise RefusedError(
            f"The column {name[:80]!r} is a {kind}, which CSV cannot hold; send JSON.",
            column=column.name,
        )
    values: list[Any] = []
    for row, cell in enumerate(cells):
        bare = cell.strip()
        try:
            values.append(None if bare in _MISSING else _CELLS[kind](bare))
        except (ValueError, KeyError):
            shown = cell if len(cell) <= 40 else f"{cell[:37]}…"
            raise RefusedError(
                f"Column {name[:80]!r}, row {row}: {shown!r} is not a {kind}.",
                column=column.name,
                row=row,
            ) from None
    check_column(column, values, f"Column {name[:80]!r}")


def _cell_number(text: str) -> float:
    if "_" in text:  # a number to Python alone
        raise ValueError(text)
    return float(text)


def _cell_integer(text: str) -> int:
    if "_" in text:
        raise ValueError(text)
    return int(text)


_CELLS: dict[str, Callable[[str], Any]] = {
    "double": _cell_number, "float": _cell_number, "integer": _cell_integer,
    "long": _cell_integer, "boolean": lambda text: _BOOLEANS[text.lower()],
}  # fmt: skip
