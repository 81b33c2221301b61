from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_synth import Plan, presets
from data_synth.relations import (
    geometry,
    is_possible,
    nearest_correlation,
    nearest_possible,
    relation_matrix,
    square_root,
)
from data_synth.response import Response

Matrix = np.ndarray
SEEDS = st.integers(0, 2**32 - 1)


def wanted(seed: int, size: int) -> Matrix:
    """A symmetric matrix of numbers of [-1, 1] with unit diagonal, seldom possible."""
    upper = np.triu(np.random.default_rng(seed).uniform(-1, 1, (size, size)), 1)
    return upper + upper.T + np.eye(size)


def possible(seed: int, size: int) -> Matrix:
    """A correlation matrix of rank half its size and noise: least eigenvalue above 0."""
    rng = np.random.default_rng(seed)
    loose = rng.standard_normal((size, size))
    spread = loose @ loose.T + 0.1 * np.eye(size)
    scale = np.sqrt(np.diag(spread))
    return spread / np.outer(scale, scale)


def clipped(matrix: Matrix) -> Matrix:
    """The plain way: negative eigenvalues to 0, then scaled to a unit diagonal."""
    values, vectors = np.linalg.eigh(matrix)
    spread = (vectors * np.maximum(values, 0)) @ vectors.T
    scale = np.sqrt(np.diag(spread))
    return spread / np.outer(scale, scale)


def test_groups_between_and_exceptions(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(
        "small",
        "relations.between=0.1",
        "relations.groups={g: {tasks: [buy, spend], within: 0.5}, h: {tasks: [shop], within: 0.9}}",
        "relations.exceptions=[{between: [segment, g], value: -0.2}, "
        "{between: [spend, segment], value: 0.3}, {between: [h, g], value: 0.25}]",
    )
    assert plan.scored == ("click", "buy", "segment", "spend", "shop")
    assert relation_matrix(plan).tolist() == [
        [1.0, 0.1, 0.1, 0.1, 0.1],
        [0.1, 1.0, -0.2, 0.5, 0.25],
        [0.1, -0.2, 1.0, 0.3, 0.1],
        [0.1, 0.5, 0.3, 1.0, 0.25],
        [0.1, 0.25, 0.1, 0.25, 1.0],
    ]


@pytest.mark.parametrize("name", presets())
def test_presets_are_possible(name: str, plan_of: Callable[..., Plan]) -> None:
    shape = geometry(plan_of(name))
    response = Response(plan_of(name).score.one_sided)
    assert is_possible(shape.relation, response)
    np.testing.assert_allclose(response.correlation(shape.directions), shape.relation, atol=1e-9)


def test_what_the_presets_promise(plan_of: Callable[..., Plan]) -> None:
    def pairs(name: str) -> Matrix:
        matrix = relation_matrix(plan_of(name))
        return matrix[np.triu_indices(len(matrix), 1)]

    assert set(pairs("aligned")) == {0.6}
    assert set(pairs("neutral")) == {0.0}
    assert set(pairs("conflict")) == {0.95, -0.45}
    assert len(set(pairs("graded"))) == 28
    for name, relatives in (("scarce", 3), ("scarce_pairs", 1), ("scarce_alone", 0)):
        plan = plan_of(name)
        scarce = [t.labelled <= 0.05 for t in plan.tasks.values()]
        assert all(t.labelled >= 0.01 for t in plan.tasks.values())
        assert 3 <= sum(scarce) <= 4
        assert ((relation_matrix(plan) > 0).sum(axis=1)[scarce] - 1 == relatives).all()


@given(SEEDS, st.integers(2, 12))
def test_nearest_is_a_correlation_matrix_and_nearer_than_clipping(seed: int, size: int) -> None:
    matrix = wanted(seed, size)
    actual = nearest_correlation(matrix)
    np.testing.assert_array_equal(actual, actual.T)
    np.testing.assert_array_equal(np.diag(actual), 1.0)
    assert np.linalg.eigvalsh(actual)[0] >= -2e-6 * size  # each entry is projected to 1e-6
    # Clipping gives a feasible matrix; so the nearest one is not further, but for convergence.
    assert np.linalg.norm(actual - matrix) <= np.linalg.norm(clipped(matrix) - matrix) + 1e-4


@given(SEEDS, st.integers(2, 12))
def test_nearest_leaves_what_is_feasible(seed: int, size: int) -> None:
    matrix = possible(seed, size)
    np.testing.assert_allclose(nearest_correlation(matrix), matrix, atol=1e-12)


def test_nearest_of_a_known_case() -> None:
    """Higham 2002, section 5: the nearest matrix to tridiagonal ones."""
    matrix = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    actual = nearest_correlation(matrix)
    assert actual[[0, 0, 1], [1, 2, 2]] == pytest.approx([0.7607, 0.1573, 0.7607], abs=5e-5)


@given(SEEDS, st.integers(2, 16), st.floats(0.0, 1.0))
def test_what_is_proposed_is_possible_as_it_is_printed(
    seed: int, size: int, one_sided: float
) -> None:
    matrix, response = wanted(seed, size), Response(one_sided)
    actual = nearest_possible(matrix, response)
    assert is_possible(actual, response)
    changed = actual != matrix
    np.testing.assert_array_equal(actual[changed], actual[changed].round(3))
    assert np.linalg.eigvalsh(actual)[0] >= -1e-9


@given(SEEDS, st.integers(1, 16))
def test_square_root(seed: int, size: int) -> None:
    matrix = possible(seed, size)
    root = square_root(matrix)
    np.testing.assert_allclose(root @ root, matrix, atol=1e-12)
    np.testing.assert_allclose(root, root.T, atol=1e-12)


def test_square_root_of_a_singular_matrix() -> None:
    opposed = np.array([[1.0, -1.0], [-1.0, 1.0]])
    root = square_root(opposed)
    np.testing.assert_allclose(root @ root, opposed, atol=1e-12)
