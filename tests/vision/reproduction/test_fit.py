from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from recsys_mtl.vision.reproduction.fit import Fit
from recsys_mtl.vision.reproduction.images import Images
from recsys_mtl.vision.reproduction.recipe import RecipeUnit

MakeJob = Callable[..., RecipeUnit]
MIXED: dict[str, Any] = {
    "methods": {
        "sum": {},
        "cagt": {"combiner": {"name": "cagt"}},
        "gradnorm": {"balancing": "gradnorm"},
        "single": {"alone": True},
    }
}


def fit_of(job: RecipeUnit, images: Images, only: int | None = None) -> Fit:
    return Fit(job.recipe, images, seed=job.seed, rerun=job.rerun, only=only)


def batches_of(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The indices of every step of a run."""
    seen: list[list[int]] = []
    original = fit.images.train.batch

    def batch(indices: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(indices.tolist())
        return original(indices)

    with monkeypatch.context() as patched:
        patched.setattr(fit.images.train, "batch", batch)
        fit.run()
    return seen


def test_all_methods_have_the_same_start_and_order(
    job: MakeJob, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = {name: fit_of(job(name, **MIXED), images) for name in MIXED["methods"]}
    fits["alone"] = fit_of(job("single", **MIXED), images, only=1)
    starts = [torch.cat([p.flatten() for p in f.network.parameters()]) for f in fits.values()]
    assert all(torch.equal(start, starts[0]) for start in starts)
    orders = [batches_of(fit, monkeypatch) for fit in fits.values()]
    assert all(order == orders[0] for order in orders)
    assert len(orders[0]) == 10
    first, second = orders[0][:5], orders[0][5:]
    assert sorted(i for rows in first for i in rows) == [*range(300)]
    assert first != second

    other = fit_of(job("sum", rerun=1, **MIXED), images)
    start = torch.cat([p.flatten() for p in other.network.parameters()])
    assert not torch.equal(start, starts[0])
    assert batches_of(other, monkeypatch) != orders[0]


def test_a_last_image_on_its_own_is_left_out(
    job: MakeJob, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"training": {"epochs": 1, "batch_size": 23, "device": "cpu"}}  # 300 = 13 × 23 + 1
    sizes = [len(rows) for rows in batches_of(fit_of(job("sum", **alone), images), monkeypatch)]
    assert sizes == [23] * 13


def test_numbers_of_an_epoch(job: MakeJob, images: Images) -> None:
    methods = ("sum", "cagt", "gradnorm")
    shares: list[float] = []
    assert fit_of(job("sum", **MIXED), images).run(shares.append).step_seconds
    assert shares == pytest.approx([step / 10 for step in range(1, 11)])
    by_method = {name: fit_of(job(name, **MIXED), images).run() for name in methods}
    plain, cagt, gradnorm = by_method.values()
    assert [len(fitted.epochs) for fitted in by_method.values()] == [2, 2, 2]
    assert plain.epochs[0]["conflicts"] is None
    assert plain.blocks == ()
    conflicts = cagt.epochs[1]["conflicts"]
    assert conflicts["steps"] == 5
    assert conflicts["conflict_ratio"].shape == (len(cagt.blocks),)
    assert gradnorm.epochs[0]["gradnorm"] != gradnorm.epochs[1]["gradnorm"]
    assert sum(gradnorm.epochs[1]["gradnorm"]) == pytest.approx(3, rel=1e-5)
    assert len(plain.step_seconds) == 10
    assert plain.predicted.shape == (110, 3)
    assert plain.epochs[1]["train_losses"][2] < plain.epochs[0]["train_losses"][2]


def test_measurements_are_regular_up_to_the_limit(job: MakeJob, images: Images) -> None:
    fitted = fit_of(job("sum"), images).run()
    assert [steps for steps, _ in fitted.measurements] == [2, 4, 6]
    assert fitted.measurements[0][1] != fitted.measurements[2][1]
    assert fit_of(job("sum", threshold=None), images).run().measurements == []


def test_a_task_alone_leaves_the_other_heads_untrained(job: MakeJob, images: Images) -> None:
    fit = fit_of(job("single", **MIXED), images, only=2)
    before = [head.weight.detach().clone() for head in fit.network.heads]
    losses = [epoch["losses"][2] for epoch in fit.run().epochs]
    after = [head.weight.detach() for head in fit.network.heads]
    decay = (1 - 2e-3 * 1e-4) ** 10
    for task in (0, 1):
        assert_close(after[task], before[task] * decay)
    assert not torch.allclose(after[2], before[2] * decay)
    assert losses[1] < losses[0]
