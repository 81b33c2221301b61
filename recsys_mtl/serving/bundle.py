"""The trained model as a self-describing folder with checksums; nothing is pickled.

config.yaml          the effective config, without credentials
preprocessor.json    what was fitted on the training rows
weights.safetensors  the network's state dict
reference.json       what inputs and scores looked like in training; older models lack it
vocabulary-N-….arrow  vocabularies of many millions, memory-mapped; most models have none
optimizer.safetensors  state of the optimizers, where `training.keep_optimizer` asks for it
manifest.json        format, package versions, tasks, fingerprint of the data, sha256 of each file
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys_mtl.columns.stored_vocabulary import is_vocabulary_file
from recsys_mtl.config.load import config_from_yaml, dump_config, read_text
from recsys_mtl.config.schema import Config
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.serving.reference import Reference
from recsys_mtl.tensor_file import Pieces, save_tensors
from recsys_mtl.tracking.uri import without_secrets
from recsys_mtl.wiring.network import build_network

FORMAT = 1
CONFIG, PREPROCESSOR, WEIGHTS = "config.yaml", "preprocessor.json", "weights.safetensors"
REFERENCE = "reference.json"
OPTIMIZER = "optimizer.safetensors"
MANIFEST = "manifest.json"
_FILES = {CONFIG, PREPROCESSOR, WEIGHTS, REFERENCE, OPTIMIZER, MANIFEST}
PACKAGES = (  # what inference imports
    "torch",
    "numpy",
    "scipy",
    "polars",
    "pyarrow",
    "pandas",
    "pydantic",
    "PyYAML",
    "safetensors",
    "packaging",
)


def save_bundle(
    folder: Path,
    config: Config,
    preprocessor: Preprocessor,
    state_dict: Mapping[str, Tensor | Pieces],
    *,
    fingerprint: str = "",
    reference: Reference | None = None,
    optimizer: Mapping[str, Tensor | Pieces] | None = None,
    before_replacing: Callable[[], object] = lambda: None,
) -> None:
    """Write a bundle next to `folder`, then rename it; an older one is replaced.

    Args:
        folder: the model folder.
        config: the run; its credentials are left out.
        preprocessor: fitted on the training rows.
        state_dict: of the network.
        fingerprint: of the data that the run was split from; empty where it is not known.
        reference: what later rows are compared with; None stores none.
        optimizer: state of the optimizers; none or nothing stores none.
        before_replacing: called when all is written, before an older bundle is replaced.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        new.mkdir(parents=True)
        if reference is not None:
            stored = json.dumps(reference.to_dict(), allow_nan=False, ensure_ascii=False)
            (new / REFERENCE).write_text(stored, encoding="utf-8")
        if optimizer:
            save_tensors(new / OPTIMIZER, optimizer)
        _write(new, config, preprocessor, state_dict, fingerprint)
        before_replacing()
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except (OSError, SafetensorError) as error:
        fix = "free disk space or choose another folder"
        raise wrong("cannot write the model", where=str(folder), found=error, fix=fix) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_storable(config: Config, preprocessor: Preprocessor) -> None:
    """A model of the config and of what was fitted can be stored, once it is trained.

    Raises:
        UserError: a statistic is not a finite number, or a text is not one.
    """
    try:
        _described(config, preprocessor)
    except ValueError as error:
        fix = "correct extreme numbers and broken texts in the data and the config"
        raise wrong("the model could not be stored", found=error, fix=fix) from error


def load_bundle(folder: str | Path) -> Predictor:
    """Check a bundle and make its predictor, on the CPU, with plain embedding tables.

    Plain tables have the same names and numbers as torchrec's, so serving does not need torchrec.

    Raises:
        UserError: a file is missing, was changed or cannot be read, the format is not known, or a
            weight is not finite.

    Example:
        >>> from recsys_mtl.serving import load_bundle
        >>> predictor = load_bundle("runs/visits/model")
        >>> [task.name for task in predictor.tasks]
        ['click', 'conversion', 'churn', 'value']
    """
    folder = Path(folder)
    manifest = _check(folder)
    config = config_from_yaml(read_text(folder / CONFIG), where=str(folder / CONFIG))
    with _broken(folder / PREPROCESSOR):
        preprocessor = Preprocessor.from_dict(_json(folder / PREPROCESSOR), folder)
        _require_listed(folder, preprocessor, manifest)
        spec = preprocessor.spec
    with torch.random.fork_rng(devices=[]):  # its own weights are drawn, and replaced
        network = build_network(config, spec, backend="plain")
    _load_weights(network, folder / WEIGHTS)
    return Predictor(config, preprocessor, network, str(manifest.get("fingerprint", "")))


def is_bundle(folder: Path) -> bool:
    """Whether the folder holds a manifest and nothing but files of a bundle."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    names = {path.name for path in folder.iterdir()}
    try:
        others = {name for name in names - _FILES if not is_vocabulary_file(name)}
        return "files" in _manifest(folder) and not others
    except UserError:
        return False


def load_reference(folder: str | Path) -> Reference | None:
    """What the model's inputs and scores looked like in training; None where it was not stored.

    Raises:
        UserError: as `load_bundle`.
    """
    folder = Path(folder)
    if REFERENCE not in _check(folder).get("files", {}):
        return None
    with _broken(folder / REFERENCE):
        return Reference.from_dict(_json(folder / REFERENCE))


def load_optimizer(folder: str | Path) -> dict[str, Tensor]:
    """The state of the optimizers; empty where it was not stored.

    Raises:
        UserError: as `load_bundle`.
    """
    path = Path(folder) / OPTIMIZER
    if OPTIMIZER not in _check(Path(folder)).get("files", {}):
        return {}
    try:
        state: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        fix = "copy the folder again from where it was saved"
        raise wrong("file of the model cannot be read", where=str(path), fix=fix) from error
    return state


def installed_versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Package -> public version (without `+cpu` and the like), of those that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            continue
    return versions


def _write(
    folder: Path,
    config: Config,
    preprocessor: Preprocessor,
    state_dict: Mapping[str, Tensor | Pieces],
    fingerprint: str,
) -> None:
    for name, content in _described(config, preprocessor).items():
        (folder / name).write_bytes(content)
    for name, path in preprocessor.files.items():
        shutil.copyfile(path, folder / name)
    save_tensors(folder / WEIGHTS, state_dict)
    shutil.copymode(folder / CONFIG, folder / WEIGHTS)  # safetensors lets only the owner read
    manifest = {
        "format": FORMAT,
        "packages": installed_versions((*PACKAGES, "recsys-mtl")),
        "tasks": {task.name: task.kind for task in preprocessor.spec.tasks},
        "fingerprint": fingerprint,
        "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _described(config: Config, preprocessor: Preprocessor) -> dict[str, bytes]:
    """The files that are known before the training."""
    fitted = json.dumps(preprocessor.to_dict(), allow_nan=False)
    return {CONFIG: dump_config(without_secrets(config)).encode(), PREPROCESSOR: fitted.encode()}


def _check(folder: Path) -> dict[str, Any]:
    """The manifest, if every file is there and unchanged since it was saved."""
    manifest = _manifest(folder)
    if manifest.get("format") != FORMAT:
        raise wrong(
            "unknown model format",
            where=str(folder / MANIFEST),
            expected=f"format {FORMAT}",
            found=manifest.get("format"),
            fix="load the model with the version of recsys-mtl that saved it",
        )
    files = manifest.get("files", {})
    optional = [n for n in files if n in (REFERENCE, OPTIMIZER) or is_vocabulary_file(n)]
    for name in (CONFIG, PREPROCESSOR, WEIGHTS, *optional):
        path = folder / name
        if not path.is_file():
            raise wrong("file of the model is missing", where=str(path), fix="copy it again")
        if files.get(name) != _sha256(path):
            raise wrong(
                "file of the model was changed since it was saved",
                where=str(path),
                expected="the sha256 in manifest.json",
                fix="copy the folder again from where it was saved",
            )
    return manifest


def _require_listed(folder: Path, preprocessor: Preprocessor, manifest: Mapping[str, Any]) -> None:
    """The manifest has the checksums of all vocabularies."""
    for name in preprocessor.files:
        if name not in manifest.get("files", {}):
            where = str(folder / name)
            raise wrong("file of the model without a checksum", where=where, fix="copy it again")


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    expected = "a folder that a training saved, with a manifest.json"
    try:
        manifest = _json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise wrong("not a saved model", where=str(path), expected=expected) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files", {}), dict):
        raise wrong("not a saved model", where=str(path), expected=expected)
    return manifest


def _json(path: Path) -> Any:
    """The content of a JSON file; NaN and infinity are errors, as they never were stored."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@contextmanager
def _broken(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside means that the file does not hold what a training stored."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise wrong(
            "file of the model cannot be read",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            fix="copy the folder again from where it was saved",
        ) from error


def _load_weights(network: nn.Module, path: Path) -> None:
    """Put the stored weights into the network.

    Raises:
        UserError: they are damaged, are those of another network, or are not finite.
    """
    try:
        weights = load_file(path)
        network.load_state_dict(weights, strict=True)
    except (RuntimeError, SafetensorError) as error:
        _, _, first = str(error).partition("state_dict for ")
        what = first.splitlines()[1] if "\n" in first else error
        raise wrong("the weights do not fit the config", where=str(path), found=what) from error
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            fix = "copy the folder again from where it was saved, or train again"
            raise wrong("weights that are not finite", where=str(path), found=name, fix=fix)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
