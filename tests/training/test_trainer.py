import signal
from dataclasses import replace

import pytest
import torch

from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.errors import UserError
from recsys_mtl.training import Trainer, Validation
from recsys_mtl.training import trainer as module
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_plan, build_step

TASKS = ("click", "segment", "value", "brand")


@pytest.fixture
def run(config_of, spec, rows_of):
    """Trains with the given validation scores, one an epoch; returns the result and the step."""

    def go(
        scores,
        *,
        stopping=None,
        epochs=None,
        rows=None,
        max_nonfinite=10,
        on_epoch=None,
        training=None,
        **sections,
    ):
        config = config_of(
            **sections,
            training={
                **(training or {}),
                "epochs": epochs or len(scores),
                "early_stopping": {"metric": "click/auc", **(stopping or {})},
                "max_nonfinite": max_nonfinite,
            },
        )
        torch.manual_seed(0)
        step = build_step(config, build_network(config, spec), torch.device("cpu"))
        loader = MemoryLoader(rows or rows_of(40), batch_size=16, shuffle=True, seed=0)
        states = []

        def validate(epoch):
            weight = step.network.embeddings.weights()[0]
            states.append(weight.detach().clone())
            return Validation(scores[epoch])

        trainer = Trainer(
            step, loader, validate, build_plan(config), on_epoch=on_epoch or (lambda epoch: None)
        )
        return trainer.fit(), step, states

    return go


def test_the_best_epochs_weights_are_restored(run):
    result, step, states = run([0.6, 0.8, 0.7, 0.75], stopping={"patience": None})
    assert result.best_epoch == 1
    assert result.stopped == "finished"
    assert torch.equal(step.network.embeddings.weights()[0], states[1])
    assert not torch.equal(states[1], states[3])


def test_the_last_epochs_weights_are_kept_where_they_shall(run):
    result, step, states = run([0.6, 0.8, 0.7], stopping={"patience": None, "keep": "last"})
    assert result.best_epoch == 2
    assert torch.equal(step.network.embeddings.weights()[0], states[2])
    assert not torch.equal(states[1], states[2])


def test_training_stops_after_patience_epochs_without_a_better_score(run):
    result, _, _ = run([0.6, 0.8, 0.7, 0.75, 0.9], stopping={"patience": 2})
    assert result.stopped == "early"
    assert len(result.epochs) == 4
    assert result.best_epoch == 1


def test_smaller_gains_than_min_delta_do_not_count(run):
    result, _, _ = run([0.6, 0.605, 0.65], stopping={"patience": None, "min_delta": 0.01})
    assert result.best_epoch == 2


def test_a_gain_of_min_delta_does_not_count_either(run):
    result, _, _ = run([0.5, 0.75], stopping={"patience": None, "min_delta": 0.25})
    assert result.best_epoch == 0


def test_the_balancer_hears_of_every_epochs_end(run):
    """DWA weighs by the losses of the last two epochs, so its weights move from the third on."""
    result, _, _ = run([0.5] * 4, stopping={"patience": None}, balancing={"name": "dwa"})
    first, second, third, fourth = [list(e.loss_weights.values()) for e in result.epochs]
    assert first == second == pytest.approx([1.0] * 4)
    assert third != pytest.approx(second, abs=1e-3)
    assert fourth != pytest.approx(third, abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "stopping", "longer"),
    [
        ([0.6, 0.7, 0.8], {}, True),
        ([0.6, 0.8, 0.7], {}, False),
        ([0.6, 0.7, 0.8], {"patience": None}, False),  # a fixed number of epochs
        ([0.6, 0.8, 0.7, 0.7], {"patience": 2}, False),
        ([None, None], {}, False),
        ([0.6], {}, False),
    ],
)
def test_a_training_that_was_still_getting_better_is_reported(
    run, caplog, scores, stopping, longer
):
    run(scores, stopping=stopping)
    assert ("the best epoch is the last" in caplog.text) == longer


def test_an_undefined_score_is_never_the_best_once_there_is_another(run):
    result, _, _ = run([None, 0.6, None], stopping={"patience": None})
    assert result.best_epoch == 1
    assert [epoch.score for epoch in result.epochs] == [None, 0.6, None]


def test_while_no_score_is_defined_the_latest_weights_are_kept(run, caplog):
    result, step, states = run([None, None, None, None], stopping={"patience": 1})
    assert result.stopped == "finished"
    assert result.best_epoch == 3
    assert torch.equal(step.network.embeddings.weights()[0], states[3])
    assert "never defined" in caplog.text


def test_the_first_defined_score_replaces_undefined_ones(run):
    result, step, states = run([None, 0.6, 0.5, 0.4], stopping={"patience": 2})
    assert result.stopped == "early"
    assert result.best_epoch == 1
    assert torch.equal(step.network.embeddings.weights()[0], states[1])


def test_train_losses_count_row_weights(run, rows_of):
    rows = replace(rows_of(40), weights=torch.linspace(0.0, 2.0, 40))
    rate = {"learning_rate": 1e-30}
    result, step, _ = run([0.5], rows=rows, training={"optimizer": rate, "tables": rate})
    step.network.train()
    complete = step(rows).losses
    assert list(result.epochs[0].train_losses.values()) == pytest.approx(
        complete.tolist(), rel=1e-4
    )


def test_epochs_count_rows_labels_and_the_rate(run):
    seen = []
    result, _, _ = run([0.5, 0.6], stopping={"patience": None}, on_epoch=seen.append)
    assert tuple(seen) == result.epochs
    first, last = result.epochs
    assert first.rows == 40
    assert first.labelled == dict.fromkeys(TASKS, 34)
    assert set(first.train_losses) == set(TASKS)
    assert first.rows_per_second > 0
    assert last.learning_rate_factor < first.learning_rate_factor


def test_bad_batches_are_counted_and_too_many_stop_the_run_by_name(run, rows_of):
    rows = rows_of(40)
    labels = rows.labels.clone()
    labels[:, 2] = torch.inf
    with pytest.raises(UserError, match=r"diverged: the loss of value .* 2 batches in a row"):
        run([0.5], rows=replace(rows, labels=labels), max_nonfinite=2)


def test_one_bad_batch_is_skipped_and_training_continues(run, rows_of, caplog):
    rows = rows_of(40)
    labels = rows.labels.clone()
    labels[5, 2] = torch.inf
    result, step, _ = run([0.5, 0.6], rows=replace(rows, labels=labels))
    assert result.skipped == 2
    assert [epoch.skipped for epoch in result.epochs] == [1, 1]
    assert "the loss of value is not finite" in caplog.text
    assert all(torch.isfinite(p).all() for p in step.network.parameters())


def test_an_interrupt_ends_after_the_batch_in_hand(run, monkeypatch):
    from contextlib import contextmanager

    requested = iter([False, True, True, True])

    @contextmanager
    def interrupt():
        yield lambda: next(requested)

    monkeypatch.setattr(module, "graceful_interrupt", interrupt)
    result, _, _ = run([0.5, 0.6], stopping={"patience": None})
    assert result.stopped == "interrupted"
    assert len(result.epochs) == 1
    assert result.epochs[0].rows == 32  # two batches of sixteen


def test_after_an_interrupt_there_is_nothing_to_train_on_from(config_of, spec, rows_of):
    """The network has the best weights back, the optimizers the last moments."""
    config = config_of(training={"epochs": 3})
    step = build_step(config, build_network(config, spec), torch.device("cpu"))
    loader = MemoryLoader(rows_of(40), batch_size=16, shuffle=True, seed=0)
    trainer = Trainer(
        step,
        loader,
        lambda epoch: Validation(0.5),
        build_plan(config),
        on_step=lambda: signal.raise_signal(signal.SIGINT),
    )
    tensors, values = trainer.state_dict().values()
    beginning = {"tensors": {n: t.clone() for n, t in tensors.items()}, "values": values}
    assert trainer.fit().stopped == "interrupted"
    with pytest.raises(RuntimeError, match="load a state"):
        trainer.fit()
    trainer.load_state_dict(beginning)
    assert trainer.fit().stopped == "interrupted"
