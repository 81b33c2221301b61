"""The data of one seed, opened once for all of its arms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from data_synth import Truth, synthesize
from recsys_mtl.ablation.arms import Known
from recsys_mtl.ablation.plan import Ablation, base_config, synthetic_plan
from recsys_mtl.config import Config, label_of
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.data.raw import RawRows
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.runs.reachable import row_ids, truth_of


@dataclass(frozen=True)
class SeedData:
    """What the arms of a seed share.

    Attributes:
        config: the reference's base.
        prepared: its data.
        known: labels and relations.
        truth: of generated rows.
        linear: by label column (R,), true linear predictors of the test rows; empty without truth.
        items: by label column (R,), the items of retrieval tasks as indices of the truth.
    """

    config: Config
    prepared: Prepared
    known: Known
    truth: Truth | None
    linear: dict[str, Any]
    items: dict[str, Any]


def open_seed(ablation: Ablation, seed: int, folder: Path, *, threads: int | None) -> SeedData:
    """Generate the rows of a seed, where they are generated, and prepare its data.

    Args:
        ablation: the plan.
        seed: which one.
        folder: for generated rows.
        threads: CPU threads, where the config names none.

    Raises:
        UserError: the base config or the data are wrong.
    """
    root = None
    if ablation.synthetic is not None:
        plan = synthetic_plan(ablation, seed)
        synthesize(plan, folder, rows=ablation.synthetic.rows, processes=1)
        root = folder
    config = base_config(ablation, seed, root)
    if config.training.threads is None and threads is not None:
        training = config.training.model_copy(update={"threads": threads})
        config = config.model_copy(update={"training": training})
    named = {"architecture": config.model.architecture}  # which a recipe keeps: arms need experts
    config = config.model_copy(update={"model": config.model.model_copy(update=named)})
    return seed_data(prepare(expanded(config), parent=load_parent(config)))


def seed_data(prepared: Prepared) -> SeedData:
    """Prepared data with its truth, where there is one."""
    config = prepared.config
    truth, linear, items = _truth(config, prepared.splits.rows("test"))
    return SeedData(config, prepared, _known(config, prepared, truth), truth, linear, items)


def _truth(config: Config, test: RawRows) -> tuple[Truth | None, dict[str, Any], dict[str, Any]]:
    truth = truth_of(test)
    if truth is None:
        return None, {}, {}
    labels = {label_of(name, task): task.has_items for name, task in config.tasks.items()}
    items = [c for c, has_items in labels.items() if has_items and c in truth.targets]
    read = ["row_id", *items]
    rows = pl.concat([frame[read] for frame in test.frames(read)])
    linear = truth.linear(row_ids(rows), sorted(labels.keys() & truth.targets.keys()))
    return truth, linear, {c: truth.label_index(c, rows[c].to_arrow()) for c in items}


def _known(config: Config, prepared: Prepared, truth: Truth | None) -> Known:
    specs = prepared.preprocessor.spec.tasks
    labelled = torch.zeros(len(specs), dtype=torch.int64)
    items = torch.tensor([spec.items > 0 for spec in specs])
    for batch in prepared.loaders["train"].epoch(0):
        unknown = batch.labels.isnan() | (items & (batch.labels == 0))
        labelled += (~unknown).sum(0)
    relation = _relation(config, truth)
    return Known(
        {spec.name: rows for spec, rows in zip(specs, labelled.tolist(), strict=True)},
        relation,
        _groups(config, truth) if truth and relation else {},
    )


def _groups(config: Config, truth: Truth) -> dict[str, list[str]]:
    """The plan's groups, by the config's names of their tasks."""
    names = {label_of(task, spec): task for task, spec in config.tasks.items()}
    planned: dict[str, list[str]] = truth.content["relation"]["groups"]
    groups = {group: [names[t] for t in tasks if t in names] for group, tasks in planned.items()}
    return {group: tasks for group, tasks in groups.items() if tasks}


def _relation(config: Config, truth: Truth | None) -> dict[str, dict[str, float]]:
    """Planned correlations of the config's tasks; a complement's are those of its task, negated."""
    if truth is None:
        return {}
    planned = truth.relation()
    names = {task: label_of(task, spec) for task, spec in config.tasks.items()}
    if not set(names.values()) <= planned.keys():
        return {}
    return {a: {b: planned[names[a]][names[b]] for b in config.tasks} for a in config.tasks}
