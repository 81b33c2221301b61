from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys_mtl.adatt.measures.similarity import block_similarity, join

WIDTHS = [1, 3, 1, 4]


def reference(blocks: list[np.ndarray]) -> np.ndarray:
    """Literal sqrt(RV), float64, as defined by traces; signed for two single columns."""
    similarity = np.eye(len(blocks))
    for i, a in enumerate(blocks):
        for j, b in enumerate(blocks):
            ab, aa, bb = a.T @ b, a.T @ a, b.T @ b
            rv = np.trace(ab @ ab.T) / np.sqrt(np.trace(aa @ aa) * np.trace(bb @ bb))
            sign = np.sign(ab.item()) if ab.size == 1 else 1.0
            similarity[i, j] = sign * np.sqrt(rv)
    return similarity


def test_equals_the_definition_whatever_the_scales(rng: np.random.Generator) -> None:
    mix = rng.normal(size=(9, 9))
    columns = np.split(rng.normal(size=(50, 9)) @ mix, np.cumsum(WIDTHS)[:-1], 1)
    scales = [1e6, 1e-6, 1.0, 1e9]  # squares of squares would leave float32
    blocks = [c * s for c, s in zip(columns, scales, strict=True)]
    joined, widths = join([torch.from_numpy(block) for block in blocks], "outputs")
    assert widths == WIDTHS
    similarity = block_similarity(joined.T @ joined, widths)
    np.testing.assert_allclose(similarity.numpy(), reference(columns), atol=1e-5)
    assert similarity[0, 2] * reference(columns)[0, 2] > 0


def test_a_rotation_of_a_block_changes_nothing(rng: np.random.Generator) -> None:
    a, b = torch.randn(30, 3), torch.randn(30, 2)
    rotation = torch.from_numpy(np.linalg.qr(rng.normal(size=(3, 3)))[0]).float()
    one, widths = join([a, b], "x")
    other, _ = join([a @ rotation, b], "x")
    torch.testing.assert_close(
        block_similarity(one.T @ one, widths), block_similarity(other.T @ other, widths)
    )


def test_a_block_of_zeros_is_similar_to_nothing() -> None:
    columns, widths = join([torch.zeros(5, 2), torch.ones(5, 1), -torch.ones(5, 1)], "x")
    similarity = block_similarity(columns.T @ columns, widths)
    assert similarity.tolist() == [[0, 0, 0], [0, 1, -1], [0, -1, 1]]


def test_a_flat_block_is_named() -> None:
    with pytest.raises(ValueError, match=r"outputs\[1\]: expected \(rows, columns\), .*\(5,\)"):
        join([torch.zeros(5, 2), torch.zeros(5)], "outputs")
