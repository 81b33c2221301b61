"""A paper's study from one YAML, its numbers next to the published ones.

Files of the output folder, in addition to those of every study (recsys_mtl/study/run.py):

    reproduction.yaml           the study of the folder: data, network, methods and studies
    train_loss.png and more     the report's pictures
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from recsys_mtl.errors import wrong
from recsys_mtl.model.device import pick_device
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.study.run import Outcome, Show, Study, run_study
from recsys_mtl.study.unit import UnitResult
from recsys_mtl.vision.reproduction.images import Images, open_images
from recsys_mtl.vision.reproduction.load import claim
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import all_units
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
    _check(plan)
    images = open_images(plan.dataset, root, seed=plan.seeds.first, cached=False)
    _check_size(plan, images)
    out = prepare_out(out)
    claim(plan, out)
    study = Study(
        job="reproduce",
        name=plan.name,
        tracking=plan.tracking,
        params=plan.model_dump(include={"dataset", "model", "training", "weights"}),
        units=all_units(plan),
        batches=lambda missing: [[unit] for unit in missing],
        trainer=partial(recipe_trainer, root),
        report=partial(_report, plan, images),
        check=partial(check_images, plan, images),
        start_worker=_quiet,
    )
    return run_study(study, out, started=started, processes=processes, show=show)


def _report(plan: Reproduction, images: Images, results: Sequence[UnitResult]) -> Outcome:
    summary = summarize(plan, results)
    return Outcome(summary, summary.numbers(), make_page(plan, summary, images))


def _quiet() -> None:
    """Warnings of data and methods were reported once, before."""
    logging.disable(logging.WARNING)


def _root(data: Path | None) -> Path | None:
    root = data or (Path(text) if (text := os.environ.get("RECSYS_MTL_DATA")) else None)
    if root is not None and not root.is_dir():
        where = "--data" if data else "$RECSYS_MTL_DATA"
        raise wrong("no such folder", where=where, found=root)
    return root


def _check(plan: Reproduction) -> None:
    """The checks before anything is loaded."""
    pick_device(plan.training.device)
    if plan.model.kind == "resnet18" and plan.model.weights is not None:
        path = Path(plan.model.weights)
        if not path.is_file():
            raise wrong(
                "no such file of weights", where="model.weights", found=path,
                fix="give a file, or null to draw them",
            )  # fmt: skip


def _check_size(plan: Reproduction, images: Images) -> None:
    edge = min(images.train.shape[1:])
    if plan.model.kind == "small_cnn" and edge >> len(plan.model.channels) == 0:
        raise wrong(
            f"too many stages for images of {edge} pixels, each halves them",
            where="model.channels", expected=f"at most {edge.bit_length() - 1}",
            found=len(plan.model.channels),
        )  # fmt: skip


def check_images(plan: Reproduction, images: Images, results: Sequence[UnitResult]) -> None:
    """Refuse results of other images; those of the first seed and size can be compared."""
    rows = [len(images.train), len(images.test)]
    for result in results:
        comparable = result["seed"] == plan.seeds.first and result["images"][:2] == rows
        other_size = result["images"][2:] != results[0]["images"][2:]
        if other_size or (comparable and result["identity"] != images.identity):
            raise wrong(
                "the folder holds results of other images",
                expected="the same data as when it was started", found=result["source"],
                fix="give the same --data, or another --out",
            )  # fmt: skip
