"""A stored model against labelled rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from recsys_mtl.config import Config, config_hash
from recsys_mtl.data.loading import load_rows
from recsys_mtl.data.opening import open_rows, open_splits
from recsys_mtl.data.splits import Splits
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.memory import peak_memory_mb
from recsys_mtl.reports.results import ResultTable
from recsys_mtl.runs.measured import (
    intervals_of,
    measured,
    segment_table,
    with_conditional,
)
from recsys_mtl.runs.reachable import reachable
from recsys_mtl.runs.reachable import to_json as limits_to_json
from recsys_mtl.runs.results import EvaluationResult
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.storage.location import is_uri
from recsys_mtl.wiring.run import build_evaluator

log = logging.getLogger(__name__)
_CAPTION = (
    "reached: share of the way from the constant (0) to the oracle (1), who knows the true scores"
)


def evaluate(
    run_dir: str | Path,
    *,
    data: str | Path | None = None,
    input: str | None = None,
    split: Literal["test", "valid"] = "test",
    csv: Sequence[str] = (),
) -> EvaluationResult:
    """Measure a stored model.

    Args:
        run_dir: a run's folder, or its model folder.
        data: folder that relative data paths start from; else that of the run, and for `input`
            the working folder.
        input: file, folder or glob of labelled rows, all of them, whatever columns they have
            next to the model's; else the run's own split.
        split: which split of the run's own data.
        csv: settings of the input's CSV files, where they are not written as the run's are.

    Raises:
        UserError: no such model, the data do not fit it, or the run's own data have changed, so
            that its split would be another one and might measure training rows.
    """
    folder = model_folder(run_dir)
    predictor = load_bundle(folder)
    config = predictor.config
    if input is not None:
        rows = open_rows(config, input, root=data or ".", csv=csv)
    else:
        rows = _own_rows(config, data).rows(split)
    fingerprint = rows.fingerprint()
    if input is None:
        require_unchanged(predictor.fingerprint, fingerprint)
    begun = time.perf_counter()
    loader = load_rows(config, rows, predictor.preprocessor)
    evaluator = build_evaluator(config, predictor.preprocessor, precision="fp32")
    scores = evaluator(predictor.network, loader)
    seconds = time.perf_counter() - begun
    kinds = {task.name: task.kind for task in predictor.tasks}
    limits = reachable(config, rows, scores)
    shown, metrics = with_conditional(kinds, scores)
    columns = {"model": metrics, **limits}
    title, caption = f"{config.name}: {input or split + ' rows'}", _CAPTION if limits else None
    tasks = measured(scores, kinds, config.evaluation, seed=config.seed)
    numbers = {
        "config_hash": config_hash(config),
        "model": folder,
        "rows": rows.num_rows,
        "rows_per_second": round(rows.num_rows / max(seconds, 1e-9), 1),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "fingerprint": fingerprint,
        "tasks": tasks,
        "reachable": limits_to_json(limits),
    }
    table = ResultTable(title, shown, columns, caption, segment_table(tasks), intervals_of(tasks))
    return EvaluationResult.of(numbers, table)


def _own_rows(config: Config, data: str | Path | None) -> Splits:
    """The run's, which may have been a table in memory (`MultiTaskModel`)."""
    try:
        return open_splits(config, root=data)
    except UserError as error:
        root = config.data.root
        if data is not None or root is None or is_uri(root) or Path(root).is_dir():
            raise
        raise wrong(
            "the rows that the model was trained with are not there",
            where="data.root",
            found=f"no folder {root} from here",
            fix="name labelled rows with --input, or the folder of the run's own with --data",
        ) from error


def model_folder(run_dir: str | Path) -> Path:
    """The model folder of a run, or the folder itself if it is one.

    Raises:
        UserError: it is neither.
    """
    run_dir = Path(run_dir)
    for folder in (run_dir / "model", run_dir):
        if (folder / "manifest.json").is_file():
            return folder
    raise wrong(
        "no model there",
        where=str(run_dir),
        expected="the folder of a finished training (with model/manifest.json)",
        found="no such folder" if not run_dir.exists() else "none",
        fix="give the --out folder of `recsys-mtl train`",
    )


def require_unchanged(expected: str, fingerprint: str) -> None:
    """Check that a run's own rows are those that it was split from.

    Raises:
        UserError: they have changed.
    """
    if not expected:
        log.warning("the model does not name its data: whether they have changed is not checked")
    elif fingerprint != expected:
        raise wrong(
            "the data have changed since the training, so the run's split is lost",
            where="data.path",
            expected=f"fingerprint {expected}",
            found=fingerprint,
            fix="give the rows with --input, or restore the file",
        )
