from dataclasses import replace

import pytest
import torch

from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.model import embeddings_plain
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step

CPU = torch.device("cpu")


@pytest.fixture
def step_of(config_of, spec):
    def make(**sections):
        config = config_of(**sections)
        torch.manual_seed(3)
        network = build_network(config, spec)
        return build_step(config, network, CPU)

    return make


def state(step):
    return {name: value.clone() for name, value in step.network.state_dict().items()}


def changed(before, step):
    return {
        name for name, value in step.network.state_dict().items() if (value != before[name]).any()
    }


def test_a_step_updates_tables_and_dense_parameters(step_of, rows):
    step = step_of()
    before = state(step)
    result = step(rows)
    assert result.updated
    assert result.counts.tolist() == [34, 34, 34, 34]
    moved = changed(before, step)
    assert {
        f"embeddings.embedding_bags.t_{t}.weight" for t in ("city", "device", "recent")
    } <= moved
    assert any(name.startswith("towers") for name in moved)
    assert any(name.startswith("ple") for name in moved)
    assert "items.i_brand" in moved


@pytest.mark.parametrize("balancing", ["fixed", "uncertainty", "dwa", "famo", "imtl_l", "stch"])
def test_tables_are_updated_exactly_once_a_step(step_of, rows, monkeypatch, balancing):
    step = step_of(balancing={"name": balancing})
    updates = []
    original = embeddings_plain._SameWidth.update
    monkeypatch.setattr(
        embeddings_plain._SameWidth, "update", lambda *args: updates.append(1) or original(*args)
    )
    for _ in range(3):
        assert step(rows).updated
    assert len(updates) == 3  # three steps, one width of tables


def test_sgd_on_tables_equals_plain_autograd(step_of, rows, config_of, spec):
    """The cut at the pooled embeddings changes nothing: one backward through everything agrees."""
    tables = {"name": "sgd", "learning_rate": 0.5}
    optimizer = {"clip_norm": None, "warmup": 0.0}
    step = step_of(training={"tables": tables, "optimizer": optimizer})
    weight = step.network.embeddings.weights()[0]
    before = weight.detach().clone()
    complete = step_of(training={"tables": tables, "optimizer": optimizer})
    (leaf,) = leaves = complete.network.cut(rows).leaf()
    outputs = complete.network.forward_from(leaves, rows)
    losses, counts = complete.losses(
        outputs.logits, rows.labels, rows.weights, complete.network.candidates(leaves, rows)
    )
    total = complete.balancer.total(losses, counts > 0) + outputs.penalty
    (gradient,) = torch.autograd.grad(total, leaf)
    expected = before.clone().index_add_(0, rows["city"], gradient[:, :4], alpha=-0.5)
    step(rows)
    assert torch.allclose(weight, expected, atol=1e-6)
    assert not torch.equal(weight, before)


def test_clipping_bounds_tables_and_dense_parameters_together(step_of, rows):
    tables = {"name": "sgd", "learning_rate": 1.0}
    free = step_of(training={"tables": tables, "optimizer": {"clip_norm": None, "warmup": 0.0}})
    clipped = step_of(training={"tables": tables, "optimizer": {"clip_norm": 0.01, "warmup": 0.0}})
    before = state(free)
    free(rows)
    clipped(rows)
    name = "embeddings.embedding_bags.t_city.weight"
    moved_free = free.network.state_dict()[name] - before[name]
    moved_clipped = clipped.network.state_dict()[name] - before[name]
    norm = torch.cat([p.grad.flatten() for p in clipped.network.dense_parameters()]).norm()
    assert norm <= 0.01 + 1e-6
    assert moved_clipped.norm() <= 0.02  # gradients of a duplicated row add up
    ratio = moved_clipped.norm() / moved_free.norm()
    assert torch.allclose(moved_clipped, moved_free * ratio, atol=1e-6)  # same direction


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf])
def test_a_non_finite_loss_updates_nothing_and_names_its_task(step_of, rows, bad):
    step = step_of()
    labels = rows.labels.clone()
    labels[1, 2] = bad
    before = state(step)
    result = step(replace(rows, labels=labels))
    assert not result.updated
    assert result.bad_tasks == (2,)
    assert changed(before, step) == set()


def test_a_non_finite_gradient_updates_nothing(step_of, rows):
    step = step_of()
    poisoned = step.network.dense_parameters()[0]
    poisoned.register_hook(lambda gradient: torch.full_like(gradient, torch.nan))
    before = state(step)
    result = step(rows)
    assert not result.updated
    assert result.bad_tasks == ()
    assert changed(before, step) == set()


def test_an_unlabelled_batch_is_harmless(step_of, rows):
    step = step_of()
    result = step(replace(rows, labels=torch.full_like(rows.labels, torch.nan)))
    assert result.counts.sum() == 0
    assert torch.equal(result.losses, torch.zeros(4))
    assert all(torch.isfinite(p).all() for p in step.network.parameters())


def test_a_single_row_trains(step_of, rows_of):
    step = step_of()
    assert step(rows_of(2).select(torch.tensor([1]))).updated


def test_set_rate_scales_both_optimizers(step_of, rows):
    step = step_of(training={"tables": {"name": "sgd", "learning_rate": 0.5}})
    step.set_rate(0.0)
    before = state(step)
    step(rows)
    assert changed(before, step) == set()
    step.set_rate(0.5)
    assert step.optimizer.param_groups[0]["lr"] == pytest.approx(0.0005)
    step(rows)
    assert "embeddings.embedding_bags.t_city.weight" in changed(before, step)


@pytest.mark.parametrize("backend", ["plain", "torchrec"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.slow
def test_every_task_kind_is_learnt_by_heart(config_of, spec, rows, backend, precision):
    """Forty rows, four kinds of label: the loss goes to about zero on each."""
    config = config_of(training={"precision": precision, "optimizer": {"learning_rate": 0.01}})
    model = config.model.model_copy(
        update={
            "embedding": config.model.embedding.model_copy(update={"backend": backend}),
            "gates": config.model.gates.model_copy(update={"entropy": 0.0}),
        }
    )
    torch.manual_seed(0)
    config = config.model_copy(update={"model": model})
    step = build_step(config, build_network(config, spec), CPU)
    step.network.train()
    loader = MemoryLoader(rows, batch_size=40, shuffle=True, seed=0)
    for epoch in range(250):
        for batch in loader.epoch(epoch):
            losses = step(batch).losses
    assert losses.max() < (0.02 if precision == "fp32" else 0.05), losses


def test_the_balancer_does_not_see_a_skipped_batch(step_of, rows):
    step = step_of(balancing={"name": "dwa"})
    before = {name: value.clone() for name, value in step.balancer.state_dict().items()}
    labels = rows.labels.clone()
    labels[1, 2] = torch.inf
    assert not step(replace(rows, labels=labels)).updated
    assert all(torch.equal(v, before[k]) for k, v in step.balancer.state_dict().items())


@pytest.fixture
def scaled(step_of):
    """A step with fp16's loss scaling, in fp32 so that it runs on a CPU."""
    step = step_of()
    step._scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    return step


def test_loss_scaling_changes_nothing_but_the_scale(scaled, step_of, rows):
    plain = step_of()
    assert plain(rows).updated
    assert scaled(rows).updated
    for name, value in scaled.network.state_dict().items():
        assert torch.allclose(value, plain.network.state_dict()[name], atol=1e-6), name


def test_an_overflow_at_the_cut_alone_lowers_the_scale(scaled, rows):
    before = state(scaled)
    original = scaled.network.forward_from

    def forward_from(leaves, batch, *, by_task):
        leaves[0].register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
        return original(leaves, batch, by_task=by_task)

    scaled.network.forward_from = forward_from
    assert not scaled(rows).updated
    assert scaled._scaler.get_scale() == 512.0
    assert changed(before, scaled) == set()
