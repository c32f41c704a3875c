"""MLflow's scoring protocol on a logged model: what MLflow does, without its tracebacks."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec

_MESSAGE = re.compile(
    r"\A(?:Failed to predict data '.*\nError: )?(?P<what>.*?)"
    r"(?:\s*IMPORTANT: The MLflow Model scoring protocol.*|\s*Input: \n.*)?\Z",
    re.DOTALL,
)
_LONGEST = 400


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the scoring protocol answers."""

    status: int
    content: str
    media_type: str = "application/json"
    rows: int | None = None
    """That were predicted."""


class ScoringError(Exception):
    """The model or MLflow did not take an input.

    Parameters
    ----------
    message
        For whoever sent it: it may show values of it.
    status
        Of HTTP: 400, or 500 where the input is not to blame.
    code
        MLflow's word for the kind of error.
    kind
        Class of the exception and where it was raised, which may be logged.
    """

    def __init__(self, message: str, *, status: int, code: str, kind: str) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.kind = kind


class ServedModel:
    """A loaded model.

    Parameters
    ----------
    folder
        Its files, as MLflow logged them.
    """

    def __init__(self, folder: Path) -> None:
        # Nothing of a served model is the business of MLflow's makers.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow.pyfunc
        from mlflow.version import VERSION

        # As in MLflow's own server, which models may ask for.
        os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
        self.version = str(VERSION)
        self._model = mlflow.pyfunc.load_model(str(folder))
        self._schema = self._model.metadata.get_input_schema()

    @property
    def inputs(self) -> list[dict[str, Any]] | None:
        """The signature's inputs as MLflow writes them; None where there is none to check by.

        A model whose `predict` has type hints checks its input itself.
        """
        metadata = self._model.metadata
        hinted = getattr(metadata, "_is_signature_from_type_hint", None)
        if self._schema is None or (hinted is not None and hinted()):
            return None
        return list(self._schema.to_dict())

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The signature's outputs, if it has any."""
        schema = self._model.metadata.get_output_schema()
        return list(schema.to_dict()) if schema is not None else []

    def score(self, data: Any, media_type: str) -> Answer:
        """Predict from a body: bytes or text, or JSON that is decoded already.

        Raises
        ------
        ScoringError
            It cannot be predicted from.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import scoring_server

        asked = _Asked(self._model)
        try:
            found = scoring_server.invocations(data, media_type, asked, self._schema)
        except MlflowException as error:
            raise _translated(error, asked) from error
        except Exception as error:
            raise _unexpected(error, asked) from error
        return Answer(
            status=found.status, content=found.response, media_type=found.mimetype, rows=asked.rows
        )


class _Asked:
    """The model during one request: tells how far that came, and of how many rows."""

    def __init__(self, model: Any) -> None:
        self.metadata = model.metadata
        self._predict = model.predict
        self.rows: int | None = None
        self.raised: Exception | None = None
        self.predicted = False

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        with contextlib.suppress(Exception):
            first = next(iter(data.values())) if isinstance(data, dict) else data
            self.rows = 1 if isinstance(first, str) else len(first)
        try:
            found = self._predict(data, params=params)
        except Exception as error:
            self.raised = error
            raise
        self.predicted = True
        return found


def _translated(error: Any, asked: _Asked) -> ScoringError:
    cause = asked.raised
    if cause is not None and cause is not error:
        return _unexpected(cause, asked)
    status = int(error.get_http_status_code())
    message = _MESSAGE.sub(r"\g<what>", str(error.message)).strip()
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}…"
    return ScoringError(
        message or "MLflow does not take this input.",
        status=status if 400 <= status < 500 else 400,
        code=str(error.error_code),
        kind=type(error).__name__,
    )


def _unexpected(error: Exception, asked: _Asked) -> ScoringError:
    kind = _place(error)
    if asked.predicted:
        return ScoringError(
            "The model's answer cannot be written as JSON.",
            status=500, code="INTERNAL_ERROR", kind=kind,
        )  # fmt: skip
    if isinstance(error, MemoryError):
        return ScoringError(
            "The service ran out of memory; send fewer rows.",
            status=503, code="RESOURCE_EXHAUSTED", kind=kind,
        )  # fmt: skip
    what = "The model cannot predict from" if asked.raised else "MLflow cannot read"
    text = " ".join(str(error).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return ScoringError(
        f"{what} this input: {type(error).__name__}{f': {text}' if text else ''}",
        status=400, code="BAD_REQUEST", kind=kind,
    )  # fmt: skip


def _place(error: Exception) -> str:
    """Return an exception's class and where it was raised, without its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        code = trace.tb_frame.f_code
        where = f" at {Path(code.co_filename).name}:{trace.tb_lineno}"
    return f"{type(error).__name__}{where}"


def serving_example(folder: Path) -> dict[str, Any] | None:
    """Return the body that a model's input example makes as a request; None without example."""
    path = folder / "serving_input_example.json"
    if not path.is_file():
        return None
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    return None


def saved_signature(
    folder: Path,
) -> tuple[list[dict[str, Any]] | None, list[dict[str, Any]]]:
    """Return inputs and outputs of a model's signature as `ServedModel` has them, from its files.

    Raises
    ------
    ValueError
        Its MLmodel cannot be read.
    """
    import yaml

    try:
        found = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        told = found.get("signature") or {}
        inputs, outputs = (json.loads(told.get(name) or "null") for name in ("inputs", "outputs"))
    except (OSError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{folder / 'MLmodel'} cannot be read: {error}") from error
    return None if found.get("is_signature_from_type_hint") else inputs, outputs or []
