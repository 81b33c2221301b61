"""The trained model and its config in a run's folder, or in a temporary one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.config import Config, dump_config
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.errors import UserError
from recsys_mtl.files import atomic_write
from recsys_mtl.runs.folder import MODEL, require_training_folder
from recsys_mtl.runs.reference import ReferenceSampler
from recsys_mtl.serving.bundle import CONFIG, save_bundle
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tensor_file import Pieces
from recsys_mtl.tracking.uri import without_secrets
from recsys_mtl.training.shards import on_first
from recsys_mtl.wiring.trainer import Fitted

Tensors = Mapping[str, Tensor | Pieces]


def save_model(
    out: Path, config: Config, prepared: Prepared, fitted: Fitted, sampler: ReferenceSampler
) -> None:
    """Store the model; of several processes the first one writes, and all call it.

    Raises:
        UserError: it cannot be written there: it is then in a temporary folder.
    """
    _save_by_first(fitted, partial(_save, out, config, prepared, fitted, sampler))


def _save_by_first(fitted: Fitted, save: Callable[[Tensors, Tensors], None]) -> None:
    """Call `save` with the weights and the optimizer's state, complete, in the first process.

    Raises:
        UserError: its, in all processes.
    """
    weights, optimizer = fitted.network.state_dict(), fitted.optimizer
    embeddings = fitted.network.embeddings
    if not embeddings.ranges:
        parallel.on_first(lambda: save(weights, optimizer))
        return
    parts = {"weights.": weights, "optimizer.": optimizer}
    own = {f"{part}{name}": t for part, by_name in parts.items() for name, t in by_name.items()}

    def work(complete: Tensors) -> None:
        save(
            *(
                {name.removeprefix(p): t for name, t in complete.items() if name.startswith(p)}
                for p in parts
            )
        )

    parallel.together(lambda: on_first(embeddings, own, work))


def _save(
    out: Path,
    config: Config,
    prepared: Prepared,
    fitted: Fitted,
    sampler: ReferenceSampler,
    weights: Tensors,
    optimizer: Tensors,
) -> None:
    """The model and its config replace those of an earlier run in the same folder.

    Raises:
        UserError: they cannot be written there: the model is then in a temporary folder.
    """
    save = partial(
        save_bundle,
        config=config,
        preprocessor=prepared.preprocessor,
        state_dict=weights,
        fingerprint=prepared.fingerprint,
        optimizer=optimizer,
    )
    reference = None

    def before_replacing() -> None:
        for name in ("result.json", CONFIG):
            (out / name).unlink(missing_ok=True)

    try:
        reference = sampler.reference(Predictor(config, prepared.preprocessor, fitted.network))
    finally:
        try:
            require_training_folder(out)
            save(
                out / MODEL,
                reference=reference,
                before_replacing=before_replacing,
            )
        except UserError as error:
            raise _rescued(error, partial(save, reference=reference)) from error
    atomic_write(out / CONFIG, dump_config(without_secrets(config)))


def _rescued(error: UserError, save: Callable[[Path], None]) -> UserError:
    """Store the model in a temporary folder, if that works, which the error then names."""
    spare = Path(tempfile.mkdtemp(prefix="recsys-mtl-"))
    try:
        save(spare / MODEL)
    except UserError:
        shutil.rmtree(spare, ignore_errors=True)
        return error
    fix = f"the trained model is in {spare / MODEL}: move it from there"
    return UserError(*(replace(problem, fix=fix) for problem in error.problems))
