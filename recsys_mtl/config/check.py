"""Contradictions between the sections of a config, checked without any data."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator
from typing import Any

from recsys_mtl.config.check_adatt import adatt_contradictions
from recsys_mtl.config.check_combiner import combiner_contradictions
from recsys_mtl.config.check_entire_space import entire_space_contradictions
from recsys_mtl.config.check_retrieval import retrieval_contradictions
from recsys_mtl.config.check_sharding import sharding_contradictions
from recsys_mtl.config.check_warm_start import warm_start_contradictions
from recsys_mtl.config.data import FileSplitConfig, GroupSplitConfig, TimeSplitConfig
from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.lists import list_contradictions
from recsys_mtl.config.schema import Config
from recsys_mtl.config.section import Section
from recsys_mtl.config.tables import table_contradictions, with_parts
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.config.yaml_text import KeyPath
from recsys_mtl.errors import did_you_mean


def contradictions(config: Config) -> list[Finding]:
    """Everything in `config` that is valid by itself but not together with the rest."""
    checks = (
        _columns,
        _tasks,
        _split,
        _negatives,
        _experts,
        _preferred,
        _transfers,
        _evaluation,
        _training,
        _unused,
    )
    findings = [finding for check in checks for finding in check(config)]
    findings += [*table_contradictions(config.features), *list_contradictions(config.features)]
    return [
        *findings,
        *adatt_contradictions(config),
        *combiner_contradictions(config),
        *retrieval_contradictions(config),
        *warm_start_contradictions(config),
        *sharding_contradictions(config),
    ]


def label_of(name: str, task: TaskConfig) -> str:
    """The label column of a task."""
    return task.label or name


def column_of(name: str, feature: FeatureConfig) -> str:
    """The column of a feature."""
    return feature.column or name


def _label_path(name: str, task: TaskConfig) -> KeyPath:
    return ("tasks", name, "label") if task.label else ("tasks", name)


def _columns(config: Config) -> Iterator[Finding]:
    """One column, one role. Patterns in `ignore` speak only of columns without a role."""
    data = config.data
    features = {column_of(name, feature) for name, _, feature in with_parts(config.features)}
    for name, task in config.tasks.items():
        label, path = label_of(name, task), _label_path(name, task)
        if label in features:
            yield Finding(path, f"label column '{label}' is also a feature", fix="drop the feature")
        if label in data.ignore:
            yield Finding(path, f"label column '{label}' is also in data.ignore")
        if label == data.weight:
            yield Finding(path, f"label column '{label}' is also data.weight")
        if (
            isinstance(data.split, GroupSplitConfig | TimeSplitConfig)
            and label == data.split.column
        ):
            yield Finding(path, f"label column '{label}' is also data.split.column")
    for name in features:
        if "\0" in name:
            yield Finding(("features", name), "a column name without NUL is needed")
    if data.weight in features:
        what = f"weight column '{data.weight}' is also a feature"
        yield Finding(("data", "weight"), what, fix="drop the feature")
    for index, column in enumerate(data.ignore):
        if column in features or column == data.weight:
            role = "a feature" if column in features else "data.weight"
            yield Finding(("data", "ignore", index), f"ignored column '{column}' is also {role}")


def _tasks(config: Config) -> Iterator[Finding]:
    """A name that experts have, and two tasks that would learn the very same thing."""
    yield from entire_space_contradictions(config.tasks)
    if "shared" in config.tasks:
        yield Finding(("tasks", "shared"), "'shared' is the name of the shared experts")
    seen: dict[tuple[str, ...], str] = {}
    shares: dict[str, float] = {}
    for name, task in config.tasks.items():
        share = shares.setdefault(label_of(name, task), task.label_share)
        if task.label_share != share:
            yield Finding(
                ("tasks", name, "label_share"),
                "tasks of one label column share its labels", show(share), show(task.label_share),
            )  # fmt: skip
        space = " ".join((task.only_where or "").split())
        first = seen.setdefault((task.kind, label_of(name, task), space, task.event), name)
        if first != name:
            yield Finding(
                _label_path(name, task),
                f"task '{name}' is task '{first}' again",
                expected="another label, kind or only_where",
                fix="drop one of them",
            )


def _split(config: Config) -> Iterator[Finding]:
    split, path = config.data.split, ("data", "split")
    if isinstance(split, FileSplitConfig):
        return
    if (
        not isinstance(split, TimeSplitConfig)
        or split.valid_from is None
        or split.test_from is None
    ):
        for name, share in (("valid", split.valid), ("test", split.test)):
            if share == 0.0:
                yield Finding((*path, name), "leaves no rows", "more than 0", show(share))
        if split.valid + split.test >= 1.0:
            total = f"{split.valid:g} + {split.test:g}"
            yield Finding(path, "leaves no training rows", "valid + test below 1", total)
        return
    first, second = split.valid_from, split.test_from
    if isinstance(first, str) != isinstance(second, str):
        yield Finding(path, "valid_from and test_from differ in type", "two dates or two numbers")
    elif not isinstance(first, str) and not isinstance(second, str) and first >= second:
        times = f"{first:g} and {second:g}"
        yield Finding(path, "leaves no rows for valid", "valid_from before test_from", times)


def _negatives(config: Config) -> Iterator[Finding]:
    section, path = config.data.negatives, ("data", "negatives", "task")
    if section is None:
        return
    task = config.tasks.get(section.task)
    if task is None:
        fix = did_you_mean(section.task, config.tasks)
        yield Finding(path, "unknown task", found=show(section.task), fix=fix)
    elif not task.is_event:
        what = f"task '{section.task}' has no negatives"
        yield Finding(path, what, "a yes/no label", task.kind)
    elif task.loss_name != "bce":
        what = "the correction for thinned negatives is of cross-entropy"
        yield Finding(("tasks", section.task, "loss"), what, "bce", task.loss_name)


def _experts(config: Config) -> Iterator[Finding]:
    model = config.model
    name, facts = model.architecture.name, config.facts
    if model.levels > 1 and not facts.deep:
        levels = f"levels {model.levels} with {name}"
        yield Finding(("model", "levels"), "several levels belong to ple", "1", levels)
    if not facts.own and _written(model, "task_experts"):
        what = f"{name} has no task experts"
        yield Finding(("model", "task_experts"), what, fix="leave it out, or use architecture ple")
    if name == "single_task" and model.logit_transfer:
        what = "single_task shares nothing between tasks"
        yield Finding(("model", "logit_transfer"), what, fix="leave it out")
    yield from model.architecture.contradictions(config.surroundings)


def _preferred(config: Config) -> Iterator[Finding]:
    model, path = config.model, ("model", "gates", "preferred")
    if not model.gates.preferred:
        return
    if not config.facts.preferred:
        what = f"{model.architecture.name} has no gates"
        yield Finding(path, f"{what} that may prefer an expert", fix="leave it out")
        return
    shared = sum(expert.count for expert in model.shared_experts)
    own = sum(expert.count for expert in model.task_experts) * config.facts.own
    for task, names in model.gates.preferred.items():
        if task not in config.tasks:
            yield Finding((*path, task), "unknown task", fix=did_you_mean(task, config.tasks))
            continue
        known = [f"shared.{i}" for i in range(shared)] + [f"{task}.{i}" for i in range(own)]
        for index, name in enumerate(names):
            if name not in known:
                fix = did_you_mean(name, known)
                at = (*path, task, index)
                yield Finding(at, f"not an expert of task '{task}'", found=show(name), fix=fix)


def _transfers(config: Config) -> Iterator[Finding]:
    path: KeyPath = ("model", "logit_transfer")
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    seen: set[tuple[str, str]] = set()
    for index, edge in enumerate(config.model.logit_transfer):
        at = (*path, index)
        for end, name in (("source", edge.source), ("target", edge.target)):
            if name not in config.tasks:
                fix = did_you_mean(name, config.tasks)
                yield Finding((*at, end), "unknown task", found=show(name), fix=fix)
        source = config.tasks.get(edge.source)
        if source is not None and source.has_items:
            what = f"{source.kind} task '{edge.source}' has no logit to transfer"
            yield Finding((*at, "source"), what)
        if (edge.source, edge.target) in seen:
            yield Finding(at, f"transfer {edge.source} -> {edge.target} is there twice")
        elif edge.source == edge.target:
            yield Finding(at, f"task '{edge.source}' transfers to itself")
        else:
            order.add(edge.target, edge.source)
        seen.add((edge.source, edge.target))
    try:
        order.prepare()
    except graphlib.CycleError as error:
        cycle = " -> ".join(error.args[1])
        fix = "drop one of these transfers"
        yield Finding(path, "logit transfers form a cycle", found=cycle, fix=fix)


def _evaluation(config: Config) -> Iterator[Finding]:
    """A label does not group rows, and a segment is there once."""
    seen: set[str] = set()
    labels = {label_of(name, task): name for name, task in config.tasks.items()}
    evaluation = config.evaluation
    named: list[tuple[KeyPath, str]] = [
        (("evaluation", "segments", i), column) for i, column in enumerate(evaluation.segments)
    ]
    for path, column in named:
        if column in seen:
            yield Finding(path, f"segment '{column}' is there twice")
        seen.add(column)
    if evaluation.groups is not None:
        named.append((("evaluation", "groups"), evaluation.groups))
    for path, column in named:
        if column in labels:
            yield Finding(path, f"column '{column}' is the label of task '{labels[column]}'")


def _training(config: Config) -> Iterator[Finding]:
    training = config.training
    if training.device == "cpu" and training.precision == "fp16":
        at = ("training", "precision")
        yield Finding(at, "fp16 does not train on a cpu", found="fp16", fix="use bf16")
    if training.compile == "graph":
        yield from _captured(config)
    metric = training.early_stopping.metric
    if metric == "loss":
        return
    path = ("training", "early_stopping", "metric")
    task, slash, name = metric.partition("/")
    if not slash:
        choices = [
            "loss",
            *(f"{task}/{name}" for task in config.tasks for name in followed(config, task)),
        ]
        fix = did_you_mean(metric, choices)
        yield Finding(path, "unknown metric", "loss or TASK/METRIC", show(metric), fix)
    elif task not in config.tasks:
        fix = did_you_mean(task, config.tasks)
        yield Finding(path, "unknown task", found=show(task), fix=fix)
    elif name not in (known := followed(config, task)):
        what = f"no metric of a {config.tasks[task].kind} task"
        yield Finding(path, what, found=show(name), fix=did_you_mean(name, known))


def _captured(config: Config) -> Iterator[Finding]:
    """A graph's outputs are overwritten when it runs again, so a step runs it once."""
    path: KeyPath = ("training", "compile")
    if config.training.device == "cpu":
        yield Finding(path, "graph is of CUDA", found="training.device cpu", fix="use on or off")
    again = {
        "adatt": config.adatt.mechanism != "off",
        "combiner": config.combiner.name != "sum" or config.combiner.diagnostics is not None,
        "balancing": config.balancing.name in ("gradnorm", "famo"),
    }
    for section, passes in again.items():
        if passes:
            what = f"{section} needs more than one pass in a step, a graph gives one"
            yield Finding(path, what, found="graph", fix="use on or off")


def followed(config: Config, task: str) -> tuple[str, ...]:
    """Metrics of a task that early stopping can follow."""
    section, top_k = config.tasks[task], config.evaluation.top_k
    known = (m for m in section.metrics if m.larger_is_better is not None)
    lists = section.list_names(top_k) if config.evaluation.groups else ()
    return (*(name for metric in known for name in metric.names(top_k)), *lists)


def _unused(config: Config) -> Iterator[Finding]:
    """Values that have no effect because of another choice."""
    if config.combiner.name == "sum" and config.combiner.diagnostics is None:
        yield from _idle(("combiner",), config.combiner, ("block",), "diagnostics")
    if config.combiner.blocks != "fixed":
        yield from _idle(("combiner",), config.combiner, ("block_size",), "block: fixed")


def _idle(path: KeyPath, section: Section, keys: tuple[str, ...], owner: str) -> Iterator[Finding]:
    for key in keys:
        if _written(section, key):
            yield Finding((*path, key), f"{key} has no effect without {owner}")


def _written(section: Section, key: str) -> bool:
    """Whether the user chose a value; a default spelt out (dumped) is no choice."""
    default: Any = type(section).model_fields[key].get_default(call_default_factory=True)
    return key in section.model_fields_set and getattr(section, key) != default
