"""What a new model's inputs and scores look like, taken when it is trained."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import polars as pl

from recsys_mtl.config import Config
from recsys_mtl.data.prepare import open_splits
from recsys_mtl.data.splits import SplitName
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.serving.reference import FEATURE_ROWS, SCORE_ROWS, Reference

log = logging.getLogger(__name__)
_HELD_OUT: tuple[SplitName, ...] = ("valid", "test", "train")


def take_reference(config: Config, predictor: Predictor) -> Reference | None:
    """Read the run's data once more and count them; None after Ctrl-C.

    At most `FEATURE_ROWS` training rows and `SCORE_ROWS` held-out rows are counted, drawn by the
    run's seed from all over their split.

    Args:
        config: the run.
        predictor: the final model.
    """
    try:
        splits = open_splits(config)
        held_out = next(split for split in _HELD_OUT if splits.counts[split])
        train = _sample(splits.sample("train", predictor.columns, FEATURE_ROWS), FEATURE_ROWS)
        scored = _sample(splits.sample(held_out, predictor.columns, SCORE_ROWS), SCORE_ROWS)
        return Reference.of(predictor, train, scored, held_out)
    except KeyboardInterrupt:
        log.warning("interrupted: the model is stored without what `predict` finds drift by")
        return None


def _sample(frames: Iterator[pl.DataFrame], rows: int) -> pl.DataFrame:
    return pl.concat(frames, how="vertical_relaxed").head(rows)
