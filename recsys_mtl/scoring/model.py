"""Which model scores: a run's folder, or a version of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_mtl.data.source import Source
from recsys_mtl.errors import wrong
from recsys_mtl.runs.evaluate import model_folder
from recsys_mtl.tracking.bundle_cache import bundle_hash


@dataclass(frozen=True)
class ModelFolder:
    """A bundle on this disk.

    Attributes:
        folder: of the bundle.
        sha256: of its manifest, which holds those of its other files.
        registered: name, version and the requested alias; None for a run's folder.
    """

    folder: Path
    sha256: str
    registered: dict[str, Any] | None = None

    def facts(self, source: Source) -> dict[str, Any]:
        """What a result says of the model and the rows that it was given."""
        return {
            "model": self.folder,
            "registered": self.registered,
            "bundle_sha256": self.sha256,
            "input_fingerprint": source.fingerprint(),
        }


def find_model(
    run_dir: str | Path | None, *, model: str | None = None, tracking_uri: str | None = None
) -> ModelFolder:
    """The model that a command names.

    Args:
        run_dir: a run's folder, or its model folder.
        model: `models:/NAME/3` or `models:/NAME@champion`, instead of `run_dir`.
        tracking_uri: of the registry; default: the configured one.

    Raises:
        UserError: none or both are given; no such model; or its files are not the registered ones.
    """
    if (run_dir is None) == (model is None):
        given = "neither" if model is None else "both"
        raise wrong("which model?", expected="either RUN_DIR or --model", found=given)
    if model is None:
        assert run_dir is not None
        if tracking_uri is not None:
            raise wrong("--tracking-uri is for --model", fix="leave it out")
        folder = model_folder(run_dir)
        return ModelFolder(folder, bundle_hash(folder))
    return registered_model(model, tracking_uri, where="--model")


def registered_model(
    model: str, tracking_uri: str | None, *, where: str, known: ModelFolder | None = None
) -> ModelFolder:
    """A version of the registry, on this disk.

    Args:
        model: `models:/NAME/3` or `models:/NAME@champion`.
        tracking_uri: of the registry; default: the configured one.
        where: option that `model` comes from.
        known: what an earlier call gave; returned as it is, unread, where it is that version.

    Raises:
        UserError: no such version, or its files are not the registered ones.
    """
    from recsys_mtl.tracking.registry import Registry  # imports mlflow, which is slow

    registry = Registry(tracking_uri)
    version = registry.resolve(model, where=where)
    alias = model.partition("@")[2] or None
    registered = {"name": version.name, "version": version.number, "alias": alias}
    if known is not None and known.registered == registered:
        return known
    folder = registry.download(version)
    return ModelFolder(folder, bundle_hash(folder), registered)
