"""A new network that starts from a trained one's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recsys_mtl.config import Config, load_config
from recsys_mtl.data.parent import Parent
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.errors import UserError
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.training.optim_state import optimizer_tensors
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring import warm_start
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from recsys_mtl.wiring.trainer import fit_network
from recsys_mtl.wiring.warm_start import Taken, start_from
from tests.toy import Toy, toy_rows

WARM = "training.warm_start.model=parent"


def step_of(config: Config, prepared: Prepared, seed: int) -> TrainingStep:
    torch.manual_seed(seed)
    network = build_network(config, prepared.preprocessor.spec)
    return build_step(config, network, torch.device("cpu"))


def trained_step(config: Config, prepared: Prepared) -> TrainingStep:
    """After two updates, with tables and catalogues that are far from their initial values."""
    step = step_of(config, prepared, seed=1)
    with torch.no_grad():
        for name, weight in step.network.state_dict().items():
            if name.startswith(("embeddings", "items")):
                weight.normal_()
    for number, batch in enumerate(list(prepared.loaders["train"].epoch(0))[:2]):
        step(batch, number)
    return step


@pytest.fixture
def parent(toy: Toy) -> Callable[..., Parent]:
    """Yesterday's model of the toy's rows, after overrides."""

    def made(*overrides: str) -> Parent:
        prepared = prepare(toy.config(*overrides))
        step = trained_step(prepared.config, prepared)
        weights = {name: w.clone() for name, w in step.network.state_dict().items()}
        state = optimizer_tensors(step)
        return Parent(prepared.config, prepared.preprocessor, weights, state, {"model": "parent"})

    return made


def today(toy: Toy, *overrides: str) -> Config:
    """Other rows in another order: a city, an item and movies are new, others are gone."""
    rows = toy_rows(400, seed=8).with_columns(
        pl.col("city").replace("bern", "kyiv"),
        pl.col("item").replace("a", "z"),
        pl.col("age") * 1.7 + 3,
        pl.col("spend") * 9 - 2,
    )
    rows.filter(pl.col("city").is_null() | (pl.col("city") != "rome")).reverse().write_parquet(
        toy.folder / "today.parquet"
    )
    return toy.config("data.path=today.parquet", WARM, *overrides)


def started(
    toy: Toy, parent: Parent, *overrides: str
) -> tuple[Config, Prepared, TrainingStep, Taken]:
    prepared = prepare(today(toy, *overrides), parent=parent)
    config = prepared.config
    step = step_of(config, prepared, seed=2)
    taken = start_from(parent, step, prepared.preprocessor, config.training.warm_start)
    return config, prepared, step, taken


SHARED = (
    "features.twin={kind: categorical, column: city, table: town}",
    "features.city.table=town",
)


@pytest.mark.slow  # two networks and their data each
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.members=3",),
        ("features.city.encoding=hash", "features.city.buckets=7"),
        SHARED,
        ("model.embedding.backend=torchrec",),
        ("features.age.transform=piecewise", "features.income.embedding=linear"),
        ("model.embedding.dim=auto",),
        ("features.seen.kind=sequence", "features.seen.table=movie", "features.city.table=movie"),
        ("model.architecture=stem",),
        ("model.architecture=home",),
    ],
    ids=[
        *("plain", "members", "hashed", "shared", "torchrec", "numbers", "auto", "sequence"),
        *("stem", "home"),
    ],
)
def test_old_ids_are_predicted_as_before(
    toy: Toy, parent: Callable[..., Parent], overrides: tuple[str, ...]
) -> None:
    """Vocabularies are in another order and have grown; no step was trained."""
    old = parent(*overrides)
    config, prepared, step, taken = started(toy, old, *overrides)
    network = build_network(old.config, old.preprocessor.spec)
    network.load_state_dict(dict(old.weights))
    before = Predictor(old.config, old.preprocessor, network)
    after = Predictor(config, prepared.preprocessor, step.network)
    rows = toy.rows()
    expected = before.raw_outputs(before.preprocessor.encode(rows, labels=False))
    outputs = after.raw_outputs(after.preprocessor.encode(rows, labels=False))
    for task, values in expected.items():
        torch.testing.assert_close(outputs[task], values, rtol=0, atol=1e-6)
    ours, theirs = (p.preprocessor.labels["item"].items for p in (after, before))  # type: ignore[attr-defined]
    vectors = {item: step.network.items["i_item"][i] for i, item in enumerate(ours, 1)}
    for index, item in enumerate(theirs, 1):
        assert torch.equal(vectors[item], old.weights["items.i_item"][index])
    assert taken.tables["item"] == {"rows": 6, "taken": 5, "new": 1, "left": 0}
    if not overrides:
        assert prepared.preprocessor.features[2].coder.values[0] != "bern"  # type: ignore[attr-defined]
        assert taken.tables["city"] == {"rows": 6, "taken": 5, "new": 1, "left": 0}
        new = step.network.state_dict()["embeddings.embedding_bags.t_city.weight"]
        assert new.abs().max(1).values.lt(0.1).sum() == 1


@pytest.mark.slow
def test_a_vocabulary_that_is_fitted_anew_loses_what_the_rows_lack(
    toy: Toy, parent: Callable[..., Parent]
) -> None:
    *_, taken = started(toy, parent(), "training.warm_start.vocabulary=refit")
    assert taken.tables["city"] == {"rows": 4, "taken": 3, "new": 1, "left": 2}
    assert taken.tables["item"] == {"rows": 5, "taken": 4, "new": 1, "left": 1}


@pytest.mark.slow
def test_tables_alone_go_into_any_network(toy: Toy, parent: Callable[..., Parent]) -> None:
    old = parent()
    overrides = ("training.warm_start.take=tables", "model.tower.hidden=[9]")
    _, prepared, step, taken = started(toy, old, *overrides)
    assert set(taken.tables) == {"city", "seen"}
    assert taken.weights == 0
    rows = prepared.preprocessor.features[2].coder.same_rows(old.preprocessor.features[2].coder)  # type: ignore[attr-defined]
    name = "embeddings.embedding_bags.t_city.weight"
    known = rows >= 0
    assert torch.equal(step.network.state_dict()[name][known], old.weights[name][rows[known]])
    assert prepared.preprocessor.labels["spend"] != old.preprocessor.labels["spend"]


@pytest.mark.slow  # two networks and their data each
@pytest.mark.parametrize("optimizer", ["adagrad", "rowwise_adagrad", "sgd"])
def test_the_optimizer_goes_on(toy: Toy, parent: Callable[..., Parent], optimizer: str) -> None:
    """Accumulators and moments move with their rows; those of new rows are 0."""
    tables = f"training.tables.name={optimizer}"
    old = parent(tables)
    _, prepared, step, taken = started(toy, old, tables, "training.warm_start.optimizer=kept")
    assert taken.optimizer == "kept"
    state = optimizer_tensors(step)
    assert state.keys() == old.optimizer.keys()
    city = prepared.preprocessor.features[2].coder.same_rows(old.preprocessor.features[2].coder)  # type: ignore[attr-defined]
    for name, tensor in state.items():
        if name == "tables.t_city":
            assert torch.equal(tensor[city >= 0], old.optimizer[name][city[city >= 0]])
            assert not tensor[city < 0].any()
        elif not name.startswith(("tables.", "optimizer.network.items")):
            assert torch.equal(tensor, old.optimizer[name]), name
    without = replace(old, optimizer={})
    assert started(toy, without, tables, "training.warm_start.optimizer=kept")[3].optimizer == (
        "fresh"
    )


@pytest.mark.slow  # a training each
@pytest.mark.parametrize("part", ["tables", "experts"])
def test_frozen_parts_stay(toy: Toy, parent: Callable[..., Parent], part: str) -> None:
    old = parent()
    overrides = (f"training.freeze=[{part}]", "training.epochs=1", "training.batch_size=100")
    prepared = prepare(today(toy, *overrides, "training.averaging=ema"), parent=old)
    fitted = fit_network(prepared.config, prepared)
    prefix = {"tables": "embeddings.", "experts": "ple."}[part]
    assert fitted.taken is not None
    fresh = step_of(prepared.config, prepared, seed=0)
    start_from(old, fresh, prepared.preprocessor, prepared.config.training.warm_start)
    for name, start in fresh.network.state_dict().items():
        same = torch.equal(fitted.network.state_dict()[name], start)
        if name.startswith(prefix):
            known = name in old.weights and start.shape == old.weights[name].shape
            assert same or not known, name
        elif name.startswith(("embeddings.", "towers.")) and start.numel() > 1:
            assert not same, name


@pytest.mark.slow  # two networks and their data each
@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (("features.age.transform=quantile",), r"features\.age: not encoded as in the parent"),
        (
            ("features.day={kind: categorical}", "data.ignore=[customer]"),
            r"features\.day: the parent has no such part",
        ),
        (("tasks.spend.transform=none",), r"tasks\.spend: not encoded as in the parent"),
        (("features.city.dim=8",), r"features\.city: not as wide as in the parent"),
        (("model.tower.hidden=[6]",), "weights of another shape than the parent's"),
        (("model.activation=relu",), r"model\.activation: not the parent's network"),
        (
            ("features.city.encoding=hash", "features.city.buckets=9"),
            r"features\.city: rows that cannot be matched",
        ),
    ],
)
def test_what_does_not_match_is_refused(
    toy: Toy, parent: Callable[..., Parent], overrides: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        started(toy, parent(), *overrides)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["training.freeze=[tables]"], "frozen parts would keep random weights"),
        (["training.warm_start.take=tables"], "take has no effect without warm_start.model"),
        ([WARM, "training.freeze=[experts]", "combiner={name: cagt}"], "combiner reads the tasks'"),
        (
            [WARM, "training.warm_start.take=tables", "training.warm_start.optimizer=kept"],
            "belongs to the other weights",
        ),
    ],
)
def test_contradictions(toy: Toy, overrides: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        load_config(toy.write(toy.document()), overrides)


def test_nothing_starts_from_a_model_that_is_not_loaded(toy: Toy) -> None:
    prepared: Any = prepare(toy.config(WARM))
    with pytest.raises(ValueError, match="not loaded"):
        fit_network(prepared.config, prepared)


def test_a_process_takes_its_own_rows_of_a_sharded_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table, other = "embeddings.embedding_bags.t_city.weight", "items.i_next"
    embeddings = SimpleNamespace(ranges={"t_city": (range(2), range(2, 5))})
    maps = {table: np.array([4, -1, 2, 0, 1]), other: np.arange(3)}
    for rank, rows in enumerate(([4, -1], [2, 0, 1])):
        monkeypatch.setattr(warm_start.parallel, "rank", lambda rank=rank: rank)
        own = warm_start._own_rows(embeddings, maps)
        assert {name: part.tolist() for name, part in own.items()} == {
            table: rows,
            other: [0, 1, 2],
        }
