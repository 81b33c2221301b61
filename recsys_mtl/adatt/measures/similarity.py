"""Similarity of blocks of columns: correlation of centred ones, cosine of raw ones.

Shapes: T blocks, C_i columns of block i, K = Σ C_i, R rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def join(blocks: Sequence[Tensor], what: str) -> tuple[Tensor, list[int]]:
    """T blocks (R, C_i) to (R, K) float32 columns and the widths.

    Raises:
        ValueError: a block that is not two-dimensional.
    """
    for index, block in enumerate(blocks):
        if block.dim() != 2:
            raise ValueError(
                f"{what}[{index}]: expected (rows, columns), found shape {tuple(block.shape)}"
            )
    columns = torch.cat([block.float() for block in blocks], 1)
    return columns, [block.shape[1] for block in blocks]


def membership(widths: Sequence[int], like: Tensor) -> Tensor:
    """(K, T) float32: 1 where a column belongs to a block."""
    repeats = torch.tensor(widths, device=like.device)
    eye = torch.eye(len(widths), device=like.device)
    return eye.repeat_interleave(repeats, 0, output_size=sum(widths))


def block_similarity(products: Tensor, widths: Sequence[int]) -> Tensor:
    """Similarities from S = ZᵀZ: `‖S_ij‖_F / sqrt(‖S_ii‖_F ‖S_jj‖_F)`, signed for single columns.

    For centred Z this is the square root of the RV coefficient (Robert & Escoufier, Applied
    Statistics 1976), which does not change with a rotation or the scale of a block. Two single
    columns get Pearson's correlation (their cosine, if not centred), whose size it is. With more
    columns there is no sign: the result is then not negative.

    Args:
        products: (K, K) S, blocks in order.
        widths: the T widths C_i.

    Returns:
        (T, T) float32 in [−1, 1]; 0 for a block of zeros.
    """
    of = membership(widths, products)
    length = (products.diagonal() @ of).clamp_min(0).sqrt()  # each block's, to keep squares small
    length = torch.where(length > 0, length, torch.ones_like(length))
    by_column = of @ length
    unit = products / by_column / by_column.unsqueeze(1)
    size = (of.T @ unit.square() @ of).sqrt()
    own = size.diagonal().sqrt()
    own = torch.where(own > 0, own, torch.ones_like(own))
    similarity = (size / own / own.unsqueeze(1)).clamp_max(1.0)
    single = torch.tensor([width == 1 for width in widths], device=products.device)
    negative = (of.T @ products @ of < 0) & single & single.unsqueeze(1)
    return torch.where(negative, -similarity, similarity)
