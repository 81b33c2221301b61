"""What an ablation's folder is for: plan, base config and plan of the rows, as they were begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_synth import load_plan
from data_synth.load import dump_plan, plan_hash
from recsys_mtl.ablation.plan import Ablation, as_overrides, base_config, synthetic_plan
from recsys_mtl.config import Config, dump_config, load_config, yaml_text
from recsys_mtl.config.features import ListConfigBase
from recsys_mtl.data.opening import open_splits
from recsys_mtl.data.patterns import expanded
from recsys_mtl.files import atomic_write
from recsys_mtl.study.plan import ROWS, changed_keys, held_plan, note_rows, other_rows

_RECIPE, _BORROW = "training.recipe", "adatt.borrow.scarce"


def claim(ablation: Ablation, out: Path) -> None:
    """Note in the folder what it is for; seeds and arms may come and go.

    The files that an ablation names may be edited, so what they come to, but for the seed, is noted
    too, and what their rows are.

    Raises:
        UserError: it holds units of another ablation, or the rows cannot be opened.
    """
    note, base, plan = (out / f"{name}.yaml" for name in ("ablation", "base", "plan"))
    held = held_plan(
        ablation, note,
        same="the same base, synthetic and change, and arms that mean the same",
        differences=lambda held: _changed(held, ablation) or _edited(ablation, base, plan),
    )  # fmt: skip
    if held is not None:
        ready = [*dict.fromkeys((*held.ready, *ablation.ready))]
        ablation = ablation.model_copy(update={"ready": ready, "arms": held.arms | ablation.arms})
    rows = "" if (out / ROWS).exists() else _rows(ablation)
    atomic_write(note, yaml_text.dump(ablation.model_dump()))  # first: without it none is ours
    if not base.exists():
        atomic_write(base, dump_config(base_config(ablation, 0)))
    if ablation.synthetic is not None and not plan.exists():
        atomic_write(plan, dump_plan(synthetic_plan(ablation, 0)))
    if rows:
        note_rows(out, rows)


def as_begun(ablation: Ablation, out: Path) -> Ablation:
    """The ablation as its folder was begun, whatever a later version generates and adds.

    Configs of generated rows were others before there were recipes.
    """
    base = out / "base.yaml"
    if not base.exists():
        return ablation
    held = load_config(base)
    older = _older(held)
    changes: dict[str, Any] = {"change": older | ablation.change} if older else {}
    if ablation.base is None and older.get(_RECIPE, held.training.recipe) == "none":
        changes["base"] = str(base)
    return Ablation.model_validate(ablation.model_dump() | changes)


def _changed(held: Ablation, ablation: Ablation) -> list[str]:
    arms = _meanings(ablation)
    return [
        *changed_keys(held, ablation, ("base", "synthetic", "change")),
        *(f"arm {n}" for n, meaning in _meanings(held).items() if arms.get(n, meaning) != meaning),
    ]


def _edited(ablation: Ablation, base: Path, plan: Path) -> list[str]:
    """Keys that a later version adds are no change; before there were recipes, there was none."""
    edited = []
    begun = as_begun(ablation, base.parent)
    if base.exists() and _held_base(base) != base_config(begun, 0):
        edited.append("content of the base config")
    older = begun.change.keys() - ablation.change.keys()
    if _BORROW in older and (base.parent / "units/count").exists():
        edited.append("what arm count weighs by (labelled rows now)")
    if plan.exists() and plan_hash(load_plan(plan)) != plan_hash(synthetic_plan(ablation, 0)):
        edited.append("content of the plan of the rows")
    return edited + other_rows(base.parent, _rows(ablation))


def _rows(ablation: Ablation) -> str:
    """The fingerprint of the base's rows; empty where rows are generated."""
    if ablation.synthetic is not None:
        return ""
    return open_splits(expanded(base_config(ablation, 0))).fingerprint()


def _held_base(base: Path) -> Config:
    """With the keys that it did not know yet."""
    held = load_config(base)
    older = _older(held)
    return load_config(base, as_overrides(older)) if older else held


def _older(held: Config) -> dict[str, Any]:
    """What the keys mean that a base config of an earlier version lacks."""
    older: dict[str, Any] = {
        f"features.{name}.length": False
        for name, feature in held.features.items()
        if isinstance(feature, ListConfigBase) and "length" not in feature.model_fields_set
    }
    if "recipe" not in held.training.model_fields_set:
        older[_RECIPE] = "none"
    if "scarce" not in held.adatt.borrow.model_fields_set:
        older[_BORROW] = "rare"
    return older


def _meanings(ablation: Ablation) -> dict[str, object]:
    """Of the names of arms; None: the ready-made one."""
    return {**dict.fromkeys(ablation.ready), **ablation.arms}
