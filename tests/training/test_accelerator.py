"""A step as it runs on an accelerator, without one."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.data.on_device import HeldLoader
from recsys_mtl.errors import UserError
from recsys_mtl.gradients.cagt import CAGT
from recsys_mtl.gradients.partition import Partition
from recsys_mtl.model import device as devices
from recsys_mtl.model import embeddings_plain
from recsys_mtl.training import trainer
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step, capture_dense, compile_dense
from tests.encoded import data_spec, encoded
from tests.gpu.steps import small_rows
from tests.training.conftest import SPEC, make_config, make_rows
from tests.training.launches import launches, meta

__all__ = ["meta"]
CPU = torch.device("cpu")
SIXTEEN = data_spec(
    numeric=13,
    tables=tuple(TableSpec(f"c{index}", 50, 16) for index in range(26)),
    tasks=tuple(TaskSpec(f"t{index}", "binary", 1, prior=(0.5,)) for index in range(16)),
)


def sixteen_tasks() -> Batch:
    labels = torch.zeros(32, 16)
    labels[::7] = torch.nan
    ids = torch.zeros(32, 26, dtype=torch.int64)
    return encoded(SIXTEEN, numeric=torch.zeros(32, 13), ids=ids, labels=labels)


def config_of_sixteen(**sections: object) -> Config:
    tasks = {task.name: {"kind": "binary"} for task in SIXTEEN.tasks}
    model = {
        "embedding": {"dim": 16, "backend": "plain"},
        "shared_experts": [{"kind": "mlp", "count": 4, "hidden": [32, 16]}],
        "task_experts": [{"kind": "mlp", "count": 1, "hidden": [32, 16]}],
        "tower": {"hidden": [16, 8]},
        "dropout": 0.1,
        "tower_dropout": 0.1,
    }
    return make_config(tasks=tasks, model=model, **sections)


def step_of(config: Config, spec=SPEC, device: torch.device = CPU) -> TrainingStep:
    torch.manual_seed(3)
    network = build_network(config, spec, device=device)
    network.train()
    return build_step(config, network, device)


@pytest.mark.parametrize(("combiner", "most"), [("sum", 200), ("cagt", 500)])
@pytest.mark.parametrize("all_rows", [True, False])  # of tables are updated
def test_a_step_neither_waits_nor_launches_much(
    meta: torch.device,
    combiner: str,
    most: int,
    all_rows: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embeddings_plain, "_all_at_once", lambda *_: all_rows)
    config = config_of_sixteen(combiner={"name": combiner})
    step, batch = step_of(config, SIXTEEN, meta), sixteen_tasks().to(meta)
    counts = launches(lambda number: step(batch, number))
    assert counts.total() <= most, (counts.total(), counts.most_common())


def test_a_batch_of_rows_held_there_neither_waits_nor_is_copied(meta: torch.device) -> None:
    """`Launches` refuses a copy between devices, lists included."""
    loader = MemoryLoader(small_rows(0), batch_size=16, shuffle=True, seed=0)
    batches = HeldLoader(loader, meta).epoch(0)
    counts = launches(lambda _: next(batches))
    assert counts["repeat_interleave"] == 1
    assert counts.total() <= 16, counts.most_common()


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that do everything as on an accelerator."""
    monkeypatch.setattr(devices, "LOOPING", frozenset())
    for module in (
        "model.grouped",
        "model.towers",
        "gradients.output_gradients",
        "gradients.combiner",
        "training.shared_gradients",
    ):
        monkeypatch.setattr(sys.modules[f"recsys_mtl.{module}"], "LOOPING", frozenset())


def state(step: TrainingStep) -> dict[str, Tensor]:
    live = step.network.state_dict() | step.network.embeddings.accumulators()
    return {n: t.clone() for n, t in live.items()}


SECTIONS = [
    {},
    {"balancing": {"name": "uncertainty"}},
    {"balancing": {"name": "gradnorm"}},
    {"combiner": {"name": "cagt"}},
    {"training": {"tables": {"weight_decay": 0.5}}},
]


@pytest.mark.parametrize("sections", SECTIONS)
def test_batched_products_give_the_same_step(sections, request: pytest.FixtureRequest) -> None:
    rows = make_rows(40)
    looping = step_of(make_config(**sections))
    looping(rows), looping(rows)
    request.getfixturevalue("unread")
    batched = step_of(make_config(**sections))
    batched.waits = False
    batched(rows), batched(rows)
    for name, value in state(batched).items():
        torch.testing.assert_close(value, state(looping)[name], atol=2e-6, rtol=1e-5), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # within torch
@pytest.mark.parametrize(
    ("compiling", "sections"),
    [(compile_dense, {}), (compile_dense, {"combiner": {"name": "cagt"}}), (capture_dense, {})],
)
def test_a_compiled_step_is_the_same(compiling, sections) -> None:
    rows = make_rows(40)
    plain, compiled = step_of(make_config(**sections)), step_of(make_config(**sections))
    compiling(compiled.network, backend="aot_eager")  # the graphs alone: no C++ is compiled
    for step in (plain, compiled):
        step(rows, 0), step(rows, 1)
    assert compiled.network.state_dict().keys() == plain.network.state_dict().keys()
    for name, value in state(compiled).items():
        torch.testing.assert_close(value, state(plain)[name], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("step", [0, 700, 3000])
@pytest.mark.parametrize("present", [0b1111, 0b1011, 0b0100, 0])
@pytest.mark.parametrize("options", [{}, {"attention": "euclidean"}, {"preserve_norm": True}])
def test_cagt_by_masks_is_cagt_of_the_present_tasks(step: int, present: int, options) -> None:
    combiner = CAGT(4, Partition.each([5, 7]), threshold=0.1, **options)
    here = torch.tensor([bool(present >> task & 1) for task in range(4)])
    generator = torch.Generator().manual_seed(step)
    rows = [torch.randn(4, d, generator=generator) * here.unsqueeze(1) for d in (5, 7)]
    want, tasks = torch.zeros(2, 4, dtype=torch.float64), here.nonzero().squeeze(1)
    if present:
        grams = combiner.partition.grams([part[tasks] for part in rows])
        want[:, tasks] = combiner.weights(grams, tasks=tasks, step=step)
    grams = combiner.partition.grams(rows).double()
    torch.testing.assert_close(
        combiner.weights_on_device(grams, here, step=step), want, atol=1e-6, rtol=1e-5
    )


def infinite(rows: Batch) -> Batch:
    labels = rows.labels.clone()
    labels[1::8, 2] = torch.inf
    return replace(rows, labels=labels)


@pytest.mark.parametrize("sections", SECTIONS)
def test_a_bad_batch_that_nobody_sees_changes_nothing(sections) -> None:
    rows = make_rows(40)
    step, reading = step_of(make_config(**sections)), step_of(make_config(**sections))
    step.waits = False
    for other in (step, reading):
        other(rows)
    before = state(step)
    result = step(infinite(rows))
    assert isinstance(result.updated, Tensor)
    assert not result.updated
    assert result.bad_tasks == (2,)
    assert all(torch.equal(value, before[name]) for name, value in state(step).items())
    for other in (step, reading):
        assert other(rows).updated
    assert all(torch.equal(value, state(reading)[name]) for name, value in state(step).items())


def test_skips_are_counted_where_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_READ_EVERY", 3)
    trained = _trainer(make_rows(40), waits=False)
    with pytest.raises(UserError, match="the loss of value is not finite, 2 batches in a row"):
        trained.fit()
    assert trained.steps == 3


def test_late_reading_changes_no_number() -> None:
    late, soon = (_trainer(make_rows(24), waits=waits, bad=False) for waits in (False, True))
    (of_late,), (of_soon,) = late.fit().epochs, soon.fit().epochs
    assert replace(of_late, seconds=0.0) == replace(of_soon, seconds=0.0)


def _trainer(rows: Batch, *, waits: bool, bad: bool = True) -> trainer.Trainer:
    from recsys_mtl.training import TrainingPlan, Validation

    step = step_of(make_config())
    step.waits = waits
    plan = TrainingPlan(1, "constant", 0.0, False, None, 0.0, True, 2)
    loader = MemoryLoader(infinite(rows) if bad else rows, batch_size=8, shuffle=False, seed=0)
    return trainer.Trainer(step, loader, lambda epoch: Validation(), plan)
