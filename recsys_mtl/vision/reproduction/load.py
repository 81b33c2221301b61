"""From a YAML file, or the name of a ready one, to a checked plan; which plan owns a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recsys_mtl.config import read_text, section_from_yaml, yaml_text
from recsys_mtl.config.combiner import SumConfig
from recsys_mtl.config.explain import Finding
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.study.plan import held_plan
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import WHERE

NOTE = "reproduction.yaml"
_PLANS = Path(__file__).parent / "plans"
_ROT_MNIST_TASKS = ("digit", "rotation", "colour")


def ready_plans() -> tuple[str, ...]:
    """Names of the ready plans."""
    return tuple(sorted(path.stem.replace("_", "-") for path in _PLANS.glob("*.yaml")))


def load_reproduction(plan: str | Path, overrides: Sequence[str] = ()) -> Reproduction:
    """Read a plan.

    Args:
        plan: name of a ready plan, or a YAML file.
        overrides: `a.b=c` assignments.

    Raises:
        UserError: every problem of the file.
    """
    path, where = Path(plan), str(plan)
    if (name := where.replace("_", "-")) in ready_plans():
        path, where = _PLANS / f"{name.replace('-', '_')}.yaml", f"plan {name}"
    elif not path.exists() and not path.suffix:
        raise wrong("no such plan or file", where=where, fix=did_you_mean(where, ready_plans()))
    return section_from_yaml(
        Reproduction, read_text(path), where=where, overrides=overrides, check=_contradictions
    )


def require_same(plan: Reproduction, out: Path) -> None:
    """Methods, seeds and studies of a folder may change; results' images and weights may not.

    Raises:
        UserError: it holds another reproduction, or other files.
    """
    wanted = _fixed(plan)

    def differences(held: Reproduction) -> list[str]:
        kept = _fixed(held)
        return [key for key in wanted if kept[key] != wanted[key]]

    same = "the same name, dataset and model"
    held_plan(plan, out / NOTE, same=same, differences=differences)


def record(plan: Reproduction, out: Path) -> None:
    """Write into the folder which study it holds."""
    atomic_write(out / NOTE, yaml_text.dump(plan.model_dump()))


def _fixed(plan: Reproduction) -> dict[str, Any]:
    return plan.model_dump(include={"name", "dataset", "model"}, exclude=WHERE)


def _contradictions(plan: Reproduction) -> Iterator[Finding]:
    for name, method in plan.methods.items():
        path = ("methods", name)
        plain = isinstance(method.combiner, SumConfig)
        if method.alone and not (plain and method.balancing == "fixed"):
            yield Finding((*path, "alone"), "a task alone has nothing to combine or balance")
        if method.balancing == "gradnorm" and not plain:
            yield Finding((*path, "balancing"), "gradnorm goes with the plain sum here")
        if plain and method.combiner.model_dump(exclude={"name"}, exclude_defaults=True):
            yield Finding((*path, "combiner"), "the plain sum has no options here")
    for key in ("reference", "against"):
        name = getattr(plan, key)
        if name is not None and name not in plan.methods:
            yield _no_such_method((key,), name, plan)
    for key in ("attention", "sweep"):
        study = getattr(plan, key)
        if study is None:
            continue
        if study.over not in plan.methods:
            yield _no_such_method((key, "over"), study.over, plan)
        elif plan.methods[study.over].combiner.name != "cagt":
            combiner = plan.methods[study.over].combiner.name
            yield Finding((key, "over"), "another combiner", "a method with cagt", combiner)
    yield from _tasks(plan)


def _no_such_method(path: tuple[str, ...], name: str, plan: Reproduction) -> Finding:
    return Finding(path, "no such method", found=name, fix=did_you_mean(name, plan.methods))


def _tasks(plan: Reproduction) -> Iterator[Finding]:
    data = plan.dataset
    known = _ROT_MNIST_TASKS if data.kind == "rot_mnist" else data.attributes
    for name in plan.weights:
        if name not in known:
            yield Finding(("weights", name), "no such task", fix=did_you_mean(name, known))
