"""Encoders against slow ones that take a row at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.sequences import EncoderSettings
from recsys_mtl.model.sequences import ENCODERS, ragged
from recsys_mtl.model.sequences.encoder import EncoderShape, Entries, SequenceEncoder

LENGTHS = (3, 0, 1, 5, 2, 0)
D, Q, LONGEST = 7, 4, 5
SETTINGS: dict[str, dict[str, Any]] = {
    "mean": {"name": "mean"},
    "din": {"name": "din", "hidden": [6, 3]},
    "din softmax": {"name": "din", "hidden": [5], "softmax": True},
}


def make(case: str, query: int = Q) -> SequenceEncoder:
    torch.manual_seed(1)
    settings = EncoderSettings(**SETTINGS[case])
    return ENCODERS[settings.name](EncoderShape(settings, D, query, LONGEST))


def entries_of(lengths: tuple[int, ...] = LENGTHS, query: int = Q) -> Entries:
    g = torch.Generator().manual_seed(0)
    values = torch.randn(sum(lengths), D, generator=g, requires_grad=True)
    candidates = torch.randn(len(lengths), query, generator=g)
    of = torch.tensor(lengths)
    return Entries(values, of, ragged.row_of_each(of, len(values)), candidates)


def rows_of(entries: Entries) -> list[Tensor]:
    return list(entries.values.split(entries.lengths.tolist()))


def slow_mean(encoder: Any, entries: Tensor, query: Tensor) -> Tensor:
    return entries.mean(0)


def slow_din(encoder: Any, entries: Tensor, query: Tensor) -> Tensor:
    """Every layer on one entry after another, the first one in the paper's form."""
    scores = []
    first, second = encoder.of_entry.weight, encoder.of_query
    for entry in entries:
        key = entry[:Q]
        # W_k k + W_p (k ∘ q) + W_q q, as one matrix on [k, other, k ∘ q, q, q − k] with W_d = 0
        joint = torch.cat([first, second.weight, torch.zeros(len(first), Q)], 1)
        read = joint @ torch.cat([entry, key * query, query, query - key]) + second.bias
        for index, activation in enumerate(encoder.activations):
            slope = activation.weight
            read = torch.where(read > 0, read, slope * read)
            if index < len(encoder.hidden):
                layer = encoder.hidden[index]
                read = layer.weight @ read + layer.bias
        scores.append(encoder.score.weight @ read + encoder.score.bias)
    weights = torch.stack(scores)
    if encoder._softmax:
        weights = weights.exp() / weights.exp().sum()
    return (weights * entries).sum(0)


SLOW: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {"mean": slow_mean, "din": slow_din}


@pytest.mark.parametrize("case", SETTINGS)
def test_encodes_as_the_slow_one_does(case: str) -> None:
    encoder, entries = make(case), entries_of()
    actual = encoder(entries)
    assert actual.shape == (6, encoder.width)
    slow = SLOW[SETTINGS[case]["name"]]
    rows = [
        slow(encoder, row, query) if len(row) else torch.zeros(encoder.width)
        for row, query in zip(rows_of(entries), entries.query, strict=True)
    ]
    expected = torch.stack(rows)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    cotangent = torch.randn_like(expected)
    inputs = [entries.values, *encoder.parameters()]
    pairs = [torch.autograd.grad(out, inputs, cotangent) for out in (actual, expected)]
    for got, want in zip(*pairs, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", SETTINGS)
def test_rows_do_not_depend_on_each_other(case: str) -> None:
    encoder, entries = make(case).eval(), entries_of()
    together = encoder(entries)
    for index, (row, query) in enumerate(zip(rows_of(entries), entries.query, strict=True)):
        of = torch.tensor([len(row)])
        alone = encoder(Entries(row, of, ragged.row_of_each(of, len(row)), query.unsqueeze(0)))
        torch.testing.assert_close(alone[0], together[index], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("case", SETTINGS)
def test_only_empty_rows_are_zeros(case: str) -> None:
    encoder, entries = make(case), entries_of((0, 0))
    encoded = encoder(entries)
    assert torch.equal(encoded, torch.zeros(2, encoder.width))
    encoded.sum().backward()


@pytest.mark.parametrize("case", SETTINGS)
def test_bfloat16_is_near(case: str) -> None:
    encoder, entries = make(case), entries_of()
    with torch.autocast("cpu", torch.bfloat16):
        near = encoder(entries)
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, encoder(entries), atol=0.05, rtol=0.05)


def test_a_softmax_of_large_scores() -> None:
    of = torch.tensor([2, 0, 3])
    rows = ragged.row_of_each(of, 5)
    scores = torch.tensor([[1e4, 0.0], [1e4, 1.0], [-1e4, 2.0], [0.0, 3.0], [-1e4, 4.0]])
    expected = torch.cat([scores[:2].softmax(0), scores[2:].softmax(0)])
    torch.testing.assert_close(ragged.softmax(scores, rows, 3), expected)
