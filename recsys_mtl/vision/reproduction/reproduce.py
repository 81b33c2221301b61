"""`recsys-mtl reproduce`: a paper's study from one YAML, its numbers beside the published ones.

What is left in the output folder:

    reproduction.yaml           what the folder is for: data, network, methods and studies
    units/KEY/seed-N-rerun-R.json   one result a run; a killed job goes on behind them
    report.md, report.html      the page, with its pictures
    result.json                 every number of the page
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_mtl.config.flat import flat
from recsys_mtl.errors import wrong
from recsys_mtl.model.device import pick_device
from recsys_mtl.reports.output import envelope, prepare_out, write_result
from recsys_mtl.tracking.open import open_run
from recsys_mtl.vision.reproduction.images import Images, open_images
from recsys_mtl.vision.reproduction.load import claim, load_reproduction
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.recipe import jobs
from recsys_mtl.vision.reproduction.report import make_page
from recsys_mtl.vision.reproduction.store import missing, same_images, stored
from recsys_mtl.vision.reproduction.summary import summarize
from recsys_mtl.vision.reproduction.train import train
from recsys_mtl.vision.reproduction.unit import Unit

log = logging.getLogger(__name__)


def run(
    plan: str,
    *,
    overrides: Sequence[str] = (),
    data: Path | None = None,
    out: Path | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Run a plan from its name or file; see `reproduce`."""
    chosen = load_reproduction(plan, overrides)
    return reproduce(
        chosen, out or Path("reproductions") / chosen.name, data=data, processes=processes
    )


def reproduce(
    plan: Reproduction,
    out: str | Path,
    *,
    data: Path | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Train what is missing, compare, print and store the report.

    Args:
        plan: methods, seeds and studies.
        out: a new folder, or one that the same reproduction has begun.
        data: folder of the data; None: $RECSYS_MTL_DATA.
        processes: runs that are trained at the same time; None takes one a core.

    Returns:
        What result.json holds.

    Raises:
        UserError: data or weights are missing, or `out` holds another reproduction.
        KeyboardInterrupt: Ctrl-C; the same call goes on behind the runs that are finished.
    """
    started = datetime.now(UTC)
    root = _root(data)
    _check(plan)
    images = open_images(plan.dataset, root, seed=plan.seeds.first, cached=False)
    _check_size(plan, images)
    out = prepare_out(out)
    claim(plan, out)
    wanted = jobs(plan)
    _check_stored(plan, images, stored(wanted, out))
    track = plan.tracking
    with open_run(
        track.enabled, track.uri, track.experiment, plan.name, {"job": "reproduce"}, spool=out
    ) as tracked:
        tracked.params(flat(plan.model_dump(include={"dataset", "model", "training", "weights"})))
        try:
            train(plan.name, missing(wanted, out), root, out, processes=processes)
        except KeyboardInterrupt:
            log.warning("the same command goes on behind the runs that are finished")
            raise
        units = stored(wanted, out)
        _check_stored(plan, images, units)
        summary = summarize(plan, units)
        page = make_page(plan, summary, images)
        page.show()
        written = page.write(out, "report", markdown=True)
        result = envelope("reproduce", started=started) | {
            "name": plan.name,
            "summary": summary.to_json(),
            "report": out / "report.md",
        }
        for path in [*written, write_result(out, result)]:
            tracked.artifact(path)
        tracked.metrics(summary.numbers(), 0)
        print("\n" + "\n".join(str(path) for path in written))
    return result


def _root(data: Path | None) -> Path | None:
    found = data or (Path(text) if (text := os.environ.get("RECSYS_MTL_DATA")) else None)
    if found is not None and not found.is_dir():
        where = "--data" if data else "$RECSYS_MTL_DATA"
        raise wrong("no such folder", where=where, found=found)
    return found


def _check(plan: Reproduction) -> None:
    """What can be told before anything is loaded."""
    pick_device(plan.training.device)
    if plan.model.kind == "resnet18" and plan.model.weights is not None:
        path = Path(plan.model.weights)
        if not path.is_file():
            raise wrong(
                "no such file of weights", where="model.weights", found=path,
                fix="give a file, or null to draw them",
            )  # fmt: skip


def _check_size(plan: Reproduction, images: Images) -> None:
    side = min(images.train.shape[1:])
    if plan.model.kind == "small_cnn" and side >> len(plan.model.channels) == 0:
        raise wrong(
            f"too many stages for images of {side} pixels, each halves them",
            where="model.channels", expected=f"at most {side.bit_length() - 1}",
            found=len(plan.model.channels),
        )  # fmt: skip


def _check_stored(plan: Reproduction, images: Images, units: Sequence[Unit]) -> None:
    same_images(
        units,
        seed=plan.seeds.first,
        rows=(len(images.train), len(images.test)),
        identity=images.identity,
    )
