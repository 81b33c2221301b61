"""A paper's study from one YAML, its numbers next to the published ones.

Files of the output folder, in addition to those of every study (recsys_mtl/study/run.py):

    reproduction.yaml           the study of the folder: data, network, methods and studies
    train_loss.png and more     the report's pictures
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from recsys_mtl.errors import wrong
from recsys_mtl.model.device import pick_device
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.study.run import Outcome, Show, Study, run_study
from recsys_mtl.study.unit import UnitResult
from recsys_mtl.vision.reproduction.images import Images, forget_images, make_backbone, open_images
from recsys_mtl.vision.reproduction.load import record, require_same
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import RecipeUnit, all_units
from recsys_mtl.vision.reproduction.report import make_page
from recsys_mtl.vision.reproduction.summary import summarize
from recsys_mtl.vision.reproduction.unit import recipe_trainer


def reproduce(
    plan: Reproduction,
    out: str | Path,
    *,
    data: Path | None = None,
    processes: int | None = None,
    show: Show | None = None,
) -> dict[str, Any]:
    """Train what is missing, compare, print and store the report.

    Args:
        plan: methods, seeds and studies.
        out: a new folder, or one in which the same reproduction was started.
        data: folder of the data; None: $RECSYS_MTL_DATA.
        processes: runs that are trained at the same time; None: one a core.
        show: receives the report and its files.

    Returns:
        What result.json holds.

    Raises:
        UserError: data or weights are missing, or `out` holds another reproduction.
        KeyboardInterrupt: Ctrl-C; the same call resumes after the runs that are finished.
    """
    started, root = datetime.now(UTC), _root(data)
    pick_device(plan.training.device)
    weights = None
    if plan.model.kind == "resnet18":  # before images are decoded
        _, weights = make_backbone(plan.model, (3, 32, 32))
    forget_images()
    images = open_images(plan.dataset, root, seed=plan.seeds.first)
    if plan.model.kind == "small_cnn":
        make_backbone(plan.model, images.train.shape)
    if len(images.train) < 2:
        raise wrong("too few images to train on", expected="at least 2", found=len(images.train))
    units = all_units(plan)
    out = prepare_out(out)
    require_same(plan, out)
    study = Study(
        job="reproduce",
        name=plan.name,
        tracking=plan.tracking,
        params=plan.model_dump(include={"dataset", "model", "training", "weights"}),
        units=units,
        batches=lambda missing: [[unit] for unit in missing],
        trainer=partial(recipe_trainer, root),
        report=partial(_report, plan, images),
        check=partial(check_origin, units, out, root, weights),
        begin=partial(record, plan, out),
        start_worker=_quiet,
    )
    return run_study(study, out, started=started, processes=processes, show=show)


def _report(plan: Reproduction, images: Images, results: Sequence[UnitResult]) -> Outcome:
    summary = replace(summarize(plan, results), left_out=images.left_out)
    return Outcome(summary, summary.numbers(), make_page(plan, summary, images))


def _quiet() -> None:
    """Warnings of data and methods were reported once, before."""
    logging.disable(logging.WARNING)


def _root(data: Path | None) -> Path | None:
    text = data or os.environ.get("RECSYS_MTL_DATA")
    root = Path(os.path.expanduser(text)) if text else None
    if root is not None and not root.is_dir():
        where = "--data" if data else "$RECSYS_MTL_DATA"
        raise wrong("no such folder", where=where, found=root)
    return root


def check_origin(
    units: Sequence[RecipeUnit],
    out: Path,
    root: Path | None,
    weights: str | None,
    results: Sequence[UnitResult],
) -> None:
    """Refuse results of other images or weights; both are compared by their content.

    Args:
        units: all runs of the plan.
        out: folder of the results.
        root: folder of the data.
        weights: digest of the file of the weights.
        results: of some of the units.
    """
    datasets = {unit.recipe.key: unit.recipe.dataset for unit in units}
    identities: dict[tuple[str, int], str] = {}
    others: dict[str, list[str]] = {"images": [], "weights": []}
    for result in results:
        dataset, seed = datasets[result["key"]], result["seed"]
        key = dataset.model_dump_json(), seed
        if key not in identities:
            identities[key] = open_images(dataset, root, seed=seed).identity
        name = f"{result['key']}/seed-{seed}"
        others["images"] += [name] * (result["identity"] != identities[key])
        others["weights"] += [name] * (result.get("initial_weights") != weights)
    for what, names in others.items():
        if names:
            raise wrong(
                f"the folder holds results of other {what}", where=str(out),
                expected=f"the same {what} as when it was started",
                found=f"{len(names)} of {len(results)} results with others, such as {names[0]}",
                fix="give the same --data and model.weights, or another --out",
            )  # fmt: skip
