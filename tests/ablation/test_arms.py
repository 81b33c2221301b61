from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from data_synth import load_plan
from data_synth.train_config import train_config
from recsys_mtl.ablation.arms import READY, Known, changed
from recsys_mtl.adatt import donors
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config import Config, config_from_yaml, dump_config
from recsys_mtl.config.flat import flat
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.prepare import prepare
from recsys_mtl.errors import UserError
from recsys_mtl.gradients import COMBINERS
from recsys_mtl.runs.compare_baselines import as_shared_bottom
from recsys_mtl.training.all_rows import AllRows
from recsys_mtl.training.transfer import StepView
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec, encoded, numbers

BORROW = {"adatt.mechanism": "borrow"}
MEASURE = {"adatt.mechanism": "loss", "adatt.strength": 0.0}
CHANGES: dict[str, dict[str, Any]] = {
    "off": {},
    "single_task": {},
    "published": {"adatt.mechanism": "loss", "adatt.masking": "zero_logit"},
    "exact_masking": {"adatt.mechanism": "loss"},
    "gradient": {"adatt.mechanism": "gradient", "adatt.measure.scope": "expert"},
    "losses_x1.1": {
        "adatt.mechanism": "loss",
        "adatt.temperature": 1e6,
        "adatt.threshold": -1.0,
        "adatt.max_ratio": None,
        "adatt.learn_weights": False,
        "adatt.prior.start": 0.0,
        "adatt.prior.end": 0.0,
    },
    "borrow": BORROW,
    "borrow_rare": BORROW | {"adatt.borrow.scarce": "rare"},
    "borrow_uniform": BORROW | {"adatt.borrow.donors": "uniform"},
    "measure_cosine": MEASURE,
    "measure_cosine_debiased": MEASURE | {"adatt.measure.debias": True},
    "measure_logits": MEASURE | {"adatt.measure.name": "logit_correlation"},
    "measure_averaged": MEASURE | {"adatt.measure.name": "averaged_gradient"},
}


@cache
def config_of(preset: str, *overrides: str) -> Config:
    text = train_config(load_plan(preset))
    return config_from_yaml(text, where="test", overrides=("adatt.mechanism=loss", *overrides))


@cache
def known_of(preset: str) -> Known:
    """Labels as planned for 10,000 rows, and the planned relation."""
    plan = load_plan(preset)
    names = list(plan.tasks)
    shares = [getattr(task, "labelled", 1.0) for task in plan.tasks.values()]
    shares = [1.0 if share is None else share for share in shares]
    value = {name: dict.fromkeys(names, 0.0) | {name: 1.0} for name in names}
    for pair in plan.relations.exceptions:
        a, b = pair.between
        if a in value and b in value:
            value[a][b] = value[b][a] = pair.value
    labels = dict(zip(names, (int(10_000 * s) for s in shares), strict=True))
    return Known(labels, value)


def differences(config: Config, arm: Config) -> dict[str, Any]:
    """Path -> value of the arm, where it is another one than that of `off`."""
    before = flat(READY["off"](config, Known({}, {})).model_dump())
    after = flat(arm.model_dump())
    return {
        path: after.get(path)
        for path in {**before, **after}
        if before.get(path, "none") != after.get(path, "none")
    }


@pytest.mark.parametrize("preset", ["scarce", "bank16"])
@pytest.mark.parametrize("name", READY)
def test_every_ready_arm_is_a_valid_config(name: str, preset: str) -> None:
    config, known = config_of(preset), known_of(preset)
    arm = READY[name](config, known)
    assert changed(arm, [], name) == arm
    assert arm.data == config.data
    assert arm.seed == config.seed
    assert list(arm.tasks) == list(config.tasks)


@pytest.mark.parametrize("name", CHANGES)
def test_an_arm_changes_what_it_should_and_nothing_else(name: str) -> None:
    config = config_of("scarce")
    assert differences(config, READY[name](config, known_of("scarce"))) == CHANGES[name]


def test_every_ready_arm_is_looked_at_here() -> None:
    others = {
        *("noise_floor", "rate_x1.25", "count", "more_experts", "shared_bottom", "borrow_planted"),
        *("published_favoured", "single_task_large"),
        *(*COMBINERS, "cagt_expert", "gradnorm"),
        *("ple", "mmoe", "aitm", "pepnet", "home", "stem"),
    }
    assert {*CHANGES, *others} == READY.keys()


@pytest.mark.parametrize("name", [*COMBINERS, "cagt_expert", "gradnorm"])
def test_an_arm_of_a_combiner_changes_that_and_nothing_else(name: str) -> None:
    config = config_of("scarce", "combiner.name=mgda")
    arm = READY[name](config, known_of("scarce"))
    changes = {path.partition(".")[0] for path in differences(config, arm)}
    if name == "gradnorm":
        assert changes == {"balancing"}
        assert arm.balancing.name == "gradnorm"
    else:
        assert changes == (set() if name == "mgda" else {"combiner"})
        assert arm.combiner.name == name.removesuffix("_expert")
        assert arm.combiner.block == ("expert" if name == "cagt_expert" else None)


def test_off_is_off_whatever_the_base_config_has() -> None:
    config = config_of("scarce")
    off = READY["off"](config, Known({}, {}))
    assert config.adatt.mechanism == "loss"
    assert off.adatt.mechanism == "off"
    assert off.model_copy(update={"adatt": config.adatt}) == config


def test_an_arm_has_its_settings_whatever_the_base_config_has() -> None:
    chosen = ("adatt.measure.name=logit_correlation", "adatt.strength=0.3", "adatt.temperature=2.0")
    config, plain = config_of("scarce", *chosen), config_of("scarce")
    known = known_of("scarce")
    for name in ("published", "measure_cosine", "gradient", "losses_x1.1", "borrow"):
        assert READY[name](config, known).adatt == READY[name](plain, known).adatt, name


def test_of_the_base_it_keeps_the_time_the_prior_and_how_often_it_measures() -> None:
    groups = "adatt.prior.groups={g: {tasks: [click, cart], strength: 0.5}}"
    kept = ("adatt.measure.interval=3", "adatt.borrow.strength=9.0", "adatt.freeze_epoch=9", groups)
    arm = READY["borrow_uniform"](config_of("scarce", *kept), known_of("scarce")).adatt
    assert arm.measure.interval == 3
    assert arm.borrow.strength == 9.0
    assert arm.freeze_epoch == 9
    assert arm.prior.groups["g"].tasks == ["click", "cart"]


def test_the_favoured_arm_has_the_groups_and_measures_all_the_time() -> None:
    known = replace(known_of("scarce"), groups={"buying": ["click", "cart"]})
    changes = differences(
        config_of("scarce"), READY["published_favoured"](config_of("scarce"), known)
    )
    assert changes.pop("adatt.prior.groups.buying.tasks") == ["click", "cart"]
    assert changes == {
        "adatt.mechanism": "loss",
        "adatt.masking": "zero_logit",
        "adatt.measure.interval": 1,
        "adatt.measure.rows": None,
        "adatt.prior.groups": None,
        "adatt.prior.groups.buying.strength": 0.7,
    }


@pytest.mark.parametrize("name", ["ple", "aitm", "pepnet", "home", "stem"])
def test_an_arm_of_an_architecture_changes_that_and_the_planned_groups(name: str) -> None:
    config = config_of("scarce", "model.architecture=mmoe", "model.task_experts=[{kind: mlp}]")
    arm = READY[name](config, replace(known_of("scarce"), groups={"buying": ["click", "cart"]}))
    assert arm.model.architecture.name == name
    assert arm.adatt.prior.groups["buying"].tasks == ["click", "cart"]
    same = {"architecture": config.model.architecture}
    assert arm.model.model_copy(update=same) == config.model


def test_large_single_tasks_have_all_experts() -> None:
    config = config_of("scarce")
    changes = differences(config, READY["single_task_large"](config, known_of("scarce")))
    assert [*changes] == ["model.task_experts"]
    assert [expert["count"] for expert in changes["model.task_experts"]] == [8]


def test_rates_and_experts_are_multiplied() -> None:
    config, known = config_of("scarce"), known_of("scarce")
    assert differences(config, READY["rate_x1.25"](config, known)) == {
        "training.optimizer.learning_rate": pytest.approx(1.25e-3),
        "training.tables.learning_rate": pytest.approx(0.025),
    }
    wider = differences(config, READY["more_experts"](config, known))
    assert [*wider] == ["model.shared_experts"]
    assert [expert["count"] for expert in wider["model.shared_experts"]] == [4]


def test_mmoe_shares_the_experts_that_a_task_mixes() -> None:
    config = config_of("scarce")
    arm = READY["mmoe"](config, known_of("scarce"))
    config_from_yaml(dump_config(arm), where="arm")  # which has no task experts
    assert arm.model.architecture.name == "mmoe"
    assert arm.model.shared_experts == [*config.model.shared_experts, *config.model.task_experts]


def test_shared_bottom_is_that_of_the_baselines() -> None:
    config = config_of("scarce")
    arm = READY["shared_bottom"](config, known_of("scarce"))
    assert arm == as_shared_bottom(config)
    assert arm.adatt.mechanism == "off"


def test_count_weights_are_roots_of_the_labels_with_mean_1() -> None:
    config, known = config_of("scarce"), known_of("scarce")
    arm = READY["count"](config, known)
    weights = {name: task.weight for name, task in arm.tasks.items()}
    assert {*differences(config, arm)} == {f"tasks.{name}.weight" for name in weights}
    assert np.mean([*weights.values()]) == pytest.approx(1.0)
    for name in weights:
        ratio = np.sqrt(known.labelled[name] / known.labelled["click"])
        assert weights[name] / weights["click"] == pytest.approx(ratio)
    zeros = dict.fromkeys(weights, 0)
    nothing = READY["count"](config, Known(zeros, {}))
    assert {task.weight for task in nothing.tasks.values()} == {1.0}


def test_planted_donors_are_the_planted_relatives() -> None:
    config, known = config_of("scarce_pairs"), known_of("scarce_pairs")
    arm = READY["borrow_planted"](config, known)
    pairs = {
        "purchase": "click", "complaint": "cart", "churn": "revisit", "dwell": "spend",
    }  # fmt: skip
    chosen = arm.adatt.borrow.donors
    assert isinstance(chosen, dict)
    for scarce, relative in pairs.items():
        assert chosen[scarce] == [relative]
        assert chosen[relative] == [scarce]  # it has labels enough and receives nothing
    assert {path for path in differences(config, arm) if "donors" not in path} == {*BORROW}


def test_planted_donors_are_chosen_as_measured_ones(rng: np.random.Generator) -> None:
    config = config_of("scarce")
    names = [*config.tasks]
    affinity = np.triu(rng.uniform(-1, 1, (8, 8)), 1)
    affinity += affinity.T + np.eye(8)
    affinity[0, 1:] = affinity[1:, 0] = 0.1  # the first has no relative
    relation = {a: dict(zip(names, affinity[i].tolist(), strict=True)) for i, a in enumerate(names)}
    planted = READY["borrow_planted"](config, Known({}, relation)).adatt.borrow.donors
    assert isinstance(planted, dict)
    for i, name in enumerate(names):
        alone = torch.arange(8) == i
        labels = torch.where(alone, 1.0, 9.0)  # all others have more labels
        row = donors(torch.tensor(affinity), labels, alone)[i]
        assert planted[name] == [names[j] for j in torch.nonzero(row).flatten().tolist()]
    assert planted[names[0]] == []


def test_items_lend_to_nobody() -> None:
    config, known = config_of("bank16"), known_of("bank16")
    assert known.relation["spending_category"]["brand_prediction"] == 0.65
    chosen = READY["borrow_planted"](config, known).adatt.borrow.donors
    assert isinstance(chosen, dict)
    assert chosen["brand_prediction"] == ["spending_category"]
    assert chosen["spending_category"] == ["nba"]


def test_planted_donors_need_known_relations() -> None:
    with pytest.raises(UserError, match="needs rows whose relations are known"):
        READY["borrow_planted"](config_of("scarce"), Known({}, {}))


def tiny(**weights: float) -> Config:
    """Three tasks on one number."""
    tasks: dict[str, Any] = {
        "click": {"kind": "binary"},
        "stage": {"kind": "multiclass", "classes": ["a", "b", "c"]},
        "spend": {"kind": "regression"},
    }
    for name, weight in weights.items():
        tasks[name]["weight"] = weight
    return Config.model_validate(
        {
            "name": "tiny",
            "data": {"path": "unused"},
            "features": {"x": {"kind": "numeric"}},
            "tasks": tasks,
            "model": {"embedding": {"backend": "plain"}},
        }
    )


SPEC = data_spec(
    numeric=2,
    tasks=(
        TaskSpec("click", "binary", 1),
        TaskSpec("stage", "multiclass", 3),
        TaskSpec("spend", "regression", 1),
    ),
)


def batch_of(rng: np.random.Generator, rows: int = 64) -> Batch:
    labels = [rng.integers(0, 2, rows), rng.integers(0, 3, rows), rng.normal(size=rows)]
    return encoded(
        SPEC,
        numeric=torch.tensor(rng.normal(size=(rows, 2)), dtype=torch.float32),
        labels=torch.tensor(np.stack(labels, 1), dtype=torch.float32),
    )


def total_of(config: Config, batch: Batch, epoch: int) -> float:
    """The total loss of one batch for initial weights."""
    torch.manual_seed(0)
    step = build_step(config, build_network(config, SPEC), torch.device("cpu"))
    step.start_epoch(epoch)
    step.network.train()
    torch.manual_seed(1)  # of the dropout
    embedded = step.network.embed(batch)
    if step.transfer is not None:
        state = torch.get_rng_state()
        step.transfer.before(batch, embedded, torch.ones(3, dtype=torch.bool))
        torch.set_rng_state(state)
    outputs = step.network.forward_from(embedded, batch)
    every = AllRows.of(step.losses, batch)
    losses, counts = step._losses(outputs, embedded, batch, every)
    total = step.balancer.total(losses, counts > 0)
    if step.transfer is not None:
        view = StepView(batch, outputs, losses, counts > 0, step.balancer)
        terms = step.transfer.task_terms(view)
        total = total if terms is None else total + terms.sum()
    return float(total.detach())


@pytest.mark.parametrize("weights", [{}, {"click": 3.0, "spend": 0.5}])
def test_losses_x11_are_11_tenths_after_the_warm_up(
    weights: dict[str, float], rng: np.random.Generator
) -> None:
    config, batch = tiny(**weights), batch_of(rng)
    off = READY["off"](config, Known({}, {}))
    more = READY["losses_x1.1"](config, Known({}, {}))
    plain = total_of(off, batch, 0)
    assert total_of(more, batch, 0) == plain  # the warm-up measures only
    for epoch in (1, 3, 8):  # adapting, and frozen
        # Affinities are at most 2 apart, so at temperature 1e6 weights are equal to 2e-6.
        assert total_of(more, batch, epoch) == pytest.approx(1.1 * plain, rel=1e-6)


def test_the_noise_floor_is_another_order_of_the_same_rows(toy: Any) -> None:
    config = toy.config()
    arm = READY["noise_floor"](config, Known({}, {}))
    assert differences(config, arm) == {"training.shuffle_seed": config.seed + 1_000_003}
    usual, other = prepare(config), prepare(arm)
    assert usual.rows == other.rows
    for split in ("train", "valid", "test"):
        a, b = (rows_of(p.loaders[split]) for p in (usual, other))
        assert torch.equal(a, b) == (split != "train")
        assert torch.equal(sorted_rows(a), sorted_rows(b))
    networks = []
    for one, prepared in ((config, usual), (arm, other)):
        torch.manual_seed(one.seed)
        networks.append(build_network(one, prepared.preprocessor.spec).state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def rows_of(loader: Any) -> torch.Tensor:
    return torch.cat([numbers(batch) for batch in loader.epoch(0)])


def sorted_rows(rows: torch.Tensor) -> torch.Tensor:
    order = np.lexsort(rows.numpy().T)
    return rows[torch.from_numpy(order)]


def test_a_wrong_arm_is_reported() -> None:
    with pytest.raises(UserError) as caught:
        changed(tiny(), ["training.epochs=0", "nothing=1"], "arms.mine")
    assert [problem.where for problem in caught.value.problems] == [
        "arms.mine: training.epochs=0: training.epochs",
        "arms.mine: nothing=1: nothing",
    ]
