"""Contradictions of the sections `combiner` and `balancing` with the tasks and the network."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.balancing import GradNormConfig
from recsys_mtl.config.explain import Finding
from recsys_mtl.config.schema import Config


def combiner_contradictions(config: Config) -> Iterator[Finding]:
    """Nothing to combine, or nothing that is shared."""
    combiner, balancing = config.combiner, config.balancing
    name, facts = config.model.architecture.name, config.facts
    tables = any(f.has_table for f in config.features.values())
    if combiner.name != "sum":
        path = ("combiner", "name")
        if len(config.tasks) < 2:
            yield Finding(path, "combining needs two tasks or more", fix="use name: sum")
        if not facts.common and not tables:
            what = f"{name} without categorical features shares nothing to combine on"
            yield Finding(path, what, fix="use architecture ple, or name: sum")
    yield from _cheaper(config)
    if isinstance(balancing, GradNormConfig):
        path = ("balancing", "name")
        if len(config.tasks) < 2:
            yield Finding(path, "gradnorm needs two tasks or more", fix="use name: fixed")
        if not facts.shared:
            what = f"{name} has no shared experts to measure gradients on"
            yield Finding(path, what, fix="use architecture ple, or name: fixed")


def _cheaper(config: Config) -> Iterator[Finding]:
    """`rows` and `level`, which need one weight a task."""
    combiner, model = config.combiner, config.model
    if not combiner.one_weight:
        return
    key = "rows" if combiner.level == "parameters" else "level"
    path = ("combiner", key)
    if combiner.name == "graddrop":
        what = f"{key} needs a weighted sum of the tasks' gradients, graddrop takes single entries"
        yield Finding(path, what, fix="remove it, or use another method")
    elif combiner.name == "sum" and combiner.diagnostics is None:
        what = f"{key} has no effect without diagnostics: sum needs no weights"
        yield Finding(path, what, fix="remove it")
    if combiner.blocks != "all":
        what = f"{key} gives one weight a task, of all blocks together"
        yield Finding(("combiner", "block"), what, "all", combiner.blocks)
    if combiner.level == "parameters":
        if combiner.rows is not None and combiner.rows > config.training.batch_size:
            size = config.training.batch_size
            yield Finding(path, "more rows than a batch has", f"at most {size}", str(combiner.rows))
        return
    if combiner.rows is not None:
        what = "rows has no effect with level: features, which reads all"
        yield Finding(("combiner", "rows"), what, fix="remove it")
    parents = any(task.parent is not None for task in config.tasks.values())
    if not config.facts.mixes_shared or model.levels > 1 or model.logit_transfer or parents:
        what = "level: features needs tasks that meet only in one mixture of shared experts"
        fix = "use one level of ple, mmoe or shared_bottom without logit_transfer, or combiner.rows"
        yield Finding(path, what, fix=fix)
