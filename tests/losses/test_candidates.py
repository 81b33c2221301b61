from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recsys_mtl.losses import Candidates, pointwise
from recsys_mtl.losses.candidates import distinct, inclusion
from recsys_mtl.metrics import retrieval

BIG = 2**24 + 3


def test_indices_beyond_float32_are_exact() -> None:
    index = torch.tensor([2**24 + 1, 0, 2**24 + 2, 2**24 + 1])
    assert int(index[0].float()) == 2**24
    items = Candidates.of(index, torch.ones(1, 1).expand(BIG, 1), torch.tensor([1e-8]).expand(BIG))
    assert distinct(index)[0].tolist() == [2**24 + 1, 2**24 + 2]
    assert items.positions.tolist() == [0, 0, 1, 0]
    assert items.log_q is not None
    assert items.log_q.exp().tolist() == pytest.approx([3e-8, 3e-8])


def test_inclusion_is_the_share_of_batches_that_hold_an_item() -> None:
    shares = torch.tensor([0.5, 0.2, 0.04, 0.0001])
    drawn = torch.multinomial(
        torch.cat([shares, 1 - shares.sum(0, keepdim=True)]),
        2_000 * 8,
        replacement=True,
        generator=torch.Generator().manual_seed(0),
    ).view(2_000, 8)
    held = torch.stack([(drawn == item).any(1).float().mean() for item in range(4)])
    torch.testing.assert_close(inclusion(shares, 8), held, atol=0.03, rtol=0.0)


def mrr(corrected: bool, seed: int) -> float:
    """Of a linear tower, trained on rows whose items are Zipf distributed."""
    g = torch.Generator().manual_seed(seed)
    items, users, dim, batch = 2500, 8_000, 6, 256
    prior = 1 / torch.arange(1, items + 1, dtype=torch.float32)
    taste = torch.randn(users, dim, generator=g)
    logits = prior.log() + taste @ (1.2 * torch.randn(items, dim, generator=g)).T
    chosen = 1 + torch.multinomial(logits.softmax(1), 1, generator=g).squeeze(1)
    train, test = slice(0, -1000), slice(-1000, None)
    shares = torch.bincount(chosen[train], minlength=items + 1).clamp_min(1) / (users - 1000)
    torch.manual_seed(seed)
    tower, table = torch.nn.Linear(dim, 16), torch.nn.Parameter(torch.randn(items + 1, 16) / 4)
    optimizer = torch.optim.Adam([*tower.parameters(), table], lr=0.01)
    for _ in range(8):
        for rows in torch.randperm(users - 1000, generator=g).split(batch):
            index = chosen[rows]
            held = Candidates.of(index, table, shares if corrected else None)
            loss = pointwise.info_nce(
                tower(taste[rows]), held.positions, held.vectors, held.log_q, temperature=0.07
            ).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        scores = F.normalize(tower(taste[test]), dim=1) @ F.normalize(table, dim=1).T
    ranks = retrieval.true_item_ranks(scores.numpy(), chosen[test].numpy().astype(float))
    return retrieval.mrr(ranks, torch.ones(1000).numpy())


@pytest.mark.slow
def test_the_correction_ranks_better_where_items_are_zipf_distributed() -> None:
    pairs = [(mrr(False, seed), mrr(True, seed)) for seed in range(5)]
    assert all(corrected > 1.03 * plain for plain, corrected in pairs), pairs
