"""The distributions of a new model's inputs and scores, counted while its data are prepared."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import polars as pl

from recsys_mtl.data.batch import Batch
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.serving.reference import Expected, Key, Reference, count_inputs

log = logging.getLogger(__name__)


class ReferenceSampler:
    """A `recsys_mtl.data.prepare.Sampler` that a model's reference comes from.

    Attributes:
        inputs: the counted ones; a resumed training sets those of its checkpoint.
    """

    train_rows = 200_000
    valid_rows = 50_000

    def __init__(self) -> None:
        self.inputs: Mapping[Key, Expected] = {}
        self._valid: Batch | None = None

    def take_train(self, preprocessor: Preprocessor, rows: pl.DataFrame) -> None:
        """Count the inputs."""
        self.inputs = count_inputs(preprocessor, rows)

    def take_valid(self, rows: Batch) -> None:
        """Keep rows to score."""
        self._valid = rows

    def reference(self, predictor: Predictor) -> Reference | None:
        """The final model's reference; None after Ctrl-C."""
        assert self._valid is not None, "the data are prepared first"
        try:
            predictions = predictor.predict_encoded(self._valid)
        except KeyboardInterrupt:
            log.warning("interrupted: the model is stored without what `predict` finds drift by")
            return None
        return Reference.of(self.inputs, predictor, predictions, "valid")
