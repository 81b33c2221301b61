"""The output folder of a training: one at a time works there, and replaces earlier ones alone.

An earlier training is known by its files: a result.json of `train`, a model folder with a manifest
and no other files, and a config.yaml equal to that of the model.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys_mtl.checkpoints.folder import FOLDER, is_folder
from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.config import Config
from recsys_mtl.config.sizes import memory_needs
from recsys_mtl.errors import wrong
from recsys_mtl.files import TEMPORARY, folder_made, free_space
from recsys_mtl.folder_lock import HOLDER, locked
from recsys_mtl.memory import in_bytes
from recsys_mtl.reports.output import has_result, prepare_out, read_result, require_ours
from recsys_mtl.serving.bundle import CONFIG, is_bundle

JOB, MODEL, REPORT = "train", "model", "report.html"
_WEIGHT_BYTES = 4
_SPOOL, _ALSO_WRITTEN = "metrics.jsonl", "verify.log"
_BEGUN = "mlflow_run.json"
_WRITTEN = (CONFIG, "result.json", REPORT, _SPOOL, _BEGUN, _ALSO_WRITTEN, HOLDER)
_HALF_WRITTEN = re.compile(rf"({'|'.join(map(re.escape, _WRITTEN))}){TEMPORARY}\d+-[0-9a-f]{{8}}")
_MOVED = re.compile(rf"\.{MODEL}\.\d+\.(new|old)")


@contextmanager
def training_folder(out: str | Path) -> Iterator[Path]:
    """The folder, held for one training; one that is made here and stays empty is removed.

    Raises:
        UserError: it cannot be written to, another training is at work there, or it holds files
            that no training wrote.
    """
    out = prepare_out(out)
    with folder_made(out), locked(out):
        _remove_temporary(out)
        require_training_folder(out)
        yield out


def _remove_temporary(out: Path) -> None:
    """Delete what a killed training was writing; a model that it had moved aside comes back."""
    for path in sorted(out.iterdir()):
        if _HALF_WRITTEN.fullmatch(path.name) and path.is_file():
            path.unlink()
        elif _MOVED.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            if path.suffix == ".old" and not (out / MODEL).exists():
                path.rename(out / MODEL)
            else:
                shutil.rmtree(path)


def require_training_folder(out: Path) -> None:
    """A training may write there.

    Raises:
        UserError: it would replace what no training wrote.
    """
    model, config = out / MODEL, out / CONFIG
    known = is_bundle(model)
    foreign = []
    if not known:
        foreign.append(MODEL)
    if not (known and _same_content(config, model / CONFIG)):
        foreign.append(CONFIG)
    if not (known or has_result(out, JOB)):
        foreign += [_ALSO_WRITTEN, REPORT]
    if not _is_spool(out / _SPOOL):
        foreign.append(_SPOOL)
    if set(read_result(out / _BEGUN)) != {"run_id", "status"}:
        foreign.append(_BEGUN)
    if not is_folder(out / FOLDER):
        foreign.append(FOLDER)
    require_ours(out, JOB, foreign)


def _same_content(first: Path, second: Path) -> bool:
    return first.is_file() and not first.is_symlink() and first.read_bytes() == second.read_bytes()


def _is_spool(path: Path) -> bool:
    """Whether metrics were kept there while a tracking server was away."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline()
        return not line or line.startswith(b'{"step": ')


def require_space(out: Path, config: Config, spec: DataSpec) -> None:
    """The disk has room for the model.

    Args:
        out: folder of the training.
        config: the run.
        spec: of the prepared data.

    Raises:
        UserError: it has not.
    """
    tables = sum(table.rows * table.dim for table in spec.tables)
    needed = _WEIGHT_BYTES * max(tables, sum(need.weights for need in memory_needs(config)))
    free = free_space(out)
    if needed > free:
        raise wrong(
            f"the model needs {in_bytes(needed)} of disk at least",
            where=str(out),
            found=f"{in_bytes(free)} free",
            fix="free disk space, or give another folder with --out",
        )
