"""Two models on the same labelled rows: which rows these are, and what each model says of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import polars.selectors as cs

from recsys_mtl.config.data import DataConfig, FileSplitConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import fingerprint, make_loaders, open_splits
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tracking.registry import Registry, Version
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.wiring.run import build_evaluator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A version's predictor and what messages call it ("challenger, version 3")."""

    called: str
    predictor: Predictor


@dataclass(frozen=True)
class Rows:
    """Labelled rows that models are measured on.

    Attributes:
        data: where they are: the rows of its test split.
        seed: of its split.
        told: what the report calls them.
        fingerprint: that they have to have; None: whatever is there.
    """

    data: DataConfig
    seed: int
    told: str
    fingerprint: str | None = None


def choose_rows(
    challenger: Model, champion: Model | None, *, input: str | None, data: str | None
) -> Rows:
    """All rows of `input`, else the challenger's own test split.

    Args:
        challenger: its config tells the split, and how rows are read.
        champion: None where there is none yet.
        input: file, folder or glob of labelled rows.
        data: folder that paths start from; else that of the run, and for `input` the working
            folder.

    Raises:
        UserError: the challenger's test rows may be rows that the champion was trained on.
    """
    config = challenger.predictor.config
    changes: dict[str, Any] = {} if data is None else {"root": data}
    if input is not None:
        split = FileSplitConfig(kind="files", valid=input, test=input)
        changes = {"root": ".", "path": input, "split": split} | changes
        return Rows(config.data.model_copy(update=changes), config.seed, f"all rows of {input}")
    if champion is not None:
        _require_same_split(challenger, champion)
    found = config.data.model_copy(update=changes)
    expected = challenger.predictor.fingerprint or None
    return Rows(found, config.seed, "the challenger's test split", expected)


def measure(model: Model, rows: Rows) -> tuple[Scores, str]:
    """What a model says of the rows, and their fingerprint.

    Columns that the model does not know are no harm.

    Raises:
        UserError: the rows do not fit the model, or have changed since it was trained.
    """
    predictor = model.predictor
    config = _reading(predictor.config, rows)
    with told_of(model.called):
        splits = open_splits(config)
        found = fingerprint(splits)
        if rows.fingerprint is not None and found != rows.fingerprint:
            raise wrong(
                "the data have changed since the training, so the test split is lost",
                where="data.path",
                expected=f"fingerprint {rows.fingerprint}",
                found=found,
                fix="give labelled rows with --input, or restore the file",
            )
        loaders, _ = make_loaders(config, splits, predictor.preprocessor, only=("test",))
        evaluator = build_evaluator(config, predictor.preprocessor, precision="fp32")
        log.info("%s: %d rows", model.called, splits.counts["test"])
        return evaluator(predictor.network, loaders["test"]), found


def load(registry: Registry, version: Version, role: str) -> Model:
    """A version's model, whole and able to predict.

    Raises:
        UserError: it is not.
    """
    called = f"{role}, version {version.number}"
    with told_of(called):
        model = Model(called, load_bundle(registry.download(version)))
    check_predicts(model)
    return model


def check_predicts(model: Model) -> None:
    """The model predicts one row of missing values.

    Raises:
        UserError: it does not, or not finitely.
    """
    schema = model.predictor.schema()
    with told_of(model.called):
        found = model.predictor.predict(pl.DataFrame({c: [None] for c in schema}, schema=schema))
        numbers = found.select(cs.float())
        if not all(numbers.select(pl.all().is_finite().all()).row(0)):
            raise wrong("predicts numbers that are not finite")


@contextmanager
def told_of(called: str) -> Iterator[None]:
    """Mistakes inside are told of that model."""
    try:
        yield
    except UserError as error:
        found = [replace(p, where=f"{called}: {p.where}".rstrip(": ")) for p in error.problems]
        raise UserError(*found) from error


def seen_in_training(predictor: Predictor, found: str) -> bool:
    """Whether rows of this fingerprint are among the files that the model was made from."""
    return bool(set(found.split("-")) & set(predictor.fingerprint.split("-")) - {""})


def _reading(config: Config, rows: Rows) -> Config:
    data = rows.data.model_copy(update={"ignore": ["*"], "weight": config.data.weight})
    return config.model_copy(update={"data": data, "seed": rows.seed})


def _require_same_split(challenger: Model, champion: Model) -> None:
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
            where=f"{challenger.called} and {champion.called}",
            expected="both trained on the same data, split and seed",
            found=f"another {' and another '.join(differs)}",
            fix="give labelled rows that neither has seen with --input",
        )
