"""Yes/no labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from scipy.special import expit, log_expit

from recsys_mtl.columns.canonical import canonical_texts
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.tasks import BinaryConfig
from recsys_mtl.errors import UserError, did_you_mean, wrong
from recsys_mtl.metrics import Metrics
from recsys_mtl.metrics import binary as of
from recsys_mtl.metrics.weighing import Array, Score, Weighing, together
from recsys_mtl.tasks.kind import Kind, Scoring, ToUnit
from recsys_mtl.tasks.label import Label, Labels, targets
from recsys_mtl.tasks.start import log_odds, logit_of_mean

if TYPE_CHECKING:
    from torch import Tensor

    from recsys_mtl.losses import TaskLoss

_TRUTHS = {"0": 0, "false": 0, "1": 1, "true": 1}


@dataclass
class BinaryLabel(Label):
    """0 or 1.

    Attributes:
        positive: the value that counts as 1, or several, any other as 0; None takes 0/1 and
            booleans only.
        rate: share of ones among the labelled training rows, by their weight; with a task before,
            among those where that one happened.
        through: the task before.
    """

    kind: ClassVar[str] = "binary"
    positive: str | list[str] | None = None
    rate: float = 0.5
    through: str | None = None
    _labelled: float = field(default=0.0, init=False, repr=False, compare=False)
    _ones: float = field(default=0.0, init=False, repr=False, compare=False)
    _others: Counts = field(default_factory=Counts, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """One logit; its prior is the rate."""
        return TaskSpec(self.task, self.kind, 1, prior=(self.rate,), through=self.through)

    @property
    def parent(self) -> str | None:
        """The task before."""
        return self.through

    def alone(self, labels: Mapping[str, Label]) -> Label:
        """With the rate of all events together."""
        if self.through is None:
            return self
        before = labels[self.through].alone(labels)
        assert isinstance(before, BinaryLabel)
        return replace(self, through=None, rate=self.rate * before.rate)

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Counts a chunk of training labels."""
        encoded = self.encode(values, rows)
        self._labelled += rows.mass(np.isfinite(encoded))
        self._ones += rows.mass(encoded == 1)
        if self.events and not self._ones:
            self._others.update(values)

    def finish(self) -> None:
        """Ends the fit."""
        if not self._labelled:
            raise self.no_labels()
        if self.events and not self._ones:
            raise self._no_event()
        self._others = Counts()
        if self._ones in (0, self._labelled):
            raise self.one_class("1" if self._ones else "0")
        self.rate = self._ones / self._labelled

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) 0 or 1, NaN where unlabelled."""
        codes = self.codes(values, self._lookup)
        value = self.outside(values, codes, rows)
        if value is not None:
            raise wrong(
                "not a yes/no label",
                where=self.where,
                expected="0, 1, true, false or null",
                found=value,
                fix=f"name the value that counts as 1: tasks.{self.task}.positive",
            )
        return targets(codes)

    def columns(self, outputs: Floats) -> dict[str, Array]:
        """The probability, from (B, 1) logits.

        With a task before it is that of both, and (B, 2) logits of this task and of that one also
        give the probability of this one given that one.
        """
        columns = {self.task: expit(outputs[:, 0])}
        if outputs.shape[1] == 2:
            ratio = log_expit(outputs[:, 0]) - log_expit(outputs[:, 1])
            columns[f"{self.task}_given_{self.through}"] = np.exp(np.minimum(ratio, 0.0))
        return columns

    def base_rate(self, constant: Array) -> dict[str, float]:
        """The share of ones."""
        return {"rate": float(constant)}

    @property
    def events(self) -> tuple[str, ...]:
        """The values that count as 1."""
        return (self.positive,) if isinstance(self.positive, str) else tuple(self.positive or ())

    @cached_property
    def _lookup(self) -> Lookup:
        if self.positive is None:
            return self.lookup(_TRUTHS)
        return self.lookup(dict.fromkeys(self.events, 1), unknown=0)

    def _no_event(self) -> UserError:
        """The error of named values that no training row has."""
        counts = self._others.ranked(without=self.null_values)
        shown = [f"'{value}' ({count:,.0f})" for value, count in islice(counts.items(), 10)]
        return wrong(
            "positive matches no labelled training row",
            where=self.where,
            expected=" or ".join(f"'{value}'" for value in self.events),
            found=", ".join(shown) + (", …" if len(counts) > len(shown) else ""),
            fix=f"correct tasks.{self.task}.positive; {did_you_mean(self.events[0], counts)}",
        )


class Binary(Kind[BinaryConfig]):
    """A logit; its sigmoid is the probability of 1."""

    section = BinaryConfig
    measure = staticmethod(of.auc)
    reliability = True
    leakage = "auc"

    def label(self, name: str, task: BinaryConfig) -> BinaryLabel:
        """An unfitted encoder."""
        events = canonical_texts(task.positives)
        positive = events[0] if len(events) == 1 else events or None
        return BinaryLabel(**self.common(name, task), positive=positive, through=task.through)

    def start(self, prior: Tensor) -> Tensor:
        """The logit of the rate."""
        return log_odds(prior)

    def loss(self, task: BinaryConfig) -> TaskLoss:
        """By default cross-entropy."""
        from recsys_mtl.losses import TaskLoss

        return TaskLoss.named(**task.loss.model_dump())

    def merged(self, outputs: Tensor) -> Tensor:
        """The logit of the mean probability."""
        return logit_of_mean(outputs)

    def predict(self, spec: TaskSpec, outputs: Tensor, labels: Tensor, scores: Scoring) -> Tensor:
        """(B,) probabilities."""
        return outputs[:, 0].sigmoid()

    def compared_values(
        self, values: pl.Series, texts: pl.Series, events: tuple[str, ...]
    ) -> pl.Series:
        """0 and 1."""
        return texts.is_in(list(events) or ["1", "true"]).cast(pl.Int8)

    def metrics(
        self, labels: Array, predictions: Array, weights: Array, *, bins: int, top_k: Sequence[int]
    ) -> Metrics:
        """Of probabilities (N,)."""
        rows = labels, predictions, weights
        return {
            "auc": of.auc(*rows),
            "pr_auc": of.pr_auc(*rows),
            "log_loss": of.log_loss(*rows),
            "normalized_entropy": of.normalized_entropy(*rows),
            "calibration_error": of.calibration_error(*rows, bins=bins),
            "calibration_ratio": of.calibration_ratio(*rows),
        }

    def score(self, labels: Sequence[Array], predictions: Sequence[Array]) -> Score:
        """AUC."""
        pairs = zip(labels, predictions, strict=True)
        return together([of.prepare_auc(own, predicted) for own, predicted in pairs])

    def calibration(
        self, labels: Array, predicted: Array, weights: Array, *, bins: int
    ) -> Weighing | None:
        """The expected calibration error."""
        return of.prepare_calibration_error(labels, predicted, weights, bins=bins)

    def constant(self, spec: TaskSpec, labels: Array, weights: Array, to_unit: ToUnit) -> Array:
        """The rate."""
        return np.asarray(np.average(labels, weights=weights))

    def boosted(self, spec: TaskSpec, predicted: Sequence[Array], to_unit: ToUnit) -> Array:
        """The probability of 1."""
        return predicted[0][:, 1]

    def classes(self, spec: TaskSpec) -> int:
        """Two."""
        return 2

    def targets(self, spec: TaskSpec, labels: Tensor, items: Tensor | None) -> Tensor:
        """The label."""
        return labels.unsqueeze(1)
