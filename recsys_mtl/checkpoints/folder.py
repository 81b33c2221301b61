"""The folder of a run's checkpoints, and the format of one of them.

checkpoints/step-00001234/
    tensors-00001.safetensors   the training's tensors by name; one file or more
    NAME                        other files of the run, such as preprocessor.json
    state.json                  plain values, and the sha256 of each file and of itself

A checkpoint is written as `.tmp-step-…`, flushed to the disk and renamed, so that one of its name
is complete. The tensors' files are those of torch.distributed.checkpoint's
`HuggingFaceStorageReader`, which also reads them into several processes. Its writer is not used: it
takes three times as long as safetensors itself and needs a process group for nothing here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from recsys_mtl.errors import wrong
from recsys_mtl.files import TEMPORARY, remove_at_once
from recsys_mtl.tensor_file import Pieces, save_tensors
from recsys_mtl.training.state import TrainingState

log = logging.getLogger(__name__)
FOLDER, STATE = "checkpoints", "state.json"
FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})")
_ENDED = "_ended"
_MAPPED = (".safetensors", ".arrow")
_GROUP_BYTES = 512 * 2**20


class DamagedError(Exception):
    """A checkpoint that is not complete, or was changed."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Attributes:
        path: its folder.
        state: of the training.
        run: JSON values of the run.
        files: content of the run's other files, by name, but for those that are memory-mapped.
    """

    path: Path
    state: TrainingState
    run: Mapping[str, Any]
    files: Mapping[str, bytes]


class Checkpoints:
    """The checkpoints in the folder of a run.

    Only folders with the name of a checkpoint are ever deleted.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER

    def steps(self) -> dict[int, Path]:
        """Step -> checkpoint, the oldest first; damaged ones too."""
        named = [(match, path) for path in self._entries() if (match := _NAME.fullmatch(path.name))]
        return dict(sorted((int(match[1]), path) for match, path in named if is_folder(path)))

    def remove_temporary(self) -> None:
        """Delete what a killed process was writing."""
        for path in self._entries():
            if path.name.startswith(f"{TEMPORARY}step-") and is_folder(path):
                shutil.rmtree(path, ignore_errors=True)

    @property
    def ended(self) -> bool:
        """Whether they are those of a run that has ended by itself and kept them."""
        return (self.folder / _ENDED).is_file()

    def begin(self) -> None:
        """They are those of a run that has not ended."""
        (self.folder / _ENDED).unlink(missing_ok=True)

    def end(self) -> None:
        """Mark them as those of a run that has ended."""
        if self.steps():
            (self.folder / _ENDED).touch()

    def remove(self, steps: Iterable[int] | None = None) -> None:
        """Delete checkpoints; None: all, and the folder if nothing else is in it."""
        known = self.steps()
        for step in known if steps is None else steps:
            remove_at_once(known[step])
        if steps is None and self.folder.is_dir():
            (self.folder / _ENDED).unlink(missing_ok=True)
            if not any(self._entries()):
                self.folder.rmdir()

    def write(
        self,
        step: int,
        tensors: Mapping[str, Tensor | Pieces],
        values: Mapping[str, Any],
        files: Mapping[str, bytes | Path],
    ) -> Path:
        """Write a checkpoint; one of the same step is replaced.

        Args:
            step: steps that are done.
            tensors: of the training's state; they may be live if nothing changes them meanwhile.
            values: `training` and `run`, JSON values.
            files: the run's other files by name: their content, or a file to copy.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        path = self.folder / f"step-{step:08d}"
        new = path.with_name(f"{TEMPORARY}{path.name}")
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir(parents=True)
            for number, group in enumerate(_groups(tensors), 1):
                save_tensors(new / f"tensors-{number:05d}.safetensors", dict(group))
            for name, content in files.items():
                if isinstance(content, Path):
                    shutil.copyfile(content, new / name)
                else:
                    (new / name).write_bytes(content)
            sums = {file.name: _flushed(file) for file in sorted(new.iterdir())}
            body = {"format": FORMAT, "step": step, **values, "files": sums}
            state = {"sha256": _sha256_of(body), **body}
            (new / STATE).write_text(json.dumps(state), encoding="utf-8")
            _flushed(new / STATE)
            aside = path.with_name(f"{new.name}.old")
            shutil.rmtree(aside, ignore_errors=True)
            if step in self.steps():
                path.rename(aside)
            new.rename(path)  # at once: a kill before it leaves neither
            shutil.rmtree(aside, ignore_errors=True)
            _flush_folder(self.folder)
        except SafetensorError as error:
            raise OSError(f"cannot write {new}: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return path

    def read(self, step: int) -> Checkpoint:
        """Read and check a checkpoint.

        Raises:
            DamagedError: it is not complete, or was changed.
            UserError: another version of this package wrote it.
        """
        path = self.steps()[step]
        state = _checked(path)
        names = state["files"]
        tensors: dict[str, Tensor] = {}
        try:
            for name in names:
                if name.endswith(".safetensors"):
                    tensors |= load_file(path / name)
        except (OSError, SafetensorError) as error:
            raise DamagedError(str(error)) from error
        others = {n: (path / n).read_bytes() for n in names if not n.endswith(_MAPPED)}
        training: TrainingState = {"tensors": tensors, "values": state["training"]}
        return Checkpoint(path, training, state["run"], others)

    def best(self) -> int | None:
        """The oldest checkpoint that has the newest one's best epoch; None before the first."""
        epochs = {step: _best_epoch(path) for step, path in self.steps().items()}
        last = next((epoch for epoch in reversed(epochs.values()) if epoch is not None), None)
        return next((s for s, epoch in epochs.items() if epoch == last and epoch is not None), None)

    def _entries(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if is_folder(self.folder) else []


def is_folder(path: Path) -> bool:
    """Whether it is one and no link."""
    return path.is_dir() and not path.is_symlink()


def _best_epoch(path: Path) -> int | None:
    """Of a checkpoint after the first epoch; None where there is none yet, or it is damaged."""
    try:
        training = json.loads((path / STATE).read_text(encoding="utf-8"))["training"]
        return int(training["best"]["epoch"]) if training["history"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _groups(
    tensors: Mapping[str, Tensor | Pieces],
) -> Iterator[list[tuple[str, Tensor | Pieces]]]:
    """Tensors in groups of limited size, which bounds the memory of their copies."""
    group: list[tuple[str, Tensor | Pieces]] = []
    size = 0
    for name, tensor in tensors.items():
        if group and size + tensor.nbytes > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append((name, tensor))
        size += tensor.nbytes
    if group:
        yield group


def _checked(path: Path) -> dict[str, Any]:
    """What state.json holds, if every file is there as it was written."""
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
        if state.get("format", FORMAT) != FORMAT:
            raise wrong(
                "a checkpoint of another version of recsys-mtl",
                where=str(path),
                expected=f"format {FORMAT}",
                found=state["format"],
                fix="resume with the version that wrote it, or start anew with --resume never",
            )
        body = {key: value for key, value in state.items() if key != "sha256"}
        if state["sha256"] != _sha256_of(body):
            raise DamagedError(f"{STATE} was changed")
        for name, expected in state["files"].items():
            with (path / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise DamagedError(f"{name} was changed")
    except FileNotFoundError as error:
        raise DamagedError(f"{Path(error.filename).name} is missing") from error
    except (OSError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{STATE} cannot be read: {error}") from error
    except ValueError as error:
        if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
            raise DamagedError(f"{STATE} is not JSON") from error
        raise
    return state


def _sha256_of(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _flushed(path: Path) -> str:
    """The sha256 of a file that is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
