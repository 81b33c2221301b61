"""`MultiTaskModel`: fit, predict, evaluate, explain, save and load on data frames."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self
from uuid import uuid4

import numpy as np
import polars as pl
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import InputTags, Tags

from recsys_mtl.config import Config, config_from_mapping, load_config
from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.errors import wrong
from recsys_mtl.estimator.document import (
    WEIGHT,
    WHERE,
    as_numbers,
    config_of,
    data_of,
    labels_of,
    parameters_of,
    require_one_weight,
)
from recsys_mtl.estimator.evaluation import Evaluation
from recsys_mtl.estimator.halves import held_out, rows_as_given
from recsys_mtl.metrics.undefined import Undefined
from recsys_mtl.runs.folder import MODEL
from recsys_mtl.runs.importance import Importance, importance
from recsys_mtl.runs.measured import measured
from recsys_mtl.runs.results import TrainingResult
from recsys_mtl.runs.train import train
from recsys_mtl.scoring.model import find_model
from recsys_mtl.serving.bundle import is_bundle, load_bundle
from recsys_mtl.serving.frames import Frame, as_polars, is_array, with_labels, with_weight
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tasks import kind_of
from recsys_mtl.training.evaluate import Scores
from recsys_mtl.wiring.run import build_evaluator

_DRAWS = threading.RLock()
"""Of a fit, which seeds torch's random numbers: they are the process'."""


class MultiTaskModel(BaseEstimator):  # type: ignore[misc]
    """One model of several tasks.

    What is not given is drafted from the rows that it is fitted on, as `recsys-mtl init` does, and
    the package decides network and training by them (`training.recipe: auto`).

    Args:
        tasks: by name the kind (`binary`, `regression` …) or its section of a config; or a list of
            label columns, whose kinds are drafted.
        features: by name the kind or its section; a list of columns; None: all columns that a draft
            would use.
        settings: other sections of a config, such as `{"training": {"epochs": 3}}`.
        seed: of initial weights, order of rows and validation rows.

    Attributes:
        tasks_: names of the tasks.
        feature_names_in_: raw columns that a prediction needs.
        n_features_in_: how many.
        config_: the effective config.
        validation_: `Evaluation` of the rows that decided the best epoch; where the settings have a
            split, of its test rows.
        best_epoch_: from 0.
        warnings_: what was guessed, and what the data gave reason to warn of.

    Example:
        >>> import polars as pl
        >>> from recsys_mtl import MultiTaskModel
        >>> rows = pl.read_parquet("rows.parquet")
        >>> model = MultiTaskModel(tasks=["click", "churn"]).fit(rows.head(1000))
        >>> model.predict(rows.tail(2)).columns
        ['click', 'churn']
        >>> model.tasks_
        ['click', 'churn']
    """

    def __init__(
        self,
        tasks: Any = None,
        features: Any = None,
        *,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.tasks = tasks
        self.features = features
        self.settings = settings
        self.seed = seed

    @classmethod
    def from_config(cls, config: str | Path | Mapping[str, Any] | Config) -> Self:
        """A model of a config's tasks, features and settings; its data are left out.

        Args:
            config: a YAML file, what one holds as a dict, or a `Config`.

        Raises:
            UserError: everything that is wrong with it.
        """
        if isinstance(config, Mapping):
            named = {"name": "model", "data": {"path": "rows"}} | dict(config)
            config = config_from_mapping(named, where="config")
        elif not isinstance(config, Config):
            config = load_config(config)
        return cls(**parameters_of(config, tracking="tracking" in config.model_fields_set))

    def fit(
        self,
        X: Frame,
        y: Any = None,
        *,
        valid: Frame | None = None,
        sample_weight: Any = None,
    ) -> Self:
        """Train on rows.

        Fits of one process take turns, as they share torch's random numbers; what else draws from
        them meanwhile, such as loading a model in another thread, changes the fit's.

        Args:
            X: raw rows, with their labels unless `y` has them.
            y: labels as a table, or (R,) or (R, T) in the order of the tasks; null: unlabelled.
            valid: rows with labels that decide the best epoch; without, a random 15 % of `X`, or
                what `data.split` of the settings says.
            sample_weight: (R,) weights of the rows of `X`; 0 leaves a row out.

        Raises:
            UserError: anything wrong with rows, labels, tasks, features or settings.
        """
        labels, data = [*labels_of(self.tasks).values()], data_of(self.settings)
        rows = as_polars(X, "X")
        features = self.features
        if features is None and is_array(X):
            features = as_numbers(rows.columns)
        rows = with_labels(rows, y, labels)
        weighted = sample_weight is not None
        require_one_weight(data.get("weight"), weighted=weighted, columns=rows.columns)
        rows = with_weight(rows, sample_weight, WEIGHT) if weighted else rows
        held = None if valid is None else as_polars(valid, "valid")
        if held is not None and weighted and WEIGHT not in held.columns:
            held = with_weight(held, None, WEIGHT)
        own_split = "split" in data
        if own_split and held is not None:
            fix = "leave one of them out"
            raise wrong("two splits", where=WHERE, found="valid and settings: data.split", fix=fix)
        hidden = None
        if held is None and not own_split:
            hidden = held_out(rows.height, self.seed)
            rows, held = rows.filter(~hidden), rows.filter(hidden)
        path = Path(mkdtemp(prefix="recsys-mtl-"))
        remove = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        try:
            with _DRAWS:
                with rows_as_given(hidden), torch.random.fork_rng(devices=[]):
                    result, notes = self._train(rows, held, features, path, weighted)
                predictor = load_bundle(path / "run" / MODEL)
        except BaseException:
            remove()
            raise
        self._use(predictor, path / "run" / MODEL, remove)
        assert result.training is not None  # a training in one process knows it all
        self.validation_ = Evaluation.of(result["tasks"], result.rows["test"])
        self.best_epoch_ = result.training.best_epoch
        self.warnings_ = [*notes, *result.warnings]
        return self

    def _train(
        self,
        rows: pl.DataFrame,
        held: pl.DataFrame | None,
        features: Any,
        path: Path,
        weighted: bool,
    ) -> tuple[TrainingResult, list[str]]:
        """Train on the rows as files of a folder; with what the draft guessed."""
        rows.write_parquet(path / "train.parquet")
        split = None
        if held is not None:
            held.write_parquet(path / "valid.parquet")
            split = {"kind": "files", "valid": "valid.parquet", "test": "valid.parquet"}
        config, notes = config_of(
            self.tasks, features, self.settings, self.seed,
            rows=rows, folder=path, split=split, weighted=weighted,
        )  # fmt: skip
        result = train(config, path / "run", report=False)
        if result.interrupted:
            raise KeyboardInterrupt
        for file in path.glob("*.parquet"):
            file.unlink()
        return result, notes

    def predict(self, X: Frame) -> Any:
        """Predictions of raw rows: a table or array as `X` is, with the columns of each task.

        Raises:
            UserError: a column is missing, of a wrong type or infinite.
        """
        self._require_as_many(X)
        return self._fitted().predict(X)

    def evaluate(self, X: Frame, y: Any = None, *, sample_weight: Any = None) -> Evaluation:
        """Metrics on labelled rows, with 95 % intervals.

        Args:
            X: raw rows, with their labels unless `y` has them.
            y: as `fit` takes them.
            sample_weight: (R,).
        """
        predictor = self._fitted()
        rows = self._labelled(X, y, sample_weight)
        kinds = {task.name: task.kind for task in predictor.tasks}
        config = predictor.config
        tasks = measured(self._scores(rows), kinds, config.evaluation, seed=config.seed)
        return Evaluation.of(tasks, rows.height)

    def score(self, X: Frame, y: Any = None, sample_weight: Any = None) -> float:
        """Mean of the tasks' main metrics; larger is better, 1 is the most."""
        main = self._main(self._labelled(X, y, sample_weight))
        return sum(main.values()) / len(main)

    def explain(
        self, X: Frame, y: Any = None, *, repeats: int = 5, max_rows: int = 10_000
    ) -> Importance:
        """Permutation importance of each feature for each task, on labelled rows.

        Args:
            X: raw rows, best ones that the model was not fitted on.
            y: as `fit` takes them.
            repeats: parts of the rows that are measured apart, which the intervals come from.
            max_rows: of more rows so many are drawn.
        """
        rows = self._labelled(X, y, None)
        if rows.height > max_rows:
            rows = rows.sample(max(max_rows, 0), seed=self.seed)
        if rows.height < 2 or repeats < 1:
            raise wrong("too little to shuffle", where="explain", expected="2 rows, 1 part or more",
                        found=f"{rows.height} rows, {repeats} parts")  # fmt: skip
        predictor = self._fitted()
        config, preprocessor = predictor.config, predictor.preprocessor
        return importance(
            build_evaluator(config, preprocessor, precision="fp32"),
            predictor.network,
            preprocessor.encode(rows),
            preprocessor.features,
            repeats=repeats,
            seed=self.seed,
        )

    def save(self, folder: str | Path) -> None:
        """Write the model as a folder, which every command takes as MODEL.

        Nothing is pickled. A model that is there already is replaced.

        Raises:
            UserError: the folder holds something else, or cannot be written.
        """
        self._fitted()
        folder = Path(folder)
        if folder.exists() and not is_bundle(folder):
            fix = "choose another folder"
            raise wrong("holds something that is no model", where=str(folder), fix=fix)
        new, old = (
            folder.with_name(f".{folder.name}.{uuid4().hex}.{end}") for end in ("new", "old")
        )
        try:
            shutil.copytree(self._path, new)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        except OSError as error:
            raise wrong("cannot write the model", where=str(folder), found=error) from error
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def load(cls, model: str | Path) -> Self:
        """A fitted model: the folder of a model or of a training, or `models:/NAME@ALIAS`.

        Raises:
            UserError: there is none, or it was damaged.
        """
        registered = str(model).startswith("models:/")
        names = {"model": str(model)} if registered else {}
        found = find_model(None if registered else model, **names)
        predictor = load_bundle(found.folder)
        loaded = cls(**parameters_of(predictor.config, tracking=False))
        loaded._use(predictor, found.folder)
        return loaded

    @property
    def predictor(self) -> Predictor:
        """What predicts; see `recsys_mtl.serving.Predictor`."""
        return self._fitted()

    def _use(
        self, predictor: Predictor, path: Path, remove: Callable[[], object] | None = None
    ) -> None:
        """Become a fitted model, whose folder `remove` deletes when it is needed no more."""
        if (before := getattr(self, "_remove", None)) is not None:
            before()
        self._predictor, self._path, self._remove = predictor, path, remove
        self.config_ = predictor.config
        self.tasks_ = [task.name for task in predictor.tasks]
        self.feature_names_in_ = np.array(predictor.columns, dtype=object)
        self.n_features_in_ = len(predictor.columns)

    def _fitted(self) -> Predictor:
        predictor: Predictor | None = getattr(self, "_predictor", None)
        if predictor is None:
            raise NotFittedError("this MultiTaskModel is not fitted yet: call fit first")
        return predictor

    def _require_as_many(self, X: Any) -> None:
        """Numbers without names have as many columns as they had in `fit`.

        Raises:
            UserError: they have not, in scikit-learn's words.
        """
        self._fitted()
        if is_array(X) and np.ndim(X) == 2 and np.shape(X)[1] != (known := self.n_features_in_):
            what = f"X has {np.shape(X)[1]} features, but {WHERE} is expecting {known} features"
            raise wrong(f"{what} as input", where="X")

    def _labelled(self, X: Frame, y: Any, sample_weight: Any) -> pl.DataFrame:
        """Rows with labels, at least one, and weights where the model has them."""
        predictor = self._fitted()
        self._require_as_many(X)
        labels = [label.column for label in predictor.preprocessor.labels.values()]
        read = as_polars(X, "X", predictor.schema(), predictor.preprocessor.columns(labels=True))
        rows = with_labels(read, y, labels)
        weight = predictor.config.data.weight
        if weight is None:
            if sample_weight is not None:
                fix = "fit with sample_weight"
                raise wrong("the model has no row weights", where="sample_weight", fix=fix)
        elif sample_weight is not None and weight in rows.columns:
            found, fix = f"sample_weight and the column '{weight}'", "leave one of them out"
            raise wrong("two weights", where="sample_weight", found=found, fix=fix)
        elif sample_weight is not None or weight not in rows.columns:
            rows = with_weight(rows, sample_weight, weight)
        if not rows.height:
            raise wrong("no rows", where="X", expected="at least one")
        return rows

    def _scores(self, rows: pl.DataFrame) -> Scores:
        predictor = self._fitted()
        config, preprocessor = predictor.config, predictor.preprocessor
        batch = preprocessor.encode(rows)
        size = config.training.batch_size
        loader = MemoryLoader(batch, batch_size=size, shuffle=False, seed=0)
        evaluator = build_evaluator(config, preprocessor, precision="fp32")
        return evaluator(predictor.network, loader)

    def _main(self, rows: pl.DataFrame) -> dict[str, float]:
        """By task its main metric, NaN where it is undefined."""
        metrics = self._scores(rows).metrics
        numbers = {}
        for task in self._fitted().tasks:
            metric = metrics[task.name][kind_of(task.kind).main]
            numbers[task.name] = float("nan") if isinstance(metric, Undefined) else float(metric)
        return numbers

    def __sklearn_tags__(self) -> Tags:
        """What scikit-learn should know of it."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags = InputTags(allow_nan=True, string=True, categorical=True)
        return tags

    def _html_repr(self) -> str:
        """For a notebook: the settings, and once it is fitted the metrics on validation rows."""
        table = getattr(self, "validation_", None)
        settings: str = super()._html_repr()
        return settings if table is None else settings + table._repr_html_()

    def __getstate__(self) -> dict[str, Any]:
        """Of an unfitted model alone: whoever loads a pickle runs what is in it.

        Raises:
            TypeError: it is fitted.
        """
        if getattr(self, "_predictor", None) is not None:
            raise TypeError("a fitted MultiTaskModel is not pickled: use save(folder) and load")
        state: dict[str, Any] = super().__getstate__()
        return state
