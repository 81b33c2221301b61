"""Contradictions of the section `adatt` with the tasks and the network."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.schema import Config
from recsys_mtl.errors import did_you_mean

_PATH = ("adatt",)


def adatt_contradictions(config: Config) -> Iterator[Finding]:
    """Unknown tasks, and networks that lack what a mechanism or measure works on."""
    yield from _groups(config)
    yield from _donors(config)
    if config.adatt.mechanism != "off":
        yield from _network(config)


def adatt_warnings(config: Config) -> Iterator[str]:
    """What is allowed and does nothing, one line each."""
    adatt, epochs = config.adatt, config.training.epochs
    if adatt.mechanism == "off":
        return
    if epochs <= adatt.warmup_epochs:
        yield (
            f"adatt: training.epochs {epochs} ends within adatt.warmup_epochs "
            f"{adatt.warmup_epochs}: it measures, and transfers nothing"
        )
    idle = _OF_BORROW if adatt.mechanism != "borrow" else _OF_LOSS
    for key in sorted(adatt.model_fields_set & idle):
        if getattr(adatt, key) != type(adatt).model_fields[key].get_default():
            yield f"adatt.{key} has no effect on mechanism {adatt.mechanism}"


def kept_from_warmup(config: Config, epoch: int) -> bool:
    """Whether the weights that are kept, of that epoch, are of before anything was transferred."""
    return config.adatt.mechanism != "off" and epoch < config.adatt.warmup_epochs


_OF_BORROW = {"borrow"}
_OF_LOSS = {
    *("prior", "threshold", "temperature", "masking", "learn_weights", "strength", "max_ratio"),
}


def _groups(config: Config) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name, group in config.adatt.prior.groups.items():
        for index, task in enumerate(group.tasks):
            path = (*_PATH, "prior", "groups", name, "tasks", index)
            if task not in config.tasks:
                fix = did_you_mean(task, config.tasks)
                yield Finding(path, "unknown task", found=show(task), fix=fix)
            elif task in seen:
                yield Finding(path, f"'{task}' is in group '{seen[task]}' too", "one group a task")
            seen.setdefault(task, name)


def _donors(config: Config) -> Iterator[Finding]:
    donors = config.adatt.borrow.donors
    for receiver, names in donors.items() if isinstance(donors, dict) else ():
        path = (*_PATH, "borrow", "donors", receiver)
        for name in (receiver, *names):
            if name not in config.tasks:
                fix = did_you_mean(name, config.tasks)
                yield Finding(path, "unknown task", found=show(name), fix=fix)
            elif name != receiver and config.tasks[name].has_items:
                kind = config.tasks[name].kind
                yield Finding(path, f"{kind} task '{name}' has no labels that a head can learn")
        if receiver in names:
            yield Finding(path, f"'{receiver}' lends to itself")


def _network(config: Config) -> Iterator[Finding]:
    adatt, facts, name = config.adatt, config.facts, config.model.architecture.name
    path = (*_PATH, "mechanism")
    if len(config.tasks) < 2:
        yield Finding(path, "transfer needs two tasks or more", fix="use mechanism: off")
    measures_experts = adatt.measure_name == "gradient_cosine"
    if not facts.shared and (measures_experts or adatt.mechanism == "gradient"):
        what = f"{name} has no shared experts to measure or transfer on"
        yield Finding(path, what, fix="use architecture ple, or mechanism: off")
    elif adatt.mechanism == "gradient" and not facts.mixes_shared:
        what = f"mechanism gradient scales a mixture of shared experts, {name} has none"
        yield Finding(path, what, fix="use architecture ple, or mechanism: loss")
    if adatt.mechanism == "gradient" and config.model.levels > 1:
        levels = f"levels {config.model.levels}"
        yield Finding(("model", "levels"), "mechanism gradient needs one level", "1", levels)
    if adatt.mechanism == "borrow" and not facts.own:
        what = f"mechanism borrow needs experts of each task, {name} has none"
        yield Finding(path, what, fix="use architecture ple")
    if adatt.mechanism == "borrow" and adatt.warmup_epochs < 1:
        what = "mechanism borrow counts labels during the warm-up"
        yield Finding((*_PATH, "warmup_epochs"), what, "1 or more", "0")
    if adatt.measure.scope == "expert" and not measures_experts:
        what = f"{adatt.measure_name} measures nothing on experts"
        yield Finding((*_PATH, "measure", "scope"), what, "all", "expert")
