"""Target attention: Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction".

Shapes: B rows, N entries, D width of an entry, Q width of the candidate.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from recsys_mtl.model.sequences.encoder import EncoderShape, Entries, SequenceEncoder
from recsys_mtl.model.sequences.ragged import softmax, sums


class DinEncoder(SequenceEncoder):
    """Entries weighed by an activation unit and added up (section 4.3, equation 3).

    The unit's layers read the candidate q, the entry k and q ∘ k, the first Q columns of k; their
    difference is a linear combination of what is read. q goes through the first layer once a row,
    not once an entry. ReLU follows each hidden layer: PReLU and Dice of the paper take longer on a
    CPU. Weights are not normalised, so that the strength of an interest stays; with `softmax` they
    add up to 1.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__(shape)
        self.width, self._query = shape.dim, shape.query
        self._softmax = shape.settings.softmax
        first, *rest = widths = shape.settings.hidden
        self.of_query = nn.Linear(shape.query, first)
        self.of_entry = nn.Linear(shape.dim + shape.query, first, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([first, *rest]))
        self.score = nn.Linear(widths[-1], 1)

    def forward(self, entries: Entries) -> Tensor:
        """(B, D)."""
        weights = self.weights(entries)
        return sums(weights.float() * entries.values, entries.row_of, entries.rows)

    def weights(self, entries: Entries) -> Tensor:
        """(N, 1) weights of the entries."""
        compared = entries.values[:, : self._query] * entries.of_each(entries.query)
        read = self.of_entry(torch.cat([entries.values, compared], 1))
        read = read.add_(entries.of_each(self.of_query(entries.query))).relu_()
        for layer in self.hidden:
            read = layer(read).relu_()
        scores: Tensor = self.score(read)
        return softmax(scores, entries.row_of, entries.rows) if self._softmax else scores
