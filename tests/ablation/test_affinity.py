from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from recsys_mtl.ablation.affinity import (
    Agreement,
    agreement,
    mean_agreement,
    measured_matrices,
    planned_matrix,
)

PLANNED = np.array(
    [[1.0, 0.8, -0.5, 0.0], [0.8, 1.0, 0.2, -0.4], [-0.5, 0.2, 1.0, 0.2], [0.0, -0.4, 0.2, 1.0]]
)
UPPER = np.triu_indices(4, 1)


def test_the_plan_agrees_with_itself() -> None:
    measures = agreement(PLANNED, PLANNED, threshold=-0.1)
    assert measures == Agreement(spearman=pytest.approx(1.0), first=1.0, precision=1.0, recall=1.0)


def test_numbers_of_another_matrix() -> None:
    measured = np.array(
        [[1.0, 0.1, -0.2, 0.3], [0.1, 1.0, -0.3, 0.0], [-0.2, -0.3, 1.0, 0.4], [0.3, 0.0, 0.4, 1.0]]
    )
    measures = agreement(measured, PLANNED, threshold=-0.1)
    assert measures.spearman == pytest.approx(spearmanr(measured[UPPER], PLANNED[UPPER]).statistic)
    # Tasks 0 and 1 have each other as best relative, 2 has two (no clear one), 3 has 2.
    assert measures.first == pytest.approx(2 / 3)  # 1 and 3 find it, 0 prefers 3
    assert measures.precision == pytest.approx(1 / 2)  # (0, 2) is in conflict, (1, 2) is not
    assert measures.recall == pytest.approx(1 / 2)  # (1, 3) is missed


def test_what_does_not_exist_is_nan() -> None:
    flat = np.full((3, 3), 0.5)
    measures = agreement(np.eye(3), flat, threshold=-0.1)
    assert [
        np.isnan(v)
        for v in (measures.spearman, measures.first, measures.precision, measures.recall)
    ] == [True] * 4
    mean = mean_agreement([measures, Agreement(0.5, 1.0, 0.0, float("nan"))])
    assert (mean.spearman, mean.first, mean.precision) == (0.5, 1.0, 0.0)
    assert np.isnan(mean.recall)


def test_pairs_with_classes_count_by_size_where_the_measure_has_no_sign() -> None:
    names = ("a", "b", "c")
    relation = {
        a: {b: float(PLANNED[i, j]) for j, b in enumerate(names)} for i, a in enumerate(names)
    }
    unit = {"kinds": {"a": "binary", "b": "regression", "c": "multiclass"}, "relation": relation}
    np.testing.assert_array_equal(planned_matrix(unit, unsigned=False), PLANNED[:3, :3])
    unsigned = planned_matrix(unit, unsigned=True)
    assert unsigned[0, 2] == unsigned[2, 0] == 0.5
    assert unsigned[0, 1] == 0.8


def test_the_mean_over_experts_counts() -> None:
    seen = [[[1.0, 0.2], [0.2, 1.0]], [[1.0, 0.6], [0.6, 1.0]]]
    nothing = {"affinity": [[[0.0, 0.0], [0.0, 0.0]]], "observations": 0}
    unit = {"transfer": [nothing, {"affinity": seen, "observations": 3}]}
    (matrix,) = measured_matrices(unit)
    np.testing.assert_allclose(matrix, [[1.0, 0.4], [0.4, 1.0]])
