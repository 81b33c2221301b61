from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.adatt import (
    AdaTT,
    AveragedGradient,
    GradientCosine,
    LogitCorrelation,
    Measure,
    Observation,
    Phase,
    Schedule,
    Selection,
    Settings,
    Shapes,
    gradient_coefficients,
    group_prior,
    transfer_weights,
)

TASKS = ("click", "buy", "value")
SCHEDULE = Schedule(warmup_epochs=2, freeze_epoch=5)
ALL = torch.ones(3, dtype=torch.bool)
SHAPES = Shapes(3, experts=2, inputs=4, widths=(1, 1, 1))
GRADIENTS = torch.tensor([[1.0, 0.0, 0.2], [-1.0, 0.1, 0.0], [0.9, 1.0, 0.0]])


def make(measure: Measure | None = None, **settings: Any) -> AdaTT:
    settings = {"interval": 3, **settings}
    return AdaTT(TASKS, measure or GradientCosine(SHAPES), SCHEDULE, settings=Settings(**settings))


def observation(gradients: Tensor = GRADIENTS, counts: Tensor = ALL) -> Observation:
    x = torch.cat([gradients, gradients[:, :1]], 1)
    return Observation(
        counts=counts,
        gradients=lambda: [gradients[:, :2], gradients[:, 2:]],
        outputs=lambda: list(gradients.T.unsqueeze(-1)),
        inputs=lambda: x,
        residuals=lambda: list(gradients.T.unsqueeze(-1)),
    )


def test_warmup_gives_back_the_very_tensor_and_no_gradient_to_w() -> None:
    adatt = make()
    adatt.start_epoch(1)
    losses = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert adatt.phase is Phase.WARMUP
    assert adatt.losses(losses, ALL) is losses
    assert adatt.coefficients(ALL) is None
    adatt.losses(losses, ALL).sum().backward()
    assert adatt.W.grad is None


@pytest.mark.parametrize("masking", ["exclude", "zero_logit"])
def test_dynamic_is_the_formulas_put_together(masking: str) -> None:
    prior = group_prior(TASKS, {"g": (TASKS[:2], 0.8)})
    settings = Settings(
        strength=0.4,
        max_ratio=0.3,
        selection=Selection(threshold=-0.05, temperature=0.5, masking=masking),  # type: ignore[arg-type]
    )
    adatt = AdaTT(TASKS, GradientCosine(SHAPES), SCHEDULE, prior=prior, settings=settings)
    assert adatt.observe(observation())
    adatt.start_epoch(3)
    with torch.no_grad():
        adatt.W.copy_(torch.randn(3, 3))
    losses, present = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([True, True, False])
    weights = transfer_weights(
        adatt.measure.affinity(),
        adatt.W,
        prior,
        blend=0.5 - 0.4 / 3,
        selection=settings.selection,
        present=present,
    )
    torch.testing.assert_close(adatt.weights(present), weights)
    term = (0.4 * weights[0] @ losses).minimum(0.3 * losses)
    torch.testing.assert_close(adatt.losses(losses, present), losses + term)
    torch.testing.assert_close(adatt.coefficients(present), gradient_coefficients(weights, 0.4))
    assert adatt.losses(losses, present)[2] == 0


@pytest.mark.parametrize("learn", [True, False])
def test_w_learns_in_the_dynamic_phase_only(learn: bool) -> None:
    adatt = make(learn_weights=learn)
    learned = []
    for epoch in range(7):
        adatt.start_epoch(epoch)
        losses = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        adatt.W.grad = None
        adatt.losses(losses, ALL).sum().backward()
        learned.append(adatt.W.grad is not None and bool((adatt.W.grad != 0).any()))
    assert learned == [learn and 2 <= epoch < 5 for epoch in range(7)]


def test_frozen_weights_are_fixed_and_nothing_is_measured() -> None:
    adatt = make(selection=Selection(threshold=-1.0))
    adatt.observe(observation())
    adatt.start_epoch(4)
    assert not adatt.frozen
    with torch.no_grad():
        adatt.W.copy_(torch.randn(3, 3))
    adatt.start_epoch(5)
    assert adatt.frozen
    frozen = adatt.weights().clone()
    assert adatt.blend == pytest.approx(0.1)
    with torch.no_grad():
        adatt.W.add_(1.0 + torch.randn(3, 3))  # as a careless optimizer would
    assert not adatt.observe(observation(-GRADIENTS.flip(1)))
    adatt.start_epoch(6)
    assert torch.equal(adatt.weights(), frozen)
    assert not adatt.weights().requires_grad
    assert (frozen.sum(-1) > 0).any()
    present = torch.tensor([True, False, True])
    assert (adatt.weights(present)[0, 1] == 0).all()
    assert (adatt.weights(present)[0, :, 1] == 0).all()
    adatt.start_epoch(3)  # back again: it thaws, and freezes anew
    assert adatt.weights().requires_grad
    adatt.start_epoch(5)
    assert not torch.equal(adatt.weights(), frozen)


def test_due_every_interval_from_the_first_step_until_frozen() -> None:
    adatt = make(interval=3)
    assert [adatt.due() for _ in range(7)] == [True, False, False, True, False, False, True]
    adatt.start_epoch(2)  # steps continue across epochs
    assert [adatt.due() for _ in range(3)] == [False, False, True]
    adatt.start_epoch(5)
    assert not any(adatt.due() for _ in range(6))


def run(adatt: AdaTT, epochs: range, seed: int) -> list[Tensor]:
    """Enhanced losses of every step; each epoch has its own seed."""
    optimizer = torch.optim.SGD([adatt.W], lr=1.0)
    seen = []
    for epoch in epochs:
        generator = torch.Generator().manual_seed(seed + epoch)
        adatt.start_epoch(epoch)
        for _ in range(4):
            if adatt.due():
                adatt.observe(observation(torch.randn(3, 3, generator=generator)))
            losses = torch.rand(3, generator=generator).requires_grad_()
            enhanced = adatt.losses(losses, ALL)
            optimizer.zero_grad()
            enhanced.sum().backward()
            optimizer.step()
            seen.append(enhanced.detach())
    return seen


@pytest.mark.parametrize("stop", [1, 3, 5, 6])
@pytest.mark.parametrize(
    "kind", [GradientCosine, LogitCorrelation, AveragedGradient, "expert", "debias"]
)
def test_a_resumed_run_is_identical(stop: int, kind: Any, seed: int) -> None:
    def build() -> AdaTT:
        if kind == "expert":
            return make(GradientCosine(SHAPES, scope="expert"))
        return make(GradientCosine(SHAPES, debias=True) if kind == "debias" else kind(SHAPES))

    complete = build()
    expected = run(complete, range(8), seed)
    first, second = build(), build()
    run(first, range(stop), seed)
    second.load_state_dict(first.state_dict())
    assert second.phase is SCHEDULE.phase(stop - 1)
    assert second.phase is first.phase
    losses = run(second, range(stop, 8), seed)
    assert all(torch.equal(a, b) for a, b in zip(losses, expected[4 * stop :], strict=True))
    for name, value in complete.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_negative_transfer_is_named() -> None:
    adatt = make()
    assert adatt.detect_negative_transfer() == {}
    adatt.observe(observation())
    affinity = adatt.measure.affinity()[0]
    assert affinity[0, 1] < -0.9
    assert affinity[1, 2] < -0.1
    expected = {"click": ["buy"], "buy": ["click", "value"], "value": ["buy"]}
    assert adatt.detect_negative_transfer() == expected


def test_diagnostics_are_plain() -> None:
    adatt = make(GradientCosine(SHAPES, scope="expert"), strength=1.0, max_ratio=0.5)
    adatt.observe(observation())
    adatt.observe(observation(torch.full((3, 3), torch.nan)))
    adatt.start_epoch(2)
    adatt.losses(torch.tensor([0.1, 2.0, 2.0]), ALL)
    adatt.losses(torch.tensor([0.0, 2.0, 2.0]), torch.tensor([False, True, True]))
    numbers = adatt.diagnostics()
    assert json.loads(json.dumps(numbers)) == numbers
    assert (numbers["phase"], numbers["epoch"], numbers["blend"]) == ("dynamic", 2, 0.5)
    assert (numbers["observations"], numbers["skipped"]) == (1, 1)
    assert torch.tensor(numbers["affinity"]).shape == (2, 3, 3)
    assert torch.tensor(numbers["weights"]).shape == (2, 3, 3)
    assert numbers["learned"] == [[0.0] * 3] * 3
    # five terms: click, buy and value, then buy and value; cut: click at least, and by count
    assert numbers["clamped_share"] == int(adatt.clamped) / 5
    assert int(adatt.clamped) >= 1
    adatt.start_epoch(2)  # as a resume in the middle of an epoch does
    assert adatt.diagnostics() == numbers
    adatt.start_epoch(3)
    assert adatt.diagnostics()["clamped_share"] == 0


def test_each_expert_has_coefficients_and_losses_take_the_mean() -> None:
    adatt = make(GradientCosine(SHAPES, scope="expert"), max_ratio=None)
    adatt.observe(observation())
    adatt.start_epoch(2)
    weights = adatt.weights(ALL)
    assert weights.shape == (2, 3, 3)
    assert not torch.equal(weights[0], weights[1])
    coefficients = adatt.coefficients(ALL)
    assert coefficients is not None
    assert coefficients.shape == (2, 3)
    losses = torch.tensor([1.0, 2.0, 3.0])
    expected = losses + 0.1 * weights.mean(0) @ losses
    torch.testing.assert_close(adatt.losses(losses, ALL), expected)
    absent = adatt.coefficients(torch.tensor([True, False, True]))
    assert absent is not None
    assert absent[:, 1].tolist() == [1, 1]


def test_bf16_autocast_changes_nothing(seed: int) -> None:
    plain, half = make(), make()
    expected = run(plain, range(7), seed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = run(half, range(7), seed)
    # exactly: given the same gradients and losses, all of adaTT's arithmetic is float32
    assert all(torch.equal(a, b) for a, b in zip(losses, expected, strict=True))


@pytest.mark.slow  # the first compilation takes seconds
def test_compiled_losses_agree(seed: int) -> None:
    plain, compiled = make(), make()
    expected = run(plain, range(7), seed)
    compiled.losses = torch.compile(compiled.losses, backend="aot_eager", fullgraph=True)  # type: ignore[method-assign]
    losses = run(compiled, range(7), seed)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"measure: expected 2 tasks, found shape \(3, 3\)"):
        AdaTT(["a", "b"], GradientCosine(SHAPES), SCHEDULE)
    with pytest.raises(ValueError, match=r"prior: expected 3 tasks, found shape \(2, 3\)"):
        AdaTT(TASKS, GradientCosine(SHAPES), SCHEDULE, prior=torch.zeros(2, 3))
    for name, value in {"strength": -1, "max_ratio": -0.1, "interval": 0, "blend_end": 2}.items():
        with pytest.raises(ValueError, match=f"{name}: expected .*, found {value}"):
            Settings(**{name: value})  # type: ignore[arg-type]
