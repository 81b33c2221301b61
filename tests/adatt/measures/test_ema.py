from __future__ import annotations

import pytest
import torch

from recsys_mtl.adatt.measures.ema import Ema

YES = torch.tensor([True])


def first_sample_share(*, debias: bool, after: int) -> float:
    """What is left of a first sample of 1 after `after` zeros."""
    ema = Ema((1,), (1,), decay=0.9, debias=debias)
    ema.update(torch.ones(1), YES)
    assert ema.value().item() == pytest.approx(1.0)
    for _ in range(after):
        ema.update(torch.zeros(1), YES)
    return ema.value().item()


@pytest.mark.parametrize("after", [1, 4, 10])
def test_published_keeps_the_first_sample_and_debias_does_not(after: int) -> None:
    kept = first_sample_share(debias=False, after=after)
    corrected = first_sample_share(debias=True, after=after)
    assert kept == pytest.approx(0.9**after)
    assert corrected == pytest.approx(0.1 * 0.9**after / (1 - 0.9 ** (after + 1)))
    assert corrected < 1 / (after + 1)  # less than an equal share


@pytest.mark.parametrize("debias", [False, True])
def test_entries_keep_their_own_time(debias: bool) -> None:
    ema = Ema((2, 3), (3,), decay=0.8, debias=debias)
    alone = Ema((2, 3), (3,), decay=0.8, debias=debias)
    for step in range(4):
        value = torch.full((2, 3), float(step))
        observed = torch.tensor([step % 2 == 1, True, False])
        ema.update(value, observed)
        if step % 2 == 1:
            alone.update(value, torch.tensor([True, True, True]))
    torch.testing.assert_close(ema.value()[:, 0], alone.value()[:, 0])
    assert (ema.value()[:, 2] == 0).all()
    assert ema.counts.tolist() == [2, 4, 0]


def test_decay_has_a_range() -> None:
    with pytest.raises(ValueError, match="decay: expected at least 0 and below 1, found 1"):
        Ema((1,), (1,), decay=1.0, debias=False)
