"""Embeddings of numbers: Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular
Deep Learning", a layer of its own for each number, all numbers in one product.

Shapes: B rows, N numbers, C columns of a number, K frequencies, D width of an embedding.
"""  # noqa: D205

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from recsys_mtl.columns.state import FittedState


@dataclass(unsafe_hash=True)
class EmbeddingSettings(FittedState):
    """How a number is embedded; those of equal settings are embedded together.

    Attributes:
        dim: D.
        activation: after the linear layer.
        frequencies: K of periodic embeddings; 0: the linear layer reads the columns.
        sigma: standard deviation of the initial frequencies.
    """

    kind: ClassVar[str] = "number_embedding"
    dim: int
    activation: Literal["relu", "none"] = "relu"
    frequencies: int = 0
    sigma: float = 0.0


class NumberEmbedding(nn.Module):
    """A linear layer of its own for each number and an activation.

    With frequencies f the layer reads sin(2πf·x) and cos(2πf·x) instead of the first column x.

    Args:
        settings: of all the numbers.
        widths: columns of each number; C is the largest, and columns beyond a number's own are 0.
    """

    def __init__(self, settings: EmbeddingSettings, widths: Sequence[int]) -> None:
        super().__init__()
        self.columns = max(widths)
        self._relu = settings.activation == "relu"
        count, dim, periodic = len(widths), settings.dim, settings.frequencies
        self.frequencies: nn.Parameter | None = None
        if periodic:
            self.frequencies = nn.Parameter(torch.randn(count, periodic) * settings.sigma)
        more = 2 * periodic - 1 if periodic else 0
        weight, bias = torch.zeros(count, self.columns + more, dim), torch.empty(count, dim)
        for number, width in enumerate(widths):  # as those of torch.nn.Linear start
            bound = (width + more) ** -0.5
            weight[number, : width + more].uniform_(-bound, bound)
            bias[number].uniform_(-bound, bound)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, columns: Tensor) -> Tensor:
        """(B, N · C) to (B, N · D)."""
        columns = columns.view(-1, len(self.bias), self.columns)
        if self.frequencies is not None:
            angles = 2 * math.pi * columns[..., :1] * self.frequencies
            columns = torch.cat([angles.sin(), angles.cos(), columns[..., 1:]], -1)
        rows = torch.baddbmm(self.bias.unsqueeze(1), columns.transpose(0, 1), self.weight)
        return (rows.relu() if self._relu else rows).transpose(0, 1).flatten(1)
