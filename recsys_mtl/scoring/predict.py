"""Raw rows from files to predictions in Parquet, in bounded memory.

A name that ends in .parquet is one file, any other a folder of parts (recsys_mtl/scoring/folder.py)
that the same command completes after a kill. drift.json and drift.html, next to the file or to the
folder, report how far the rows have moved from the training's (recsys_mtl/scoring/drift.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys_mtl.interrupt import graceful_interrupt
from recsys_mtl.memory import peak_memory_mb
from recsys_mtl.processes import require_one_process
from recsys_mtl.reports.page import Page
from recsys_mtl.scoring.job import Options, ScoringJob
from recsys_mtl.scoring.model import ModelFolder, find_model
from recsys_mtl.scoring.output import check_apart, check_output, check_replaced, is_one_file
from recsys_mtl.scoring.rows import open_rows
from recsys_mtl.scoring.stream import Scorer
from recsys_mtl.serving.bundle import load_bundle, load_reference
from recsys_mtl.storage.location import located
from recsys_mtl.storage.remote_path import RemotePath

log = logging.getLogger(__name__)


def predict(
    model: str | Path | ModelFolder,
    *,
    input: str,
    output: str | Path | RemotePath,
    batch_rows: int | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    show: Callable[[Page], None] | None = None,
) -> dict[str, Any]:
    """Score every row of the input, in its order.

    Args:
        model: a run's folder, its model folder, or what `find_model` gives.
        input: file, folder or glob of raw rows (Parquet or CSV), or its URI; labels are not needed.
        output: Parquet file to write, which appears when all rows are in it; or a folder of parts.
        batch_rows: short for that option.
        options: how they are written.
        show: receives the page on drift.

    Raises:
        UserError: no such model or input, columns that the model does not read, or an output that
            cannot be written, holds something else, or is the input.
        KeyboardInterrupt: Ctrl-C or SIGTERM; for a folder, the same call resumes.
    """
    require_one_process()
    output = located(output)
    check_output(output, options.rows_per_file)
    if not isinstance(model, ModelFolder):
        model = find_model(model)
    predictor = load_bundle(model.folder)
    predictor.precision = options.precision
    if options.spread:
        predictor.show_spread()
    source = open_rows(predictor, input, options.keep, options.csv)
    check_apart(output, source, input, options.csv)
    if is_one_file(output) and not options.overwrite:
        check_replaced(output, predictor.output_schema())
    reference = load_reference(model.folder) if options.drift else None
    if options.drift and reference is None:
        log.info("the model has no counts of its training rows: drift is not measured")
    rows = batch_rows or options.batch_rows
    scorer = Scorer(predictor, source, options.keep, reference, rows)
    job = ScoringJob(model, scorer, input, output, options, show)
    write = job.write_file if is_one_file(output) else job.write_parts
    begun = time.perf_counter()
    with graceful_interrupt() as stop:
        scored, drifts = write(stop)
    seconds = time.perf_counter() - begun
    return {
        **model.facts(source),
        "output": output,
        "rows": source.num_rows,
        "rows_scored": scored,
        "rows_per_second": round(scored / max(seconds, 1e-9), 1),
        "drift": None if drifts is None else {d.title: d.reading for d in drifts},
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }
