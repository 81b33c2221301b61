from __future__ import annotations

import pytest
import torch

from recsys_mtl.adatt import MEASURES, GradientCosine, LogitCorrelation, Shapes, make_measure

SHAPES = Shapes(3, experts=2, inputs=4, widths=(1, 2, 1))


@pytest.mark.parametrize("name", MEASURES)
def test_every_name_makes_its_measure_which_starts_with_nothing(name: str) -> None:
    measure = make_measure(name, SHAPES)
    assert type(measure) is MEASURES[name]
    assert torch.equal(measure.affinity(), torch.zeros(1, 3, 3))
    assert torch.equal(measure.pair_counts(), torch.zeros(1, 3, 3, dtype=torch.int64))
    assert list(measure.parameters()) == []


def test_options_arrive() -> None:
    measure = make_measure("gradient_cosine", SHAPES, decay=0.5, debias=True, scope="expert")
    assert isinstance(measure, GradientCosine)
    assert (measure.average.decay, measure.average.debias) == (0.5, True)
    assert measure.affinity().shape == (2, 3, 3)
    published = make_measure("gradient_cosine", SHAPES)
    assert isinstance(published, GradientCosine)
    assert not published.average.debias
    correlation = make_measure("logit_correlation", SHAPES)
    assert isinstance(correlation, LogitCorrelation)
    assert correlation.average.debias


def test_wrong_names_and_scopes_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"measure: expected one of gradient_cosine, .*; found cos"
    ):
        make_measure("cos", SHAPES)
    with pytest.raises(ValueError, match=r"scope: expected all, as logit_correlation .* expert"):
        make_measure("logit_correlation", SHAPES, scope="expert")
