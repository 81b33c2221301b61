from __future__ import annotations

from typing import Any

import pytest
import torch

from recsys_mtl.config.check import contradictions
from recsys_mtl.config.schema import Config
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.errors import UserError
from recsys_mtl.metrics import Undefined
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.training import Epoch
from recsys_mtl.training.evaluate import Scores, mean_loss
from recsys_mtl.wiring.trainer import Recorder, build_trainer, fit_network, watched
from tests.encoded import numbers
from tests.marks import slow_except


@pytest.fixture(scope="module")
def config(shared_toy: Any) -> Config:
    made: Config = shared_toy.config()
    return made


@pytest.fixture(scope="module")
def prepared(config: Config) -> Prepared:
    return prepare(config)


def test_every_epoch_is_reported_and_the_best_weights_are_back(
    config: Config, prepared: Prepared
) -> None:
    reported: list[Epoch] = []
    recorder = Recorder()
    recorder.on_epoch = reported.append  # type: ignore[method-assign]
    fitted = fit_network(config, prepared, recorder)
    assert [epoch.number for epoch in reported] == [0, 1]
    assert tuple(reported) == fitted.result.epochs
    weights = {name: task.weight for name, task in config.tasks.items()}
    scores = [epoch.score for epoch in reported]
    assert scores == [mean_loss(epoch.validation.losses, weights) for epoch in reported]
    for epoch in reported:
        assert epoch.validation.metrics.keys() == config.tasks.keys()
        assert epoch.validation.gates.keys() == config.tasks.keys()
    assert scores[fitted.result.best_epoch] == min(scores)  # type: ignore[type-var]
    assert fitted.device == torch.device("cpu")


def test_the_seed_decides_everything(config: Config, prepared: Prepared) -> None:
    torch.manual_seed(1)
    first = fit_network(config, prepared).network.state_dict()
    torch.manual_seed(2)
    second = fit_network(config, prepared).network.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_rare_categories_are_unknown_in_training_alone(shared_toy: Any) -> None:
    hashed = "features.seen={kind: categorical_list, encoding: hash, buckets: 3}"
    always = "model.embedding.unknown_dropout=1e12"
    config = shared_toy.config(always, hashed, "training.epochs=1")
    prepared = prepare(config)
    trainer = build_trainer(config, prepared.preprocessor, prepared.loaders)
    tables = trainer.step.network.embeddings.weights()
    before = [table.detach().clone() for table in tables]
    trainer.fit()
    city, seen = ((a != b).any(1).tolist() for a, b in zip(tables, before, strict=True))
    assert city == [True, True, False, False, False]  # unknown, null, the cities
    assert seen[2:] == [True, True, True]
    assert (next(iter(prepared.loaders["valid"].epoch(0)))["city"] > 1).any()


def test_what_early_stopping_watches(shared_toy: Any) -> None:
    metrics = {"click": {"auc": 0.7}, "buy": {"auc": Undefined("one class")}}
    losses = {"click": 1.0, "buy": None, "spend": 3.0, "band": None, "item": None}
    scores: Any = Scores(losses, {}, metrics, {}, {}, torch.ones(1).numpy(), {})

    def by(*overrides: str) -> float | None:
        return watched(shared_toy.config(*overrides), scores)

    assert by("training.early_stopping.metric=click/auc") == 0.7
    assert by("training.early_stopping.metric=buy/auc") is None
    assert by() == 2.0
    assert by("tasks.spend.weight=3") == 2.5


@pytest.mark.parametrize("task", ["click", "buy", "band", "spend", "item"])
def test_one_task_narrows_everything(config: Config, prepared: Prepared, task: str) -> None:
    single, narrowed = one_task(config, prepared, task)
    assert list(single.tasks) == [task]
    assert single.model == config.model
    assert [spec.name for spec in narrowed.preprocessor.spec.tasks] == [task]
    assert set(narrowed.preprocessor.conditions) == ({"buy"} if task == "buy" else set())
    column = list(config.tasks).index(task)
    for split, loader in narrowed.loaders.items():
        complete = prepared.loaders[split]
        assert (loader.num_rows, loader.num_batches) == (complete.num_rows, complete.num_batches)
        for batch, full in zip(loader.epoch(0), complete.epoch(0), strict=True):
            torch.testing.assert_close(
                batch.labels, full.labels[:, [column]], rtol=0, atol=0, equal_nan=True
            )
            assert torch.equal(numbers(batch), numbers(full))
    fitted = fit_network(single, narrowed)
    assert list(fitted.result.epochs[0].train_losses) == [task]
    labelled = sum((~b.labels.isnan()).sum().item() for b in narrowed.loaders["train"].epoch(0))
    assert fitted.result.epochs[0].labelled == {task: labelled}


def test_one_task_leaves_out_what_other_tasks_are_named_in(
    shared_toy: Any, prepared: Prepared
) -> None:
    config = shared_toy.config(
        "training.early_stopping.metric=click/auc",
        "model.logit_transfer=[{source: click, target: buy}]",
        "model.gates.preferred={buy: [shared.0]}",
        "model.levels=2",
    )
    for task, metric in (("click", "click/auc"), ("buy", "loss")):
        single, narrowed = one_task(config, prepared, task)
        assert single.training.early_stopping.metric == metric
        assert single.model.logit_transfer == []
        assert single.model.gates.preferred == ({} if task == "click" else {"buy": ["shared.0"]})
        assert single.model.levels == 2
        assert fit_network(single, narrowed).result.epochs


def test_a_device_that_is_not_there_is_refused(shared_toy: Any, prepared: Prepared) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match="no CUDA device"):
        fit_network(shared_toy.config("training.device=cuda"), prepared)


@pytest.mark.parametrize("mechanism", slow_except(["borrow"], ["loss", "gradient", "borrow"]))
def test_adatt_trains_and_leaves_a_network_like_any_other(
    shared_toy: Any, prepared: Prepared, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = fit_network(shared_toy.config("training.epochs=1"), prepared)
    assert plain.result.epochs[0].transfer is None
    config = shared_toy.config(f"adatt.mechanism={mechanism}", "adatt.measure.interval=1")
    fitted = fit_network(config, prepared)
    reported = [epoch.transfer or {} for epoch in fitted.result.epochs]
    assert [seen["phase"] for seen in reported] == ["warmup", "dynamic"]
    assert reported[0]["observations"] == prepared.loaders["train"].num_batches
    assert fitted.network.state_dict().keys() == plain.network.state_dict().keys()
    kept = fitted.result.best_epoch
    assert ("nothing was transferred: the weights that are kept" in caplog.text) == (kept == 0)


def test_one_task_has_nothing_to_transfer(shared_toy: Any, prepared: Prepared) -> None:
    groups = "adatt.prior.groups={a: {tasks: [click, buy], strength: 0.8}}"
    config = shared_toy.config("adatt.mechanism=loss", groups)
    single, narrowed = one_task(config, prepared, "buy")
    assert single.adatt == type(config.adatt)()
    assert contradictions(single) == []
    assert fit_network(single, narrowed).result.epochs[0].transfer is None


def test_the_shuffle_seed_moves_the_order_of_rows_alone(shared_toy: Any) -> None:
    def batches(*overrides: str) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        made = prepare(shared_toy.config("seed=5", *overrides))
        numeric = {s: numbers(next(iter(made.loaders[s].epoch(0)))) for s in made.loaders}
        return numeric, made.rows

    for loading in ("memory", "stream"):
        of = f"data.loading={loading}"
        plain, same, other = (
            batches(of),
            batches(of, "training.shuffle_seed=5"),
            batches(of, "training.shuffle_seed=6"),
        )
        assert plain[1] == same[1] == other[1]
        for split in ("train", "valid", "test"):
            assert torch.equal(plain[0][split], same[0][split])
            assert torch.equal(plain[0][split], other[0][split]) == (split != "train")


def test_the_shuffle_seed_leaves_the_initial_weights(shared_toy: Any) -> None:
    rates = ("training.optimizer.learning_rate=1e-30", "training.tables.learning_rate=1e-30")
    results = []
    for seed in ("null", "6"):
        config = shared_toy.config(f"training.shuffle_seed={seed}", "training.epochs=1", *rates)
        results.append(fit_network(config, prepare(config)).network.state_dict())
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], msg=name)


def test_weights_that_are_not_finite_are_no_model(shared_toy: Any, prepared: Prepared) -> None:
    config = shared_toy.config(
        "training.optimizer.weight_decay=1e18", "training.batch_size=16", "training.epochs=3"
    )
    with pytest.raises(UserError, match=r"training diverged: .* not finite"):
        fit_network(config, prepared)
