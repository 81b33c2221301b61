"""`recsys-mtl export`: a trained network as a program that needs torch alone."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.evaluate import model_folder
from pipelines.output import envelope, prepare_out, write_result
from recsys_mtl.errors import wrong
from recsys_mtl.serving.bundle import MANIFEST
from recsys_mtl.serving.export import save_export


def run(
    run_dir: Path | None,
    *,
    output: Path,
    model: str | None = None,
    tracking_uri: str | None = None,
    format: Literal["torch"] = "torch",
    out: Path | None = None,
) -> dict[str, Any]:
    """Export and say what to load it with; see `export`."""
    result = export(
        run_dir, output=output, model=model, tracking_uri=tracking_uri, format=format, out=out
    )
    print(f"{output}: outputs differ by {result['largest_difference']:.1e} at most")
    print(f"pin (sha256 of its manifest.json): {result['pin']}")
    return result


def export(
    run_dir: str | Path | None,
    *,
    output: str | Path,
    model: str | None = None,
    tracking_uri: str | None = None,
    format: Literal["torch"] = "torch",
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Write a trained network as a program; see `recsys_mtl.serving.export`.

    Args:
        run_dir: a run's folder, or its model folder.
        output: new folder for the program.
        model: a registered model instead of `run_dir`: `models:/NAME@champion`.
        tracking_uri: of the registry; else as everywhere.
        format: of the program.
        out: folder for result.json; None writes none.

    Raises:
        UserError: neither or both of `run_dir` and `model`, no such model, or a place that cannot
            be written or has something in it.
    """
    started = datetime.now(UTC)
    if out is not None:
        out = prepare_out(out)
    bundle = _bundle(run_dir, model, tracking_uri)
    output = Path(output)
    manifest = save_export(bundle, output)
    result = envelope("export", started=started) | {
        "model": model or str(bundle),
        "bundle_sha256": manifest["bundle_sha256"],
        "format": format,
        "output": output,
        "pin": hashlib.sha256((output / MANIFEST).read_bytes()).hexdigest(),
        "largest_difference": manifest["checked"]["largest_difference"],
    }
    if out is not None:
        write_result(out, result)
    return result


def _bundle(run_dir: str | Path | None, model: str | None, tracking_uri: str | None) -> Path:
    """Folder of the bundle that is meant."""
    if (run_dir is None) == (model is None):
        found = "neither" if model is None else "both"
        expected = "either RUN_DIR or --model models:/NAME@champion"
        raise wrong("which model?", where="--model", expected=expected, found=found)
    if run_dir is not None:
        return model_folder(run_dir)
    assert model is not None
    from recsys_mtl.tracking.registry import Registry  # it imports mlflow

    registry = Registry(tracking_uri)
    return registry.download(registry.resolve(model, where="--model"))
