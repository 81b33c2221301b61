from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_synth import Plan, load_plan
from data_synth.train_config import train_config
from data_synth.write import synthesize
from recsys_mtl.ablation.arms import READY, Known
from recsys_mtl.ablation.folder import as_begun, claim
from recsys_mtl.ablation.plan import (
    Ablation,
    Seeds,
    arm_config,
    as_overrides,
    base_config,
    check_arms,
    load_ablation,
    synthetic_plan,
)
from recsys_mtl.config.override import apply
from recsys_mtl.errors import UserError

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown ready arm": (
        {"ready": ["off", "publishd"]},
        "ready.1: no such ready-made arm; found publishd -> did you mean 'published'?",
    ),
    "ready arm twice": (
        {"ready": ["off", "borrow", "off"]},
        "ready.2: requested twice; found off",
    ),
    "one name, two meanings": (
        {"arms": {"published": {"adatt.mechanism": "loss"}}},
        "arms.published: the name of a ready-made arm that is requested too",
    ),
    "unknown reference": (
        {"reference": "of"},
        "reference: no such arm; found of -> did you mean 'off'?",
    ),
    "nothing to compare": (
        {"ready": ["off"]},
        "arms: nothing to compare; expected two arms or more",
    ),
    "unknown preset": (
        {"synthetic": {"plan": "scarse"}},
        "synthetic.plan: no such preset; found scarse -> did you mean 'scarce'?",
    ),
    "no data": (
        {"synthetic": None},
        "needs base (a config) or synthetic (rows to generate)",
    ),
    "one seed": ({"seeds": {"count": 1}}, "seeds.count: value out of range; expected at least 2"),
    "no rows": ({"synthetic": {"plan": "demo", "rows": 0}}, "synthetic.rows: value out of range"),
    "unknown key": ({"arm": {}}, "arm: unknown key -> did you mean 'arms'?"),
    "not a name": ({"arms": {"../x": {}}}, "arms.../x: not a valid name"),
    "a whole section changed": (
        {"change": {"training": {"epochs": 3}}},
        "change.training: replaces a whole section; expected config path -> value",
    ),
    "a whole section in an arm": (
        {"arms": {"mine": {"adatt": {"mechanism": "borrow"}}}},
        "arms.mine.adatt: replaces a whole section",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_clear_line(case: str, make: Any) -> None:
    keys, expected = WRONG[case]
    with pytest.raises(UserError) as caught:
        make(**keys)
    assert len(caught.value.problems) == 1
    assert expected in str(caught.value)
    assert "ablation.yaml" in str(caught.value)


def test_all_mistakes_are_reported_at_once(make: Any) -> None:
    with pytest.raises(UserError) as caught:
        make(ready=["of"], reference="offf", synthetic={"plan": "demoo"})
    assert len(caught.value.problems) == 3


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "unknown path": (
        {"arms": {"mine": {"training.epoch": 3}}},
        "arms.mine: training.epoch=3: training.epoch: unknown key -> did you mean 'epochs'?",
    ),
    "wrong value": (
        {"arms": {"mine": {"training.epochs": 0}}},
        "arms.mine: training.epochs=0: training.epochs: value out of range",
    ),
    "contradiction": (
        {"arms": {"mine": {"adatt.mechanism": "borrow", "adatt.warmup_epochs": 0}}},
        "arms.mine: adatt.warmup_epochs=0: adatt.warmup_epochs: mechanism borrow counts labels",
    ),
    "ready arm that does not fit": (
        {"ready": ["off", "gradient"], "change": {"model.levels": 2}},
        "ready arm gradient: model.levels: mechanism gradient needs one level",
    ),
    "other data": (
        {"arms": {"mine": {"data.fit_rows": 10}}},
        "arms.mine: an arm may not change what it is tested on; expected the data, seed and labels",
    ),
    "another recipe": (
        {"arms": {"mine": {"training.recipe": "auto"}}},
        "arms.mine: an arm may not change the recipe; expected the recipe of the base",
    ),
    "another seed": ({"arms": {"mine": {"seed": 7}}}, "arms.mine: an arm may not change"),
    "other labels": (
        {"arms": {"mine": {"tasks.churn.only_where": "click == 1"}}},
        "arms.mine: an arm may not change",
    ),
    "another label": (
        {"arms": {"mine": {"tasks.churn.label": "other"}}},
        "arms.mine: an arm may not change",
    ),
    "a task behind another": (
        {"arms": {"mine": {"tasks.conversion.through": "click"}}},
        "arms.mine: an arm may not change",
    ),
    "a change for all": (
        {"change": {"training.epoch": 3}},
        "change: training.epoch=3: training.epoch: unknown key",
    ),
    "a change of the plan": (
        {"synthetic": {"plan": "demo", "change": {"score.tim": 0}}},
        "synthetic.change: score.tim=0: score.tim: unknown key",
    ),
    "no such base": ({"base": "nowhere.yaml"}, "nowhere.yaml: no such config file"),
    "no such plan": ({"synthetic": {"plan": "nowhere.yaml"}}, "nowhere.yaml: no such config file"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_arms_that_do_not_fit_are_reported_before_anything_is_written(case: str, make: Any) -> None:
    keys, expected = UNFIT[case]
    ablation = make(**keys)
    with pytest.raises(UserError) as caught:
        check_arms(ablation)
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(expected)


def test_arms_may_change_how_the_same_labels_are_learned(make: Any) -> None:
    arms = {
        "click_only": {"tasks.conversion.entire_space": False},
        "robust": {"tasks.conversion.counterfactual": "dr"},
        "thinned": {"data.negatives": {"task": "click", "keep": 0.2}},
        "weighted": {"tasks.churn.loss": {"name": "bce", "positive_weight": 2.0}},
    }
    check_arms(make(change={"tasks.conversion.through": "click"}, arms=arms))


def test_a_plan_is_looked_at_though_the_config_comes_from_a_file(make: Any, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(
        "{name: b, data: {path: rows}, features: {x: {kind: numeric}}, tasks: {y: {kind: binary}}}"
    )
    ablation = make(base=str(base), synthetic={"plan": "nowhere.yaml"}, ready=["off", "count"])
    with pytest.raises(UserError, match="nowhere"):
        check_arms(ablation)


def test_how_a_task_is_learned_is_an_arm_s_business(make: Any) -> None:
    ablation = make(
        arms={
            "focal": {"tasks.click.loss": "focal", "tasks.churn.weight": 2.0},
            "raw": {"tasks.value.transform": "none", "features.number_01.transform": "none"},
        }
    )
    check_arms(ablation)
    config = base_config(ablation, 0)
    known = Known({}, {})
    assert arm_config(ablation, "focal", config, known).tasks["click"].loss.name == "focal"
    assert arm_config(ablation, "raw", config, known).tasks["value"].transform == "none"


def test_the_reference_comes_first_and_every_arm_once(make: Any) -> None:
    ablation = make(ready=["published", "off"], arms={"mine": {}}, reference="off")
    assert ablation.names == ("off", "published", "mine")
    assert make(arms={"mine": {}}, reference="mine").names == ("mine", "off", "published")


def test_a_seed_governs_config_and_plan(make: Any) -> None:
    ablation = make()
    assert list(ablation.seeds.values) == [0, 1]
    configs = [base_config(ablation, seed) for seed in (4, 5)]
    assert [config.seed for config in configs] == [4, 5]
    assert configs[0].model_copy(update={"seed": 5}) == configs[1]
    assert configs[0].training.epochs == 2
    assert synthetic_plan(ablation, 5).seed == 5


def test_a_base_file_is_changed_and_put_on_the_generated_rows(toy: Any, make: Any) -> None:
    ablation = make(base=str(toy.folder / "toy.yaml"), change={"training.epochs": 9})
    config = base_config(ablation, 3, Path("some/where"))
    assert (config.name, config.seed, config.training.epochs) == ("toy", 3, 9)
    assert config.data.root == "some/where"
    assert base_config(ablation, 3).data.root == str(toy.folder)


def test_overrides_change_the_file(make: Any) -> None:
    ablation = make(
        "seeds.count=5",
        "ready=[off, borrow]",
        "synthetic.plan=scarce",
        "arms.mine={training.epochs: 7}",
        "change.training.epochs=3",  # a path that the file has
    )
    assert (ablation.seeds.count, ablation.ready) == (5, ["off", "borrow"])
    assert ablation.arms == {"mine": {"training.epochs": 7}}
    assert ablation.change["training.epochs"] == 3
    with pytest.raises(UserError, match=r"--set seeds.cout=5: seeds.cout: unknown key"):
        make("seeds.cout=5")
    with pytest.raises(UserError, match="replaces a whole section"):
        make("change.training.threads=2")  # would be a mapping inside `change`


@pytest.mark.parametrize(
    "value", [1, -2.5, 1e-7, True, None, "text", "1", "a=b: [c]", "größe 😀", [1, "x"], {"a": [2]}]
)
def test_as_overrides_say_the_same(value: Any) -> None:
    (text,) = as_overrides({"synthetic.change": value})
    data: dict[str, Any] = {"synthetic": {"plan": "demo"}}
    apply(data, text, Ablation)
    stored = data["synthetic"]["change"]
    assert (stored, type(stored)) == (value, type(value))


def test_the_same_folder_takes_more_seeds_and_arms(make: Any, tmp_path: Path) -> None:
    claim(make(arms={"mine": {"training.epochs": 3}}), tmp_path / "out")
    claim(make("seeds.count=9", ready=["off", "borrow"]), tmp_path / "out")
    held = load_ablation(tmp_path / "out" / "ablation.yaml")
    assert held.seeds.count == 9
    assert held.ready == ["off", "published", "borrow"]  # what was there keeps its meaning
    assert held.arms == {"mine": {"training.epochs": 3}}


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "base": ({"base": "x.yaml"}, "another base"),
    "rows": ({"synthetic": {"plan": "demo", "rows": 9}}, "another synthetic"),
    "change": ({"change": {"training.epochs": 3}}, "another change"),
    "arm": ({"arms": {"mine": {"training.epochs": 4}}}, "another arm mine"),
    "own arm with the name of a ready-made one": (
        {"ready": ["off"], "arms": {"published": {"training.epochs": 4}}},
        "another arm published",
    ),
    "ready-made arm with the name of an own one": (
        {"ready": ["off", "borrow"]},
        "another arm borrow",
    ),
    "several": (
        {"change": {}, "arms": {"mine": {}, "borrow": {}}},
        "another change, arm mine, arm borrow",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_folder_of_another_ablation_is_left_alone(case: str, make: Any, tmp_path: Path) -> None:
    out, (keys, expected) = tmp_path / "out", OTHERS[case]
    own = {"mine": {"training.epochs": 3}, "borrow": {"training.epochs": 1}}
    claim(make(arms=own), out)
    before = {path: path.read_text() for path in out.iterdir()}
    with pytest.raises(UserError) as caught:
        claim(make(**keys), out)
    assert len(caught.value.problems) == 1
    line = str(caught.value)
    assert line.startswith(f"{out}: the folder holds another ablation")
    assert f"found {expected} -> give another --out" in line
    assert {path: path.read_text() for path in out.iterdir()} == before


@pytest.mark.parametrize("change", ["# mine\n{}", "{}\n# mine\n", "\n{}"])
def test_a_note_that_was_written_by_hand_is_not_replaced(
    make: Any, tmp_path: Path, change: str
) -> None:
    """Such as the ablation's own file, where --out is its folder."""
    out, ablation = tmp_path / "out", make()
    claim(ablation, out)
    note = out / "ablation.yaml"
    note.write_text(change.format(note.read_text()))
    before = {path: path.read_text() for path in out.iterdir()}
    with pytest.raises(UserError, match=r"no study wrote the ablation\.yaml of the output folder"):
        claim(ablation, out)
    assert {path: path.read_text() for path in out.iterdir()} == before


def test_what_a_dropped_arm_was_is_not_forgotten(make: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    claim(make(), out)
    claim(make(ready=["off", "borrow"]), out)
    with pytest.raises(UserError, match="another arm published"):
        claim(make(ready=["off"], arms={"published": {}}), out)


def test_the_plan_is_checked_as_a_plan(make: Any) -> None:
    ablation = make(synthetic={"plan": "demo", "change": {"score.time": 0.0}})
    plan = synthetic_plan(ablation, 1)
    assert isinstance(plan, Plan)
    assert plan.score.time == 0.0


def test_the_note_is_valid_yaml(make: Any, tmp_path: Path) -> None:
    ablation = make()
    claim(ablation, tmp_path / "out")
    assert load_ablation(tmp_path / "out" / "ablation.yaml") == ablation
    assert (tmp_path / "out" / "ablation.yaml").read_text().startswith("name: tiny\n")


def test_what_was_scarce_when_the_folder_was_begun_stays_scarce(make: Any, tmp_path: Path) -> None:
    """And weights by labelled rows do not go on where they were by effective labels."""
    out, ablation = tmp_path / "out", make(ready=["off", "borrow", "count"])
    claim(ablation, out)
    assert base_config(as_begun(ablation, out), 0).adatt.borrow.scarce == "missing"
    base = out / "base.yaml"
    older = [line for line in base.read_text().splitlines() if "scarce:" not in line]
    base.write_text("\n".join(older))
    claim(ablation, out)
    begun = as_begun(ablation, out)
    config = base_config(begun, 0)
    assert READY["borrow"](config, Known({}, {})).adatt.borrow.scarce == "rare"
    (out / "units/count").mkdir(parents=True)
    with pytest.raises(UserError, match=r"another what arm count weighs by \(labelled rows now\)"):
        claim(ablation, out)


def test_rows_that_will_be_generated_for_a_config_are_not_looked_for(tmp_path: Path) -> None:
    base, out = tmp_path / "base.yaml", tmp_path / "out"
    base.write_text(train_config(load_plan("demo")))
    ablation = Ablation.model_validate(
        {"name": "a", "base": str(base), "synthetic": {"plan": "demo"}, "ready": ["off", "borrow"]}
    )
    claim(ablation, out)
    claim(ablation, out)
    assert {path.name for path in out.iterdir()} == {"ablation.yaml", "base.yaml", "plan.yaml"}


def test_a_base_config_that_was_edited_meanwhile_is_refused(tmp_path: Path) -> None:
    base, out = tmp_path / "base.yaml", tmp_path / "out"
    base.write_text(train_config(load_plan("demo")))
    ablation = Ablation.model_validate({
        "name": "a", "base": str(base), "ready": ["off", "borrow"], "seeds": {"count": 2},
        "change": {"data.root": str(tmp_path / "data")},
    })  # fmt: skip
    synthesize(load_plan("demo"), tmp_path / "data", rows=100, processes=1)
    claim(ablation, out)
    claim(ablation.model_copy(update={"seeds": Seeds(first=7, count=9)}), out)
    held = {path.name: path.read_text() for path in out.iterdir()}
    base.write_text(base.read_text().replace("threads: 1", "threads: 2"))
    with pytest.raises(UserError, match="found another content of the base config"):
        claim(ablation, out)
    base.write_text(base.read_text().replace("threads: 2", "threads: 1"))
    part = next((tmp_path / "data/rows").rglob("*.parquet"))
    pl.read_parquet(part).reverse().write_parquet(part)
    with pytest.raises(UserError, match="found another content of the rows -> give another --out"):
        claim(ablation, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == held
