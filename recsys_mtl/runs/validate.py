"""Config and data are checked as a training would, without training."""

from __future__ import annotations

from typing import Any, get_args

import torch

from recsys_mtl.config import Config, config_hash
from recsys_mtl.config.check_adatt import adatt_warnings
from recsys_mtl.data.patterns import expanded
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.model.device import check_precision, pick_device
from recsys_mtl.model.sizing import Placement, Sizing
from recsys_mtl.runs.parent import load_parent
from recsys_mtl.runs.profile import DataProfile
from recsys_mtl.serving.bundle import check_storable
from recsys_mtl.serving.predictor import check_output_columns
from recsys_mtl.wiring.combiner import build_combining
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_losses, build_step
from recsys_mtl.wiring.warm_start import start_from


def validate(config: Config, *, processes: int | None = None) -> dict[str, Any]:
    """Open, split, fit and encode the data, and build the network, without training it.

    Args:
        config: the run.
        processes: whose memory and network are given too; None: they are not.

    Returns:
        Rows a split and what they hold, the network's size, what a process needs, the steps of a
        training and the warnings.

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
        **({} if processes is None else _sizes(config, prepared, network, processes)),
        "tasks": {task.name: task.kind for task in spec.tasks},
        "recipe": {"name": config.training.recipe, "decided": dict(prepared.derived)},
        "steps_per_epoch": steps,
        "most_steps": steps * config.training.epochs,
        **profile.numbers(),
    }


def _sizes(
    config: Config, prepared: Prepared, network: MultiTaskNetwork, processes: int
) -> dict[str, Any]:
    """Bytes of a process: its rows, its weights and states, what it sends in a step."""
    rows = next(iter(prepared.loaders["valid"].epoch(0)))
    combining = build_combining(config, network, build_losses(config))
    sizing = Sizing.of(
        network,
        rows,
        batch_size=config.training.batch_size,
        combined=0 if combining is None else combining.exchanged,
    )
    held = sum(prepared.rows.values())
    if prepared.streamed:  # a window is read while the last one is used
        held = 2 * config.data.shuffle_buffer // processes
    placements = get_args(Placement) if processes > 1 else ()
    sizes = {
        "processes": processes,
        "rows": held * rows.num_bytes // rows.num_rows,
        "replicated": sizing.memory(processes),
        "sharded": sizing.memory(processes, "row"),
        "sent": {placement: sizing.sent(processes, placement) for placement in placements},
    }
    return {"sizes": sizes}


def _profile_streamed(profile: DataProfile, prepared: Prepared) -> None:
    """Read the training rows, which are encoded in each epoch only."""
    preprocessor = prepared.preprocessor
    for frame in prepared.splits.frames("train", preprocessor.columns(labels=True)):
        profile.add("train", frame, *preprocessor.encode_labels(frame))
