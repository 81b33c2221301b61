"""Labels that are one of several classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl
from scipy.special import softmax

from recsys_mtl.columns.canonical import natural_order, require_category
from recsys_mtl.columns.lookup import Counts, Lookup
from recsys_mtl.columns.numbers import Floats
from recsys_mtl.columns.rows import Rows
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.errors import wrong
from recsys_mtl.tasks.label import Label, Labels, targets


@dataclass
class MulticlassLabel(Label):
    """Index of the class.

    Attributes:
        classes: all classes; those of the training rows in natural order where none are given.
        rates: share of each class among the labelled training rows.
    """

    kind: ClassVar[str] = "multiclass"
    classes: list[str] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    _counts: Counts = field(default_factory=Counts, init=False, repr=False, compare=False)

    @property
    def spec(self) -> TaskSpec:
        """A logit a class; its prior is the class's rate."""
        return TaskSpec(self.task, "multiclass", len(self.classes), prior=tuple(self.rates))

    def update(self, values: pl.Series, rows: Rows) -> None:
        """Counts a chunk of training labels."""
        require_category(values, self.where)
        if self.classes:
            self.encode(values, rows)
        self._counts.update(values)

    def finish(self) -> None:
        """Ends the fit; a given class that never occurred has the rate of half a row."""
        counts = self._counts.ranked(without=self.null_values)
        if not counts:
            raise self.no_labels()
        if len(counts) == 1:
            raise self.one_class(next(iter(counts)))
        self.classes = self.classes or natural_order(counts)
        shares = np.array([counts.get(name, 0.5) for name in self.classes])
        self.rates = (shares / shares.sum()).tolist()
        self._counts = Counts()

    def encode(self, values: pl.Series, rows: Rows) -> Labels:
        """(B,) class index, NaN where unlabelled."""
        codes = self.codes(values, self._lookup)
        found = self.outside(values, codes, rows)
        if found is not None:
            shown = ", ".join(self.classes[:12]) + (", …" if len(self.classes) > 12 else "")
            raise wrong(
                "label outside its classes",
                where=self.where,
                expected=f"one of: {shown}",
                found=found,
                fix=f"list all classes in tasks.{self.task}.classes, or add it to null_values",
            )
        return targets(codes)

    def decode(self, outputs: Floats, *, top_k: int) -> pl.DataFrame:
        """The likeliest class, and `TASK.CLASS` with each one's probability, from logits."""
        probabilities = softmax(outputs, axis=1)
        likeliest = np.array(self.classes)[probabilities.argmax(axis=1)]
        each = zip(self.classes, probabilities.T, strict=True)
        return pl.DataFrame(
            {self.task: likeliest} | {f"{self.task}.{name}": column for name, column in each}
        )

    @cached_property
    def _lookup(self) -> Lookup:
        return self.lookup({name: index for index, name in enumerate(self.classes)})
