"""Pooling by multi-head attention (Vaswani et al. 2017; Lee et al. 2019, "Set Transformer", 3.2).

Shapes: B rows, N entries, D width of an entry, Q width of the candidate, H heads, W width of all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys_mtl.model.sequences.encoder import EncoderShape, Entries, SequenceEncoder
from recsys_mtl.model.sequences.ragged import softmax, sums


class MhaEncoder(SequenceEncoder):
    """Each head weighs the entries by a query: a learned one, plus one made of the candidate."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__(shape)
        self.width, self._heads = shape.settings.dim, shape.settings.heads
        self.seed = nn.Parameter(torch.randn(self.width) * self.width**-0.5)
        self.of_query = nn.Linear(shape.query, self.width, bias=False) if shape.query else None
        self.keys = nn.Linear(shape.dim, self.width)
        self.values = nn.Linear(shape.dim, self.width)
        self.out = nn.Linear(self.width, self.width, bias=False)

    def forward(self, entries: Entries) -> Tensor:
        """(B, W)."""
        heads = (-1, self._heads, self.width // self._heads)
        queries = self.seed.expand(entries.rows, -1)
        if self.of_query is not None:
            queries = queries + self.of_query(entries.query)
        keys = self.keys(entries.values).float().view(heads)
        scores = (entries.of_each(queries.float()).view(heads) * keys).sum(-1) * heads[2] ** -0.5
        weights = softmax(scores, entries.row_of, entries.rows).unsqueeze(-1)
        values = self.values(entries.values).float().view(heads)
        pooled: Tensor = self.out(sums(weights * values, entries.row_of, entries.rows).flatten(1))
        return pooled.float()
