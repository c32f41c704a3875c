"""Events about metrics to parts of the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from mlrepro_nb.model import Expectation

if TYPE_CHECKING:
    from mlrepro_nb.capture.cells._match import Cells
    from mlrepro_nb.capture.told import Told

_NONE = "the run has no MLflow metric, scrap or variable of that name"


class Metrics(msgspec.Struct, frozen=True):
    """What is known of metrics beside MLflow's."""

    scraps: dict[str, float]
    variables: dict[str, float]
    expectations: tuple[Expectation, ...]


def assembled(told: Told, cells: Cells, logged: Mapping[str, float]) -> Metrics:
    """Return the scraps, the variables that were asked for, and what became of expectations.

    What was logged to MLflow, even what is no number, counts before a scrap, that before a
    variable.
    """
    values: dict[str, dict[str, float]] = {"mlflow": dict(logged), "scrapbook": {}, "variable": {}}
    problems: dict[str, dict[str, str]] = {
        "mlflow": {
            name: "what was logged is not a finite number"
            for run in told.runs.values()
            for name in run.get("metrics") or {}
            if name not in logged
        },
        "scrapbook": {},
        "variable": {},
    }
    for (source, name), data in told.metrics.items():
        if data.get("value") is not None:
            values[source][name] = float(data["value"])
        else:
            problems[source][name] = str(data.get("problem"))
    found = {}
    for data in told.expected:
        expected = msgspec.convert(
            {name: value for name, value in data.items() if name != "order"}, Expectation
        )
        name = expected.metric
        of = next((s for s in values if name in values[s] or name in problems[s]), None)
        expected = msgspec.structs.replace(
            expected,
            source=of,
            value=values[of].get(name) if of else None,
            problem=problems[of].get(name) if of else _NONE,
        )
        # What is said again of a metric takes the place of what was said before.
        found[expected.metric] = msgspec.structs.replace(
            expected, cell=cells.index(data.get("order")), execution=data.get("order")
        )
    return Metrics(values["scrapbook"], values["variable"], tuple(found.values()))
