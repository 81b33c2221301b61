"""An exported network, loaded: see `recsys_mtl.serving.export` for its files.

As of torch 2.13, `torch.export.load` is not safe. It unpickles weights, constants and
sample inputs where the file says so, executes the file's `guards_code`, evaluates the text of
its symbolic shapes and calls whatever function of torch its graph names. So `load_export` passes
nothing to torch that the caller's own pin does not cover, and refuses files with a pickle in
them even then; `save_export` writes none.

Shapes: B rows, K best items of a retrieval task.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recsys_mtl.columns.stored_vocabulary import is_vocabulary_file
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import wrong
from recsys_mtl.features.block import Numbers
from recsys_mtl.serving.bundle import MANIFEST, PREPROCESSOR

FORMAT = "torch-1"
NETWORK = "network.pt2"

Program = Callable[..., dict[str, Tensor]]


@dataclass(frozen=True)
class Exported:
    """A network that runs without its Python code.

    Attributes:
        preprocessor: encodes raw rows (`encode`) and decodes outputs (`decode`).
        manifest: what manifest.json holds.
        program: the inputs of `inputs_of`, in order, to outputs by name.
    """

    preprocessor: Preprocessor
    manifest: Mapping[str, Any]
    program: Program

    @torch.inference_mode()
    def run(self, batch: Batch) -> dict[str, Tensor]:
        """Encoded rows to the outputs that the manifest names.

        A task's output is as `Predictor.raw_outputs` gives it; a retrieval task also has
        `TASK.items`, (B, K) indices best first, never 0, and `TASK.scores`, their similarities.
        """
        return self.program(*inputs_of(batch))


def inputs_of(batch: Batch) -> tuple[Tensor, ...]:
    """A batch as the program takes it: numeric, ids, list_lengths, then each list's values."""
    return tuple(t for block in batch.blocks.values() for t in block.tensors().values())


def load_export(folder: str | Path, *, pin: str) -> Exported:
    """Check an exported network against a pin, then load it on the CPU.

    Args:
        folder: what `save_export` wrote.
        pin: sha256 of its manifest.json, from a source that cannot be changed together with
            the folder. `recsys-mtl export` prints it.

    Raises:
        UserError: the manifest is not the pinned one, a file is missing or was changed, the format
            is unknown, or the program holds a pickle. Nothing of the program was read then, apart
            from its table of contents.
    """
    folder = Path(folder)
    text = _read(folder / MANIFEST, pin, expected=f"the pinned sha256 {pin}")
    manifest = json.loads(text)
    if manifest.get("format") != FORMAT:
        raise wrong(
            "unknown format of an exported network",
            where=str(folder / MANIFEST),
            expected=FORMAT,
            found=manifest.get("format"),
            fix="export the model again with this version of recsys-mtl",
        )
    content: dict[str, bytes] = {}
    for name, digest in manifest["files"].items():
        read = _read(folder / name, digest, expected="the sha256 in manifest.json")
        content |= {} if is_vocabulary_file(name) else {name: read}
    if pickles := pickled(content[NETWORK]):
        raise wrong(
            "the program holds a pickle, which can run any code",
            where=str(folder / NETWORK),
            found=", ".join(pickles),
            fix="export the model again with recsys-mtl",
        )
    preprocessor = Preprocessor.from_dict(json.loads(content[PREPROCESSOR]), folder)
    _require_columns(manifest, preprocessor, folder)
    program = torch.export.load(io.BytesIO(content[NETWORK]))
    return Exported(preprocessor, manifest, program.module())


def _require_columns(manifest: Mapping[str, Any], preprocessor: Preprocessor, folder: Path) -> None:
    """The program takes the numbers that the preprocessor encodes; earlier ones took bins."""
    encoded = sum(feature.width for feature in preprocessor.spec.features)
    shapes = {described["name"]: described["shape"] for described in manifest["inputs"]}
    if shapes[Numbers.layout][1] != encoded:
        raise wrong(
            "the program was exported by an earlier version",
            where=str(folder / MANIFEST),
            expected=f"{encoded} encoded numbers a row",
            found=shapes[Numbers.layout][1],
            fix="export the model again with this version of recsys-mtl",
        )


def pickled(program: bytes) -> list[str]:
    """Members of a .pt2 archive that `torch.export.load` would unpickle."""
    entries = []
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        for member in archive.infolist():
            _, _, name = member.filename.partition("/")
            if name.endswith("_config.json"):
                payloads = json.loads(archive.read(member))["config"]
                entries += [
                    f"{name}: {key}" for key, value in payloads.items() if _is_unsafe(value)
                ]
            elif name.endswith(".pt") and member.file_size:  # sample inputs, or an old format
                entries.append(name)
    return entries


def _is_unsafe(payload: Mapping[str, Any]) -> bool:
    """Whether a weight or constant is stored otherwise than as the plain bytes of a tensor."""
    return bool(payload["use_pickle"]) or not payload["path_name"].startswith(
        ("weight_", "tensor_")
    )


def _read(path: Path, digest: str, *, expected: str) -> bytes:
    """The file's bytes, if their digest is right: the checked bytes are those that are loaded."""
    try:
        content = path.read_bytes()
    except OSError as error:
        fix = "give a folder that `recsys-mtl export` wrote"
        raise wrong("cannot read the exported network", where=str(path), fix=fix) from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != digest:
        fix = "copy the folder again from where it was exported"
        raise wrong(
            "not the exported file", where=str(path), expected=expected, found=actual, fix=fix
        )
    return content
