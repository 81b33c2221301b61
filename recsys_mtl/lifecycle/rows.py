"""Two models on the same labelled rows: which rows these are, and each model's scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import polars as pl
import polars.selectors as cs

from recsys_mtl.columns.keys import GroupKey
from recsys_mtl.config.data import GroupSplitConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.data.loading import load_rows
from recsys_mtl.data.opening import open_rows, open_splits
from recsys_mtl.data.raw import RawRows
from recsys_mtl.errors import prefixed, wrong
from recsys_mtl.metrics.weighing import Ints
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tracking.registry import Registry, Version
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.wiring.run import build_evaluator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedVersion:
    """A version's predictor and its name in messages ("challenger, version 3")."""

    title: str
    predictor: Predictor


@dataclass(frozen=True)
class EvaluationRows:
    """Labelled rows that models are measured on.

    Attributes:
        run: the challenger's config: how files are read and split.
        input: files, all rows of which are read; None: the run's test split.
        root: folder that paths start from; None: the default.
        title: their name in the report.
        fingerprint: that they must have; None: any.
    """

    run: Config
    input: str | None
    root: str | None
    title: str
    fingerprint: str | None = None

    def open(self, config: Config) -> RawRows:
        """The rows with the columns of a model's config."""
        if self.input is None:
            return open_splits(config, run=self.run, root=self.root).rows("test")
        return open_rows(config, self.input, root=self.root or ".", run=self.run)


def choose_rows(
    challenger: LoadedVersion,
    champion: LoadedVersion | None,
    *,
    input: str | None,
    data: str | None,
) -> EvaluationRows:
    """All rows of `input`, else the challenger's own test split.

    Args:
        challenger: its config defines the split, and how rows are read.
        champion: None before the first promotion.
        input: file, folder or glob of labelled rows.
        data: folder that paths start from; else that of the run, and for `input` the working
            folder.

    Raises:
        UserError: the challenger's test rows may be rows that the champion was trained on.
    """
    run = challenger.predictor.config
    if input is not None:
        return EvaluationRows(run, input, data, f"all rows of {input}")
    if champion is not None:
        _require_same_split(challenger, champion)
    expected = challenger.predictor.fingerprint or None
    return EvaluationRows(run, None, data, "the challenger's test split", expected)


@dataclass(frozen=True)
class Measurement:
    """A model on the rows.

    Attributes:
        scores: predictions, labels and metrics.
        fingerprint: of the rows.
        groups: (R,) the group of each row; None where no column was asked for, or they lack it.
    """

    scores: Scores
    fingerprint: str
    groups: Ints | None


def group_column(run: Config) -> str | None:
    """The column whose equal values the split keeps together, such as the customer."""
    split = run.data.split
    return split.column if isinstance(split, GroupSplitConfig) else None


def measure(
    model: LoadedVersion, rows: EvaluationRows, *, grouped_by: str | None = None
) -> Measurement:
    """A model's scores on the rows.

    Columns that the model does not read are ignored.

    Args:
        model: to measure.
        rows: to measure it on.
        grouped_by: column of the groups to read; None: none.

    Raises:
        UserError: the rows do not fit the model, or have changed since it was trained.
    """
    predictor = model.predictor
    config = predictor.config
    with prefixed(model.title):
        opened = rows.open(config)
        fingerprint = opened.fingerprint()
        if rows.fingerprint is not None and fingerprint != rows.fingerprint:
            raise wrong(
                "the data have changed since the training, so the test split is lost",
                where="data.path",
                expected=f"fingerprint {rows.fingerprint}",
                found=fingerprint,
                fix="give labelled rows with --input, or restore the file",
            )
        loader = load_rows(config, opened, predictor.preprocessor)
        evaluator = build_evaluator(config, predictor.preprocessor, precision="fp32")
        log.info("%s: %d rows", model.title, opened.num_rows)
        groups = _groups(opened, grouped_by)
        return Measurement(evaluator(predictor.network, loader), fingerprint, groups)


def _groups(rows: RawRows, column: str | None) -> Ints | None:
    if column is None or column not in rows.source.columns:
        return None
    key = GroupKey(column)
    return np.concatenate([key.encode(frame[column]) for frame in rows.frames([column])])


def load(registry: Registry, version: Version, role: str) -> LoadedVersion:
    """Load a version's model, complete and able to predict.

    Raises:
        UserError: it is damaged or cannot predict.
    """
    title = f"{role}, version {version.number}"
    with prefixed(title):
        model = LoadedVersion(title, load_bundle(registry.download(version)))
    check_predicts(model)
    return model


def check_predicts(model: LoadedVersion) -> None:
    """Check that the model predicts one row of missing values.

    Raises:
        UserError: it does not, or not finitely.
    """
    schema = model.predictor.schema()
    with prefixed(model.title):
        row = pl.DataFrame({c: [None] for c in schema}, schema=schema)
        numbers = model.predictor.predict(row).select(cs.float())
        if not all(numbers.select(pl.all().is_finite().all()).row(0)):
            raise wrong("predicts numbers that are not finite")


def seen_in_training(predictor: Predictor, fingerprint: str) -> bool:
    """Whether rows of this fingerprint are among the files that the model was made from."""
    return bool(set(fingerprint.split("-")) & set(predictor.fingerprint.split("-")) - {""})


def _require_same_split(challenger: LoadedVersion, champion: LoadedVersion) -> None:
    ours, theirs = challenger.predictor, champion.predictor
    differs = [
        name
        for name, a, b in (
            ("data", ours.fingerprint, theirs.fingerprint),
            ("data.split", ours.config.data.split, theirs.config.data.split),
            ("seed", ours.config.seed, theirs.config.seed),
        )
        if a != b or a == ""
    ]
    if differs:
        raise wrong(
            "the challenger's test rows may be rows that the champion was trained on",
            where=f"{challenger.title} and {champion.title}",
            expected="both trained on the same data, split and seed",
            found=f"another {' and another '.join(differs)}",
            fix="give labelled rows that neither has seen with --input",
        )
