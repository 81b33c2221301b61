"""A stored training that is loaded into fresh objects ends as one that was never stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
import safetensors.torch
import torch

from recsys_mtl import parallel
from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.lanes import BlockedRows, LaneLoader
from recsys_mtl.data.loader import Loader, MemoryLoader
from recsys_mtl.data.unknown import UnknownDropout
from recsys_mtl.training import Trainer, TrainingResult, TrainingState, Validation
from recsys_mtl.training.evaluate import Evaluator, mean_loss
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_losses, build_plan, build_step
from tests.marks import slow_except

EPOCHS, STEPS = 4, 3
Position = tuple[int, int]

# adaTT: one epoch of warm-up, frozen in the last of four
PHASES = {"warmup_epochs": 1, "freeze_epoch": 3}


def adatt(mechanism: str, measure: str = "logit_correlation", **keys: Any) -> dict[str, Any]:
    every_other = {"name": measure, "interval": 2}
    return {"adatt": {"mechanism": mechanism, **PHASES, "measure": every_other, **keys}}


def balancing(name: str) -> dict[str, Any]:
    return {"balancing": {"name": name}}


def combiner(name: str, **keys: Any) -> dict[str, Any]:
    return {"combiner": {"name": name, **keys}}


def tables(name: str) -> dict[str, Any]:
    return {"tables": {"name": name, "learning_rate": 0.05}}


TORCHREC = {"backend": "torchrec"}
# name -> sections, keys of `training`, keys of `model.embedding`
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {}),
    "torchrec": ({}, {}, TORCHREC),
    "gradient, gates frozen": (adatt("gradient", freeze_gates=True), {}, TORCHREC),
    "loss, gradnorm": (adatt("loss", "gradient_cosine") | balancing("gradnorm"), {}, {}),
    "loss, averaged gradient": (adatt("loss", "averaged_gradient"), {}, {}),
    "loss, cagt, uncertainty": (
        adatt("loss") | combiner("cagt") | balancing("uncertainty"),
        {},
        TORCHREC,
    ),
    "borrow, measured": (adatt("borrow"), {}, {}),
    "borrow, uniform, famo, gates frozen": (
        adatt("borrow", borrow={"donors": "uniform"}, freeze_gates=True) | balancing("famo"),
        {},
        {},
    ),
    "gradient, mgda, imtl_l": (
        adatt("gradient") | combiner("mgda") | balancing("imtl_l"),
        {},
        {},
    ),
    "graddrop, dwa": (combiner("graddrop") | balancing("dwa"), {}, {}),
    "stch, sgd": (balancing("stch"), tables("sgd"), {}),
    "stch, sgd, torchrec": (balancing("stch"), tables("sgd"), TORCHREC),
    "cagrad, adagrad": (combiner("cagrad"), tables("adagrad"), {}),
    "cagrad, adagrad, torchrec": (combiner("cagrad"), tables("adagrad"), TORCHREC),
    "gradvac, diagnostics": (combiner("gradvac", diagnostics=2), {}, {}),
    "pcgrad by expert": (combiner("pcgrad", block="expert"), {}, {}),
    "sum, diagnostics": (combiner("sum", diagnostics=2) | balancing("dwa"), {}, {}),
    "bf16, famo": (balancing("famo"), {"precision": "bf16"}, {}),
    "fp16, cagt": (combiner("cagt"), {"precision": "fp16"}, {}),  # a CPU does it slowly
    "ema": ({}, {"averaging": "ema"}, {}),
    "swa, torchrec": ({}, {"averaging": {"name": "swa", "start": 0.3}}, TORCHREC),
    "unknown dropout": ({}, {"tables": {"weight_decay": 0.1}}, TORCHREC),
    "last weights": ({}, {"early_stopping": {"patience": None, "keep": "last"}}, {}),
}
QUICK = (
    "plain",
    "cagrad, adagrad, torchrec",
)
POSITIONS: tuple[Position, ...] = ((0, 2), (2, 0), (2, 3), (3, 1), (4, 0))
"""(epoch, batches of it): in its middle, after its evaluation, after its last batch."""


def loader_of(rows: Batch, stream: bool) -> Loader:
    size = -(-rows.num_rows // STEPS)
    if not stream:
        return MemoryLoader(rows, batch_size=size, shuffle=True, seed=4)

    numbers = pl.DataFrame({"row": range(rows.num_rows)})
    blocks = BlockedRows(
        [min(9, rows.num_rows - first) for first in range(0, rows.num_rows, 9)],
        lambda block: iter([numbers.slice(9 * block, 9)]),
        lambda frame: rows.select(frame["row"].to_torch()),
    )
    return LaneLoader(blocks, batch_size=size, shuffle_buffer=2 * size, seed=4)


Make = Callable[..., Trainer]


@pytest.fixture
def make(config_of: Callable[..., Config], spec: DataSpec, rows_of: Callable[..., Batch]) -> Make:
    """A trainer of a case, made anew from another state of the random numbers each time."""
    made = [0]

    def go(case: str = "plain", *, stream: bool = False, rows: Batch | None = None) -> Trainer:
        sections, training, embedding = CASES[case]
        config = config_of(
            training={"epochs": EPOCHS, "early_stopping": {"patience": None}, **training},
            **sections,
        )
        model = config.model.model_dump(exclude_unset=True) | {"dropout": 0.2}
        model["embedding"] |= embedding
        config = config.model_copy(update={"model": type(config.model).model_validate(model)})
        made[0] += 1
        torch.manual_seed(made[0])
        step = build_step(config, build_network(config, spec), torch.device("cpu"))
        evaluator = Evaluator(
            tasks=spec.tasks,
            losses=build_losses(config),
            inverse={},
            precision=config.training.precision,
            calibration_bins=5,
            top_k=(1,),
        )
        held_out = MemoryLoader(rows_of(21, seed=7), batch_size=8, shuffle=False, seed=0)

        def validate(epoch: int) -> Validation:
            seen = evaluator(step.network, held_out)
            loss = mean_loss(seen.losses, dict.fromkeys(seen.losses, 1.0))
            return Validation(loss, seen.losses, seen.metrics, seen.gates)

        few = rows_of(40)
        few.labels[6:, 2] = torch.nan  # so few values that its task borrows
        plan = build_plan(config)
        loader = loader_of(few if rows is None else rows, stream)
        if case == "unknown dropout":
            rates = {table.name: torch.full((table.rows,), 0.3) for table in spec.tables}
            loader = UnknownDropout(loader, rates)
        return Trainer(step, loader, validate, plan)

    return go


def held(trainer: Trainer) -> TrainingState:
    """A copy of the state, its values as JSON."""
    state = trainer.state_dict()
    return {
        "tensors": {name: value.clone() for name, value in state["tensors"].items()},
        "values": json.loads(json.dumps(state["values"], allow_nan=False)),
    }


def stored(trainer: Trainer) -> TrainingState:
    """The state as files would hold it: tensors as safetensors, which is slow for so many."""
    state = held(trainer)
    tensors = safetensors.torch.load(safetensors.torch.save(state["tensors"]))
    return {"tensors": tensors, "values": state["values"]}


class EnoughError(Exception):
    """As many states are stored as were asked for."""


def watched(
    trainer: Trainer, kept: Callable[[Trainer], TrainingState], most: int | None = None
) -> dict[Position, TrainingState]:
    """Gets the state after every batch and every epoch; `most` states end the training."""
    states: dict[Position, TrainingState] = {}

    def store(*_: object) -> None:
        state = kept(trainer)
        running = state["values"]["running"]
        states[running["number"], running["batch"]] = state
        if len(states) == most:
            raise EnoughError

    trainer._on_step = trainer._on_epoch = store
    return states


def train(
    trainer: Trainer, kept: Callable[[Trainer], TrainingState] = stored
) -> tuple[TrainingResult, dict[Position, TrainingState]]:
    """Train to the end; the states on the way."""
    states = watched(trainer, kept)
    return trainer.fit(), states


def without_clock(state: TrainingState) -> dict[str, Any]:
    values = json.loads(json.dumps(state["values"]))
    for clocked in (values["running"], *values["history"]):
        del clocked["seconds"]
    return {"values": values, "tensors": state["tensors"]}


def assert_same(state: TrainingState, expected: TrainingState) -> None:
    actual, wanted = without_clock(state), without_clock(expected)
    assert actual["values"] == wanted["values"]
    assert actual["tensors"].keys() == wanted["tensors"].keys()
    for name, value in wanted["tensors"].items():
        assert torch.equal(actual["tensors"][name], value), name


def assert_same_result(result: TrainingResult, expected: TrainingResult) -> None:
    def timeless(one: TrainingResult) -> TrainingResult:
        return replace(one, epochs=tuple(replace(epoch, seconds=0.0) for epoch in one.epochs))

    assert timeless(result) == timeless(expected)


def check(make: Make, case: str, stream: bool, positions: Iterable[Position]) -> None:
    """Resume from each position in fresh objects; the ends have to be equal."""
    straight = make(case, stream=stream)
    result, states = train(straight)
    assert len(states) == EPOCHS * (STEPS + 1)
    weights = {name: value.clone() for name, value in straight.step.network.state_dict().items()}
    for position in positions:
        again = make(case, stream=stream)
        again.load_state_dict(states[position])
        assert_same(held(again), states[position])
        resumed, later = train(again, held)
        assert list(later) == [at for at in states if at > position], position
        for at, state in later.items():
            assert_same(state, states[at])
        assert_same_result(resumed, result)
        for name, value in again.step.network.state_dict().items():
            assert torch.equal(value, weights[name]), (position, name)


@pytest.mark.parametrize("case", QUICK)
def test_a_stored_training_ends_as_one_that_was_not(make: Make, case: str) -> None:
    check(make, case, list(CASES).index(case) % 2 == 1, POSITIONS[:1])


@pytest.mark.slow
@pytest.mark.parametrize("case", QUICK)
@pytest.mark.parametrize("stream", [False, True])
def test_it_ends_so_from_every_kind_of_position(make: Make, case: str, stream: bool) -> None:
    check(make, case, stream, POSITIONS)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_training_resumes_from_anywhere(make: Make, case: str) -> None:
    """The next two states are the same, so all later ones are; above all are compared."""
    stream = list(CASES).index(case) % 2 == 0
    result, states = train(make(case, stream=stream))
    positions = [*states]
    for number, position in enumerate(positions):
        again = make(case, stream=stream)
        again.load_state_dict(states[position])
        assert_same(held(again), states[position])
        later = watched(again, held, most=2)
        try:
            assert_same_result(again.fit(), result)
        except EnoughError:
            assert len(later) == 2
        assert [*later] == positions[number + 1 : number + 3]
        for at, state in later.items():
            assert_same(state, states[at])


@pytest.mark.parametrize("stream", slow_except([False], [False, True]))
def test_skipped_batches_are_part_of_the_state(
    make: Make, rows_of: Callable[..., Batch], stream: bool
) -> None:
    rows = rows_of(40)
    rows.labels[5, 2] = torch.inf
    result, states = train(make("graddrop, dwa", stream=stream, rows=rows))
    assert [epoch.skipped for epoch in result.epochs] == [1] * EPOCHS
    for position in POSITIONS:
        again = make("graddrop, dwa", stream=stream, rows=rows)
        again.load_state_dict(states[position])
        assert_same_result(again.fit(), result)


@pytest.mark.slow  # three trainings
def test_a_training_may_be_loaded_over_another(make: Make) -> None:
    """Into a trainer that has moments, best weights and epochs of its own already."""
    case = "borrow, uniform, famo, gates frozen"
    result, states = train(make(case))
    used = make(case)
    train(used)
    for position in ((3, 1), (0, 1)):
        used.load_state_dict(states[position])
        assert_same(stored(used), states[position])
        assert_same_result(used.fit(), result)


def test_a_reader_may_fill_the_live_tensors_in_place(make: Make) -> None:
    """As torch.distributed.checkpoint does, which never holds a second copy of the tables."""
    case = "loss, cagt, uncertainty"
    result, states = train(make(case))
    again = make(case)
    state = states[2, 1]
    live = again.reserve(state["values"])
    assert live.keys() == state["tensors"].keys()
    for name, tensor in live.items():
        tensor.copy_(state["tensors"][name])
    again.load_state_dict({"tensors": live, "values": state["values"]})
    assert_same(stored(again), state)
    assert_same_result(again.fit(), result)


@pytest.mark.slow  # two trainings
def test_only_what_has_had_a_gradient_has_moments(make: Make) -> None:
    """The heads of borrowing have none before the warm-up's end, and none after loading either."""
    case = "borrow, uniform, famo, gates frozen"
    _, states = train(make(case))
    assert "transfer.head" not in states[0, 1]["values"]["optimizer"]
    assert "transfer.head" in states[1, 1]["values"]["optimizer"]
    used = make(case)
    train(used)
    used.load_state_dict(states[0, 1])
    optimizer = used.step.optimizer
    assert used.step.transfer is not None
    assert used.step.transfer.get_parameter("head") not in optimizer.state


def test_making_moments_moves_nothing(make: Make) -> None:
    _, states = train(make())
    fresh = make()
    before = stored(fresh)["tensors"]
    fresh.reserve(states[1, 0]["values"])
    after = fresh.state_dict()["tensors"]
    assert len(after) > len(before)
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    assert [group["lr"] for group in fresh.step.optimizer.param_groups] == [1e-3, 1e-3]
    assert all(p.grad is None for p in fresh.step.network.dense_parameters())


def test_storing_changes_nothing(make: Make) -> None:
    unstored, twin = make("graddrop, dwa"), make("graddrop, dwa")
    beginning = stored(unstored)
    result = unstored.fit()
    twin.load_state_dict(beginning)
    assert_same_result(train(twin)[0], result)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("plain", "1 parts differ .* transfer: expected none, found a part"),
        ("loss, averaged gradient", "the first is balancer.gradnorm.first_losses: expected none"),
    ],
)
def test_the_state_of_another_training_is_refused(make: Make, case: str, message: str) -> None:
    state = stored(make("loss, gradnorm"))
    other = make(case)
    before = stored(other)
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)
    assert_same(stored(other), before)


def test_a_process_takes_its_own_random_numbers_or_new_ones(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = stored(make())
    tensors = {**own["tensors"], "rng.rank-1.cpu": _seeded(9).get_state()}
    draws = []
    for rank in (0, 1, 2, 2):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        make().load_state_dict({**own, "tensors": tensors})
        draws.append(torch.rand(1).item())
    torch.set_rng_state(own["tensors"]["rng.rank-0.cpu"])
    assert draws[:2] == [torch.rand(1).item(), torch.rand(1, generator=_seeded(9)).item()]
    assert draws[2] == draws[3]
    assert len(set(draws)) == 3


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
