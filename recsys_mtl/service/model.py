"""A loaded model: requests' rows in, the JSON of their predictions out."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass
from pydantic_core import to_json

from recsys_mtl.errors import UserError
from recsys_mtl.scoring.model import ModelFolder
from recsys_mtl.service.request import Row, Rows, columns_of
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor

log = logging.getLogger(__name__)


class LoadedModel:
    """A model that answers requests.

    Args:
        predictor: the model.
        name: `models:/NAME/3`, or a folder.
        version: of the registered model; else the first digits of its manifest's sha256.

    Attributes:
        name: the same.
        version: the same.
        quoted: the name as JSON.
        rows: reads the bodies of requests.
    """

    def __init__(self, predictor: Predictor, name: str, version: str) -> None:
        self.name, self.version = name, version
        self.quoted = json.dumps(name).encode()
        self._predictor = predictor
        self.rows = Rows(columns_of(predictor))

    @classmethod
    def load(cls, found: ModelFolder) -> LoadedModel:
        """Load a bundle and answer a few rows, so that the first request is as fast as any.

        Raises:
            UserError: the bundle is damaged.
        """
        known = found.registered
        name = str(found.folder) if known is None else f"models:/{known['name']}/{known['version']}"
        version = found.sha256[:12] if known is None else str(known["version"])
        model = cls(load_bundle(found.folder), name, version)
        try:
            for count in (1, 1, 2, 32):
                model._predictor.predict_rows(model.rows.example()["rows"] * count)
        except UserError as error:  # the made-up row is no reason not to answer real ones
            log.warning("not warmed up, the first requests take longer: %s", error)
        return model

    def answers(self, requests: Sequence[Sequence[Row]]) -> list[bytes | Exception]:
        """The predictions of some requests, scored together.

        Each has the JSON list of its own rows' predictions, or what is wrong with them: where the
        rows cannot be scored together, each request is scored alone.
        """
        answers: list[bytes | Exception] = []
        first = 0
        try:
            scored = self._predictor.predict_rows(list(chain.from_iterable(requests)))
            for rows in requests:
                answers.append(to_json(scored[first : first + len(rows)], inf_nan_mode="null"))
                first += len(rows)
        except Exception as error:  # noqa: BLE001  # it is the answer
            if len(requests) == 1:
                if not isinstance(error, UserError):
                    log_bug(error)
                return [error]
            return [answer for rows in requests for answer in self.answers([rows])]
        return answers

    @cached_property
    def answer_schema(self) -> dict[str, Any]:
        """JSON schema of an answer."""
        properties = {n: _described(t) for n, t in self._predictor.output_schema().items()}
        row = {"type": "object", "properties": properties, "required": [*properties]}
        return {
            "type": "object",
            "properties": {
                "predictions": {"type": "array", "items": row},
                "model": {"type": "string", "examples": [self.name]},
            },
            "required": ["predictions", "model"],
        }


def log_bug(error: Exception) -> None:
    """Log where it happened; its text might hold values of the request."""
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("a request failed with %s\n%s", type(error).__name__, where)
    log.debug("it says: %s", error)


def _described(dtype: pl.DataType | DataTypeClass) -> dict[str, Any]:
    if isinstance(dtype, pl.List):
        return {"type": "array", "items": _described(dtype.inner)}
    return {"type": "string" if dtype == pl.String else "number"}
