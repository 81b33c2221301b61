"""Causal self-attention: Kang & McAuley 2018, "Self-Attentive Sequential Recommendation" (SASRec).

Shapes: B rows, N entries, L entries of the longest row of the batch, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.model.sequences.encoder import EncoderShape, Entries, SequenceEncoder
from recsys_mtl.model.sequences.ragged import padded


class Block(nn.Module):
    """x + attention(norm x), then x + a layer of its own width and ReLU, of norm x."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, W), each entry with those before it."""
        rows, longest, width = x.shape
        of_heads = (rows, longest, self.heads, width // self.heads)
        parts = self.read(self.norm_attention(x)).chunk(3, -1)
        queries, keys, values = (part.view(of_heads).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self._dropped(self.out(attended.transpose(1, 2).reshape(rows, longest, width)))
        return x + self._dropped(self.layer(self.norm_layer(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class TransformerEncoder(SequenceEncoder):
    """What the newest entry is after attention to those before it.

    Positions are learned and counted from the newest. Entries are padded to the longest row of the
    batch; as rows begin at their first entry and attention is causal, none attends to padding. With
    a candidate its product with the result is added, as SASRec scores an item by their dot product.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__(shape)
        settings, width = shape.settings, shape.settings.dim
        self.width = 2 * width if shape.query else width
        self._max_length, self._dropout = shape.max_length, settings.dropout
        self.enter = nn.Linear(shape.dim, width)
        self.positions = nn.Parameter(torch.randn(shape.max_length, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.dropout) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.of_query = nn.Linear(shape.query, width, bias=False) if shape.query else None

    def forward(self, entries: Entries) -> Tensor:
        """(B, width)."""
        longest = self._max_length
        if not torch.compiler.is_exporting():  # an exported program has no size that data decide
            longest = max(int(entries.lengths.max()), 1)
        lengths = entries.lengths.unsqueeze(1)
        ages = lengths - 1 - torch.arange(longest, device=lengths.device)
        x = padded(self.enter(entries.values), entries.lengths, longest)
        x = x + self.positions[ages.clamp(0, self._max_length - 1)]
        x = F.dropout(x, self._dropout, self.training)
        for block in self.blocks:
            x = block(x)
        newest = (lengths - 1).clamp_min(0).unsqueeze(2).expand(-1, 1, x.shape[2])
        state: Tensor = self.norm(x.gather(1, newest).squeeze(1)).float() * (lengths > 0)
        if self.of_query is None:
            return state
        return torch.cat([state, state * self.of_query(entries.query)], 1)
