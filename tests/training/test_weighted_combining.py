"""Combining by one weight a task, from some rows or at the features, and how that is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients import COMBINERS
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.weighted_combining import feature_gram
from tests.training.conftest import SGD
from tests.training.test_combining import NETWORKS, ONE_PASS, by_backward, gradients, warmed_up

Make = Callable[..., TrainingStep]
ROWS = 13
LOSS = {"mechanism": "loss"}
DROPOUT = {"dropout": 0.2, "tower_dropout": 0.1}


def head(rows: Batch, step: TrainingStep, count: int = ROWS) -> Batch:
    return rows.head(count, rows.blocks)


def weights_of(step: TrainingStep, gram: Tensor) -> Tensor:
    """(T,) of the method, of a (T, T) Gram matrix of all tasks."""
    return step.combining.combiner.weights(
        gram.unsqueeze(0), tasks=torch.arange(len(gram)), step=0
    ).squeeze(0)


def check(step: TrainingStep, rows: Batch, weights: Tensor) -> None:
    """The step's gradients are those of the plain step, of shared parts weighted."""
    network = step.network
    parts, at_cut = by_backward(step, rows)
    leaves = network.cut(rows).leaf()
    penalty = network.forward_from(leaves, rows).penalty
    ends = [leaves[0], *(p for _, _, p, _ in network.shared_parameters())]
    of_penalty: list[Tensor | None] = [None] * len(ends)
    if penalty.requires_grad:
        of_penalty = [*torch.autograd.grad(penalty, ends, allow_unused=True)]
    extra = [torch.zeros_like(p) if g is None else g for p, g in zip(ends, of_penalty, strict=True)]
    expected = weights.to(at_cut.dtype) @ at_cut + extra[0].flatten()
    calls: list[Tensor] = []
    embed = network.embed

    def watched(batch: Batch) -> tuple[Tensor, ...]:
        first, *others = embed(batch)
        first.register_hook(calls.append)
        return first, *others

    network.embed = watched
    assert step(rows).updated
    torch.testing.assert_close(calls[0].flatten(), expected, atol=1e-6, rtol=1e-3)
    entries = zip(network.shared_parameters(), parts, extra[1:], strict=True)
    for (name, _, p, i), single, more in entries:
        actual, added = (g if i is None else g[i] for g in (p.grad, more))
        wanted = weights.to(single.dtype) @ single + added.flatten()
        torch.testing.assert_close(actual.flatten(), wanted, atol=2e-6, rtol=1e-3, msg=name)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["cagt", "mgda"])
def test_weights_of_some_rows_are_applied_to_all(
    step_of: Make, rows: Batch, network: str, name: str
) -> None:
    step = step_of({"name": name, "rows": ROWS}, NETWORKS[network])
    parts, at_cut = by_backward(step, head(rows, step))
    everything = torch.cat([*parts, at_cut], 1)
    check(step, rows, weights_of(step, everything @ everything.T))


@pytest.mark.parametrize("network", [n for n in ONE_PASS if n != "single_task"])
@pytest.mark.parametrize("name", ["cagt", "mgda"])
def test_weights_at_the_features(step_of: Make, rows: Batch, network: str, name: str) -> None:
    step = step_of({"name": name, "level": "features"}, NETWORKS[network])
    leaves = step.network.cut(rows).leaf()
    outputs = step.network.forward_from(leaves, rows)
    losses, _ = step.losses(
        outputs.logits,
        rows.labels,
        rows.weights,
        step.network.candidates(leaves, rows),
        outputs.conditional,
        None,
    )
    common = outputs.mixed.common
    each = [torch.autograd.grad(x, common, retain_graph=True)[0].flatten() for x in losses]
    features = torch.stack(each)
    check(step, rows, weights_of(step, features @ features.T))


@pytest.mark.parametrize("section", [{"rows": 40}, {"level": "features"}, {"rows": ROWS}])
@pytest.mark.parametrize(
    "rest",
    [
        {"balancing": {"name": "uncertainty"}},
        {"balancing": {"name": "stch"}},
        {"adatt": {"mechanism": "loss", "warmup_epochs": 1}},
        {"adatt": {"mechanism": "gradient", "warmup_epochs": 1, "measure": {"scope": "expert"}}},
    ],
    ids=["uncertainty", "stch", "loss", "gradient"],
)
def test_with_ones_it_is_the_plain_step(
    step_of: Make, rows: Batch, section: dict[str, Any], rest: dict[str, Any]
) -> None:
    plain = gradients(warmed_up(step_of({"name": "sum"}, **rest), rows), rows)
    combiner = {"name": "sum", "diagnostics": 1} | section
    actual = gradients(warmed_up(step_of(combiner, **rest), rows), rows)
    assert actual.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(actual[name], gradient, atol=2e-6, rtol=2e-4, msg=name)


@pytest.mark.parametrize("name", sorted(set(COMBINERS) - {"sum", "graddrop", "gradvac"}))
@pytest.mark.parametrize("adatt", [{}, LOSS], ids=["", "loss"])
def test_all_rows_measure_what_the_usual_way_measures(
    step_of: Make, rows: Batch, name: str, adatt: dict[str, Any]
) -> None:
    rest = {"adatt": adatt} if adatt else {}
    usual = gradients(step_of({"name": name, "block": "all"}, **rest), rows)
    actual = gradients(step_of({"name": name, "rows": 40}, **rest), rows)
    for key, gradient in usual.items():
        torch.testing.assert_close(actual[key], gradient, atol=2e-5, rtol=2e-3, msg=key)


def test_features_of_transferred_losses(step_of: Make, rows: Batch) -> None:
    """Factors of other tasks' losses enter the products."""
    section = {"name": "mgda", "level": "features"}
    with_factors = step_of(section, adatt=LOSS | {"warmup_epochs": 0})
    assert with_factors(rows).updated
    log = with_factors.combining.diagnostics()
    assert log["weights"].keys() == {"click", "segment", "value", "brand"}


def test_a_task_without_labels_among_those_rows_counts_as_orthogonal(
    step_of: Make, rows: Batch
) -> None:
    labels = rows.labels.clone()
    labels[:ROWS, 2] = torch.nan  # in later rows only
    labels[:, 3] = torch.nan  # nowhere
    rows = replace(rows, labels=labels)
    step = step_of({"name": "mgda", "rows": ROWS})
    parts, at_cut = by_backward(step, head(rows, step))
    everything = torch.cat([*parts, at_cut], 1)[:3]
    gram = everything @ everything.T
    assert not gram[2].any()
    gram[2, 2] = gram.diagonal()[:2].mean()
    weights = torch.zeros(4)
    weights[:3] = weights_of(step, gram)
    assert (weights[:3] > 0.01).all()
    check(step, rows, weights)
    seen = step.combining.diagnostics()["pair_cosine"]
    assert seen[0][1] is not None
    assert seen[0][2] is seen[1][3] is None


def test_no_task_has_labels_among_those_rows(step_of: Make, rows: Batch) -> None:
    labels = rows.labels.clone()
    labels[:ROWS] = torch.nan
    step = step_of({"name": "mgda", "rows": ROWS})
    check(step, replace(rows, labels=labels), torch.full((4,), 0.25))


@pytest.mark.parametrize("section", [{"rows": ROWS}, {"level": "features"}])
def test_a_gradient_that_is_not_finite_skips_the_step(
    step_of: Make, rows: Batch, section: dict[str, Any]
) -> None:
    step = step_of({"name": "upgrad"} | section)
    before = {name: value.clone() for name, value in step.network.state_dict().items()}
    usual = step.network.forward_from

    def forward_from(*args: Any, **options: Any) -> Any:
        outputs = usual(*args, **options)
        outputs.logits["click"].register_hook(lambda g: torch.full_like(g, torch.nan))
        return outputs

    step.network.forward_from = forward_from
    result = step(rows)
    assert not result.updated
    assert "tasks [0] are not finite" in result.problem
    assert int(step.combining.combiner.skipped) == 1
    now = step.network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in before.items())


@pytest.mark.parametrize("section", [{"rows": ROWS}, {"level": "features"}])
def test_loss_scaling_changes_nothing_but_the_scale(
    step_of: Make, rows: Batch, section: dict[str, Any]
) -> None:
    plain, scaled = (step_of({"name": "cagt"} | section) for _ in range(2))
    scaled._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert plain(rows).updated
    assert scaled(rows).updated
    for key, value in scaled.network.state_dict().items():
        assert torch.allclose(value, plain.network.state_dict()[key], atol=1e-6), key


@pytest.mark.parametrize("model", [DROPOUT, {"architecture": "home"} | DROPOUT])
def test_measuring_leaves_random_numbers_and_averages_alone(
    step_of: Make, rows: Batch, model: dict[str, Any]
) -> None:
    states = []
    for combiner in ({"name": "sum"}, {"name": "sum", "diagnostics": 1, "rows": ROWS}):
        step = step_of(combiner, model)
        torch.manual_seed(5)
        assert step(rows).updated
        averages = {name: value.clone() for name, value in step.network.named_buffers()}
        states.append((torch.get_rng_state(), averages))
    (plain, before), (measured, after) = states
    assert torch.equal(plain, measured)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_draws_depend_on_the_seed_and_the_step(step_of: Make, rows: Batch) -> None:
    def cosine(number: int, seed: int, state: int) -> float:
        step = step_of({"name": "mgda", "rows": ROWS}, DROPOUT, seed=seed)
        torch.manual_seed(state)
        assert step(rows, number).updated
        return step.combining.diagnostics()["pair_cosine"][0][1]

    first = cosine(0, 0, 1)
    assert cosine(0, 0, 2) == first
    assert cosine(1, 0, 1) != first != cosine(0, 1, 1)


def test_bf16_measures_nearly_the_same(step_of: Make, rows: Batch) -> None:
    training = SGD | {"batch_size": 40, "precision": "bf16"}
    for section in ({"rows": 40}, {"level": "features"}):
        exact = gradients(step_of({"name": "config"} | section), rows)
        actual = gradients(step_of({"name": "config"} | section, training=training), rows)
        ours, theirs = (torch.cat([g[k].flatten() for k in exact]) for g in (actual, exact))
        assert torch.cosine_similarity(ours, theirs, 0) > 0.999


def test_feature_gram() -> None:
    weights, at = torch.rand(3, 5, 2), torch.randn(3, 5, 4)
    at_experts = torch.einsum("tbs,tbd->tsbd", weights, at).flatten(1)
    torch.testing.assert_close(feature_gram(weights, at).float(), at_experts @ at_experts.T)


@pytest.mark.parametrize(
    ("model", "combiner", "warned"),
    [
        ({"levels": 2}, {"name": "mgda"}, True),
        (NETWORKS["logit transfer"], {"name": "mgda"}, True),
        ({"levels": 2}, {"name": "mgda", "rows": 5}, False),
        ({}, {"name": "mgda"}, False),
    ],
)
def test_a_pass_of_the_network_for_each_task_is_warned_of(
    step_of: Make,
    caplog: pytest.LogCaptureFixture,
    model: dict[str, Any],
    combiner: dict[str, Any],
    warned: bool,
) -> None:
    with caplog.at_level(logging.WARNING):
        step_of(combiner, model)
    assert ("4 backward passes through all of the network" in caplog.text) == warned
