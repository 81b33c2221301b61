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
    "mha": {"name": "mha", "dim": 6, "heads": 3},
    "transformer": {"name": "transformer", "dim": 6, "heads": 2, "layers": 2},
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
        for layer in encoder.hidden:
            read = layer.weight @ read.relu() + layer.bias
        read = read.relu()
        scores.append(encoder.score.weight @ read + encoder.score.bias)
    weights = torch.stack(scores)
    if encoder._softmax:
        weights = weights.exp() / weights.exp().sum()
    return (weights * entries).sum(0)


def slow_attention(query: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """One query, head by head."""
    parts = []
    for q, k, v in zip(
        query.chunk(heads), keys.chunk(heads, 1), values.chunk(heads, 1), strict=True
    ):
        powers = torch.stack([(q @ key / len(q) ** 0.5).exp() for key in k])
        parts.append((powers / powers.sum()) @ v)
    return torch.cat(parts)


def slow_mha(encoder: Any, entries: Tensor, query: Tensor) -> Tensor:
    asked = encoder.seed + encoder.of_query(query)
    return encoder.out(
        slow_attention(asked, encoder.keys(entries), encoder.values(entries), encoder._heads)
    )


def slow_transformer(encoder: Any, entries: Tensor, query: Tensor) -> Tensor:
    """Entry by entry, each with those before it; the newest has the first position."""
    count = len(entries)
    x = [encoder.enter(e) + encoder.positions[count - 1 - i] for i, e in enumerate(entries)]
    for block in encoder.blocks:
        q, k, v = zip(*(block.read(block.norm_attention(e)).chunk(3) for e in x), strict=True)
        x = [
            e
            + block.out(
                slow_attention(q[i], torch.stack(k[: i + 1]), torch.stack(v[: i + 1]), block.heads)
            )
            for i, e in enumerate(x)
        ]
        x = [e + block.layer(block.norm_layer(e)) for e in x]
    state = encoder.norm(x[-1])
    return torch.cat([state, state * encoder.of_query(query)])


SLOW: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "mean": slow_mean,
    "din": slow_din,
    "mha": slow_mha,
    "transformer": slow_transformer,
}


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


@pytest.mark.parametrize("case", ["mha", "transformer"])
def test_without_a_candidate(case: str) -> None:
    encoder, entries = make(case, query=0), entries_of(query=0)
    assert encoder(entries).shape == (6, 6)
    assert encoder.of_query is None


def test_dropout_is_for_training() -> None:
    settings = EncoderSettings(**SETTINGS["transformer"], dropout=0.5)
    encoder, entries = ENCODERS["transformer"](EncoderShape(settings, D, Q, LONGEST)), entries_of()
    assert not torch.equal(encoder(entries), encoder(entries))
    encoder.eval()
    assert torch.equal(encoder(entries), encoder(entries))
