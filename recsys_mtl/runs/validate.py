"""Config and data are checked as a training would, without training."""

from __future__ import annotations

from typing import Any

import torch

from recsys_mtl.config import Config, config_hash
from recsys_mtl.config.check_adatt import adatt_warnings
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.model.device import check_precision, pick_device
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.runs.profile import DataProfile
from recsys_mtl.serving.bundle import check_storable
from recsys_mtl.serving.predictor import check_output_columns
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from recsys_mtl.wiring.warm_start import start_from


def validate(config: Config) -> dict[str, Any]:
    """Open, split, fit and encode the data, and build the network, without training it.

    Args:
        config: the run.

    Returns:
        Rows a split and what they hold, the network's size, the steps of a training and the
        warnings.

    Raises:
        UserError: everything that is wrong.
    """
    check_precision(config.training.precision, pick_device(config.training.device))
    config = expanded(config)
    profile = DataProfile()
    parent = load_parent(config)
    prepared = prepare(config, watch=profile.watch, parent=parent)
    config = prepared.config
    if not profile.seen:
        _profile_streamed(profile, prepared)
    check_output_columns(prepared.preprocessor)
    check_storable(config, prepared.preprocessor)
    spec = prepared.preprocessor.spec
    # What can be had decides between the backends at the training; TorchRec starts in seconds.
    backend = config.model.embedding.backend
    network = build_network(config, spec, backend="plain" if backend == "auto" else backend)
    if parent is not None:
        preprocessor, warm = prepared.preprocessor, config.training.warm_start
        start_from(parent, build_step(config, network, torch.device("cpu")), preprocessor, warm)
    steps = prepared.loaders["train"].num_batches
    return {
        "config_hash": config_hash(config),
        "rows": prepared.rows,
        "fingerprint": prepared.fingerprint,
        "warnings": [*prepared.warnings, *profile.warnings(), *adatt_warnings(config)],
        "parameters": sum(p.numel() for p in network.dense_parameters()),
        "table_rows": sum(table.rows for table in spec.tables),
        "tasks": {task.name: task.kind for task in spec.tasks},
        "recipe": {"name": config.training.recipe, "decided": dict(prepared.derived)},
        "steps_per_epoch": steps,
        "most_steps": steps * config.training.epochs,
        **profile.numbers(),
    }


def _profile_streamed(profile: DataProfile, prepared: Prepared) -> None:
    """Read the training rows, which are encoded in each epoch only."""
    preprocessor = prepared.preprocessor
    for frame in prepared.splits.frames("train", preprocessor.columns(labels=True)):
        profile.add("train", frame, *preprocessor.encode_labels(frame))
