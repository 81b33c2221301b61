from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from data_synth import Plan, load_plan, presets
from data_synth.load import dump_plan, plan_hash
from data_synth.relations import relation_matrix
from recsys_mtl.cli.main import main
from recsys_mtl.errors import UserError

RELATIONS = {"a": "click", "b": "buy", "c": "spend"}
PRESETS = [
    "aligned", "bank16", "conflict", "demo", "funnel", "graded", "neutral", "scarce",
    "scarce_alone", "scarce_pairs",
]  # fmt: skip

# Overrides of the small plan, and what the one line must say.
CASES: dict[str, tuple[list[str], str]] = {
    "rate of 1": (
        ["tasks.click.rate=1.0"],
        r"tasks\.click\.rate: value out of range; expected less than 1.*; found 1\.0",
    ),
    "rate of 0": (["tasks.click.rate=0.0"], r"tasks\.click\.rate: value out of range; .*found 0"),
    "negative noise": (
        ["tasks.click.label_noise=-0.1"],
        r"tasks\.click\.label_noise: value out of range; expected .*0.*; found -0\.1",
    ),
    "no labels": (["tasks.click.labelled=0.0"], r"tasks\.click\.labelled: value out of range"),
    "r2 of 1": (["tasks.spend.r2=1.0"], r"tasks\.spend\.r2: value out of range"),
    "one class": (["tasks.segment.classes=1"], r"tasks\.segment\.classes: value out of range"),
    "correlation above 1": (["relations.between=1.2"], r"relations\.between: value out of range"),
    "unknown key": (
        ["tasks.click.rates=0.1"],
        r"tasks\.click\.rates: unknown key.*did you mean 'rate'",
    ),
    "unknown section": (["feature.numeric=3"], r"feature: unknown key.*did you mean 'features'"),
    "unknown kind": (
        ["tasks.new={kind: binry, rate: 0.1}"],
        r"tasks\.new\.kind: unknown choice; expected one of binary.*did you mean 'binary'",
    ),
    "name that is none": (["tasks={1st: {kind: regression}}"], r"tasks\.1st: not a valid name"),
    "name of a column": (
        ["tasks.number_01={kind: regression}"],
        r"tasks\.number_01: the name of another column; expected another name",
    ),
    "name of a demographic": (["tasks.age={kind: regression}"], r"tasks\.age: the name of another"),
    "relation for an unknown task": (
        ["relations.exceptions=[{between: [click, spent], value: 0.1}]"],
        r"relations\.exceptions\.0\.between\.1: unknown task; found spent -> did you mean 'spend'",
    ),
    "group of an unknown task": (
        ["relations.groups={x: {tasks: [clik], within: 0.5}}"],
        r"relations\.groups\.x\.tasks\.0: unknown task; found clik -> did you mean 'click'",
    ),
    "relation for a complement": (
        ["relations.groups={x: {tasks: [stay, buy], within: 0.5}}"],
        r"groups\.x\.tasks\.0: a complement has no relations.*-> relate the task that 'stay' is",
    ),
    "task in two groups": (
        [
            "relations.groups={x: {tasks: [click, buy], within: 0.5}, "
            "y: {tasks: [buy, spend], within: 0.5}}"
        ],
        r"groups\.y\.tasks\.0: 'buy' is in group 'x' too; expected one group a task",
    ),
    "task twice in a group": (
        ["relations.groups={x: {tasks: [buy, buy], within: 0.5}}"],
        r"groups\.x\.tasks\.1: 'buy' is in group 'x' too; expected one group a task",
    ),
    "group with a task's name": (
        ["relations.groups={buy: {tasks: [click], within: 0.5}}"],
        r"relations\.groups\.buy: a group with the name of a task; expected another name",
    ),
    "exception of one": (
        ["relations.exceptions=[{between: [buy, buy], value: 0.1}]"],
        r"relations\.exceptions\.0\.between: .*two different names",
    ),
    "exception of three": (
        ["relations.exceptions=[{between: [buy, click, spend], value: 0.1}]"],
        r"relations\.exceptions\.0\.between: .*two different names",
    ),
    "complement of a regression": (
        ["tasks.stay.of=spend"],
        r"tasks\.stay\.of: not another binary task; expected a binary task; found spend",
    ),
    "complement of a complement": (
        ["tasks.go={kind: complement, of: stay}"],
        r"tasks\.go\.of: not another binary task; .*found stay",
    ),
    "complement of nothing": (
        ["tasks.stay.of=clik"],
        r"tasks\.stay\.of: unknown task; .*found clik -> did you mean 'click'",
    ),
    "funnel after itself": (
        ["tasks.click.only_after=click"],
        r"tasks\.click\.only_after: a funnel without a start; found click <- click -> one of them",
    ),
    "funnel after a number": (
        ["tasks.click.only_after=spend"],
        r"tasks\.click\.only_after: not another binary task; .*found spend",
    ),
    "a logarithm": (
        ["tasks.spend.distribution=lognormal", "tasks.spend.mean=1000"],
        r"tasks\.spend: mean of a lognormal is of its logarithm: at most 20",
    ),
    "long lists": (["features.list_length=1e9"], r"features\.list_length: value out of range"),
    "no task": (["tasks={}"], r"tasks: value out of range; expected 1 or more"),
    "too few days": (["period.days=13"], r"period\.days: value out of range"),
    "too few ids": (
        ["features.items=[19]"],
        r"features\.items\.0: too few ids; expected at least 20, .*score\.items: 0; found 19",
    ),
    "ids of one": (["features.categorical=[1]"], r"features\.categorical\.0: value out of range"),
    "nothing left for the state": (
        ["score.items=0.6", "score.time=0.4"],
        r"score: items \+ time must leave a share for the state: below 1",
    ),
    "no such day": (
        ["period.start='2024-02-30'"],
        r"period\.start: start must be a date such as 2024-01-31, not 2024-02-30",
    ),
    "date that numpy reads as a year": (
        ["period.start='20240131'"],
        r"period\.start: start must be a date such as 2024-01-31, not 20240131",
    ),
    "impossible matrix": (
        [
            "relations.exceptions=[{between: [click, buy], value: 0.9}, "
            "{between: [buy, spend], value: 0.9}, {between: [click, spend], value: -0.4}]"
        ],
        r"relations: no scores can have these correlations; expected a positive semi-definite "
        r"matrix.*; found least eigenvalue -0\.\d+ -> the nearest possible plan has "
        r"relations\.exceptions: \[\{between: \[click, buy\], value: 0\.\d+\}",
    ),
    "too far below 0 for the hinge": (
        ["relations={exceptions: [{between: [click, buy], value: -0.9}]}"],
        r"least value -0\.9 where one_sided 0\.85 allows -0\.\d+ -> .*or lower score\.one_sided",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_wrong_plans(
    name: str, plan_files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, expected = CASES[name]
    out = tmp_path / "out"
    chosen = [part for override in overrides for part in ("--set", override)]
    arguments = ["synthesize", str(plan_files["small"]), "--rows", "10", "--out", str(out)]
    assert main([*arguments, *chosen]) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", err), err
    assert re.search(expected, err), err
    assert not out.exists()


def test_too_few_days_for_many_tasks(plan_of: Callable[..., Plan]) -> None:
    with pytest.raises(UserError, match=r"period\.days: too few days; expected more than 16.*time"):
        plan_of("bank16", "period.days=16")
    assert plan_of("bank16", "period.days=17").period.days == 17


def test_a_cyclic_funnel_is_reported(edit: Callable[..., Path]) -> None:
    path = edit(**{"rate: 0.2}": "rate: 0.2, only_after: buy}"})
    with pytest.raises(UserError) as caught:
        load_plan(path)
    assert str(caught.value) == (
        f"{path}:7: tasks.click.only_after: a funnel without a start; "
        "found click <- buy <- click -> one of them must be without only_after"
    )


def test_all_problems_are_reported_at_once(plan_of: Callable[..., Plan]) -> None:
    with pytest.raises(UserError) as caught:
        plan_of("small", "tasks.stay.of=spend", "features.items=[9]", "relations.groups="
                "{x: {tasks: [clik], within: 0.5}}")  # fmt: skip
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\npreset: neutrall\n", r"preset: unknown preset; found neutrall -> .*'neutral'"),
        ("- a\n", r"not a config; expected keys and values"),
        ("name: [x\n", r"not valid YAML"),
        ("name: x\npreset: neutral\nseed: 1\nseed: 2\n", r"seed: duplicate key"),
        ("name: x\n", r"tasks: missing key"),
    ],
)
def test_wrong_files(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=expected) as caught:
        load_plan(path)
    assert len(caught.value.problems) == 1
    assert str(path) in str(caught.value)


def test_neither_preset_nor_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such preset or file -> did you mean 'neutral'"):
        load_plan("neutrl")
    with pytest.raises(UserError, match=r"gone\.yaml: no such config file"):
        load_plan(tmp_path / "gone.yaml")


def test_the_presets_are_those_of_the_issue() -> None:
    assert list(presets()) == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_round_trip(name: str, tmp_path: Path) -> None:
    plan = load_plan(name)
    assert plan.name == name
    path = tmp_path / "plan.yaml"
    path.write_text(dump_plan(plan))
    again = load_plan(path)
    assert again == plan.model_copy(update={"preset": None})
    assert plan_hash(again) == plan_hash(plan)
    assert "&id" not in dump_plan(plan)


def test_a_plan_changes_its_preset_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "name: mine\npreset: scarce\ntasks:\n  click: {rate: 0.4}\n"
        "  spend: {kind: binary, rate: 0.5}\nrelations: {groups: {buying: {within: 0.2}}}\n"
    )
    plan = load_plan(path, ["seed=7"])
    assert plan.tasks["click"].rate == 0.4  # type: ignore[union-attr]
    assert plan.tasks["dwell"].labelled == 0.01  # of scarce
    assert plan.tasks["cart"].rate == 0.15  # type: ignore[union-attr]  # of neutral, its base
    assert plan.tasks["spend"].kind == "binary"  # nothing of the other kind is left
    assert plan.relations.groups["buying"].tasks == ["click", "cart", "purchase", "spend"]
    assert (plan.relations.groups["buying"].within, plan.seed) == (0.2, 7)


def test_the_hash_distinguishes_plans(plan_of: Callable[..., Plan]) -> None:
    plans = [(), ("seed=1",), ("tasks.click.rate=0.21",), ("features.noise=0.2",)]
    assert len({plan_hash(plan_of("small", *overrides)) for overrides in plans}) == len(plans)


@pytest.mark.parametrize("paste", ["replaced", "appended"])
@pytest.mark.parametrize("one_sided", [0.0, 1.0])
def test_the_proposed_exceptions_make_the_plan_load(
    paste: str, one_sided: float, tmp_path: Path
) -> None:
    """Whether they replace the plan's own exceptions or follow them."""
    document = {
        "name": "x", "preset": "neutral", "score": {"one_sided": one_sided},
        "relations": {
            "groups": {"g": {"tasks": ["click", "cart", "purchase"], "within": 0.9}},
            "between": -0.44,
            "exceptions": [
                {"between": ["click", "spend"], "value": 0.3125},
                {"between": ["g", "dwell"], "value": 0.2},
            ],
        },
    }  # fmt: skip
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match="nearest possible") as caught:
        load_plan(path)
    proposal = re.search(r"relations\.exceptions: (\[.*\])", str(caught.value))
    assert proposal is not None
    proposed = yaml.safe_load(proposal[1])
    own = document["relations"]["exceptions"]  # type: ignore[index]
    document["relations"]["exceptions"] = [  # type: ignore[index]
        *(own if paste == "appended" else ()), *proposed
    ]  # fmt: skip
    path.write_text(yaml.safe_dump(document))
    matrix = relation_matrix(load_plan(path))
    assert matrix[0, 1] > 0.5  # it is near: of the plan's shape still
    assert matrix[3, 4] < 0
