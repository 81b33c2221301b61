"""A trained network as a program that needs torch alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from recsys_mtl.scoring.model import find_model
from recsys_mtl.serving.bundle import MANIFEST
from recsys_mtl.serving.export import save_export


def export(
    run_dir: str | Path | None,
    *,
    output: str | Path,
    model: str | None = None,
    tracking_uri: str | None = None,
    format: Literal["torch"] = "torch",
) -> dict[str, Any]:
    """Write a trained network as a program; see `recsys_mtl.serving.export`.

    Args:
        run_dir: a run's folder, or its model folder.
        output: new folder for the program.
        model: a registered model instead of `run_dir`: `models:/NAME@champion`.
        tracking_uri: of the registry; default: the configured one.
        format: of the program.

    Raises:
        UserError: neither or both of `run_dir` and `model`, no such model, or a folder that
            cannot be written or is not empty.
    """
    source = find_model(run_dir, model=model, tracking_uri=tracking_uri)
    output = Path(output)
    manifest = save_export(source.folder, output)
    return {
        "model": source.folder,
        "registered": source.registered,
        "bundle_sha256": source.sha256,
        "format": format,
        "output": output,
        "pin": hashlib.sha256((output / MANIFEST).read_bytes()).hexdigest(),
        "largest_difference": manifest["checked"]["largest_difference"],
    }
