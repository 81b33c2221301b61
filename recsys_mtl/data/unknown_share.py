"""`UnknownShare`: what share of the validation rows' ids has no row of its own."""

from __future__ import annotations

import logging
from collections import Counter

import polars as pl
from torch import Tensor

from recsys_mtl.columns.categories import Categories
from recsys_mtl.columns.coder import UNKNOWN_ROW
from recsys_mtl.columns.ids import IntegerIds
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.splits import SplitName
from recsys_mtl.features.block import TableBlock
from recsys_mtl.features.table import TableFeature

log = logging.getLogger(__name__)
_MANY = 0.05


class UnknownShare:
    """Counts unknown ids of encoded validation rows.

    Args:
        preprocessor: that encodes them.
    """

    def __init__(self, preprocessor: Preprocessor) -> None:
        coders = {f.name: f.coder for f in preprocessor.features if isinstance(f, TableFeature)}
        self._features = [f for f, c in coders.items() if isinstance(c, Categories | IntegerIds)]
        self._ids = {f for f, c in coders.items() if isinstance(c, IntegerIds)}
        self._values, self._unknown = Counter[str](), Counter[str]()

    def see(self, split: SplitName, frame: pl.DataFrame, batch: Batch) -> None:
        """Count rows that were encoded."""
        if split == "valid":
            for block in batch.blocks.values():
                if isinstance(block, TableBlock):
                    block.replaced(self._counted)

    @property
    def shares(self) -> dict[str, float]:
        """Share of unknown ids, by feature; entries of lists count each."""
        return {f: self._unknown[f] / max(self._values[f], 1) for f in self._features}

    def report(self, fit_rows: int, rows: int) -> None:
        """Log the shares, and what helps where one is large.

        Args:
            fit_rows: rows that a vocabulary in memory is fitted on, at most.
            rows: training rows.
        """
        shares = {name: share for name, share in self.shares.items() if share}
        many = {name: share for name, share in shares.items() if share >= _MANY}
        if few := {name: share for name, share in shares.items() if name not in many}:
            log.info("unknown ids in the validation rows: %s", _shown(few))
        if many:
            fix = "lower min_count, raise max_size, or take encoding: hash"
            if self._ids.issuperset(many):
                fix = "raise rows, or take encoding: hash"
            elif rows > fit_rows:
                fix = f"count all {rows:,} training rows with storage: file, {fix}"
            log.warning("unknown ids in the validation rows: %s; %s", _shown(many), fix)

    def _counted(self, feature: str, rows: Tensor) -> Tensor:
        self._values[feature] += rows.numel()
        self._unknown[feature] += int((rows == UNKNOWN_ROW).sum())
        return rows


def _shown(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
