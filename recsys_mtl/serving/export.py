"""The network as a `torch.export` program, for runtimes that have torch but not this package.

network.pt2          encoded rows in, all tasks' outputs out, for any number of rows
preprocessor.json    how raw columns are encoded; the bundle's own file
config.yaml          the effective config; the bundle's own file
manifest.json        inputs and outputs in order, versions, sha256 of each file and of the bundle

What is not in the program: encoding raw columns, and from outputs to classes, units and item names;
preprocessor.json describes both. The best items of a retrieval task come from all (B, items) scores
at once: with a large catalogue send few rows at a time. ONNX is not written.

Shapes: B rows.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from recsys_mtl.data.batch import Batch
from recsys_mtl.errors import wrong
from recsys_mtl.features.block import Ragged
from recsys_mtl.files import atomic_file
from recsys_mtl.serving.bundle import (
    CONFIG,
    MANIFEST,
    PREPROCESSOR,
    installed_versions,
    load_bundle,
)
from recsys_mtl.serving.export_check import CHECKED_ROWS, largest_difference, made_up_rows
from recsys_mtl.serving.exported import FORMAT, NETWORK, Program, inputs_of, pickled
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tasks import kind_of
from recsys_mtl.tracking.bundle_cache import bundle_hash

TOLERANCE = 1e-6


class ExportError(RuntimeError):
    """The exported program differs from the network: a bug of torch or of this package."""


class _Program(nn.Module):
    """The network as a function of tensors alone.

    Args:
        predictor: its network is changed; it cannot be used afterwards.
        example: rows whose features are those of the program's inputs.
    """

    def __init__(self, predictor: Predictor, example: Batch) -> None:
        super().__init__()
        self.network = predictor.network
        self._blocks = example.blocks
        self._tasks = predictor.tasks
        self._top_k = max(predictor.config.evaluation.top_k)

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        """What `inputs_of` gives to outputs by name."""
        left = iter(tensors)
        blocks = {
            layout: block.with_tensors(islice(left, len(block.tensors())))
            for layout, block in self._blocks.items()
        }
        unused = tensors[0][:, :0]
        logits = self.network(Batch(blocks, labels=unused, weights=unused)).logits
        outputs: dict[str, Tensor] = {}
        for task in self._tasks:
            items = partial(self.network.item_vectors, task.name)
            kind, own = kind_of(task.kind), logits[task.name].float()
            outputs |= kind.exported(task.name, own, items, self._top_k)
        return outputs


def save_export(bundle: Path, folder: Path) -> dict[str, Any]:
    """Export a bundle's network, check that it predicts the same, and write it.

    Args:
        bundle: folder that `save_bundle` wrote.
        folder: new or empty; it appears when everything in it is written.

    Returns:
        What manifest.json holds.

    Raises:
        UserError: the bundle is damaged, or the folder has something in it or cannot be written.
        ExportError: an output differs by more than `TOLERANCE`; nothing was written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise wrong("there is something already", where=str(folder), fix="give a new folder")
    predictor = load_bundle(bundle)
    program = _trace(load_bundle(bundle))
    try:
        with atomic_file(folder, prefix="_") as new:
            return _write(new, bundle, program, predictor)
    except OSError as error:
        fix = "free disk space or choose another folder"
        raise wrong("cannot write the export", where=str(folder), found=error, fix=fix) from error


@torch.no_grad()
def _trace(predictor: Predictor) -> ExportedProgram:
    """The program for any number of rows and list entries."""
    spec = predictor.preprocessor.spec
    batch, names = made_up_rows(spec, 3), _names(made_up_rows(spec, 3))
    rows = Dim("rows")
    leaders = {feature.name: feature.parallel_to or feature.name for feature in spec.features}
    owners = [leaders[name.partition(".")[2]] if _is_entries(name) else "" for name in names]
    entries = {owner: Dim(f"entries_{number}") for number, owner in enumerate(owners)}
    shapes = tuple({0: entries[owner] if owner else rows} for owner in owners)
    for table in predictor.network.embeddings.embedding_bags.values():
        table.register_buffer("accumulator", None)  # only training needs it
        weight = table.get_parameter("weight")
        weight.data = weight.detach().clone()  # a file has no views of one block of memory
    program = torch.export.export(
        _Program(predictor, batch), inputs_of(batch), dynamic_shapes=(shapes,)
    )
    program.example_inputs = None  # they would be stored as a pickle
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            _clean(module)
    return program


def _clean(module: GraphModule) -> None:
    """Take out the paths of this disk, and columns of no features, which torch cannot load."""
    for node in list(module.graph.nodes):
        node.meta.pop("stack_trace", None)
        if node.target is torch.ops.aten.unbind.int and not node.users:
            module.graph.erase_node(node)
    module.recompile()


def _manifest(predictor: Predictor, program: Program) -> dict[str, Any]:
    """What it is and how to call it."""
    spec = predictor.preprocessor.spec
    batch = made_up_rows(spec, 3)
    inputs = inputs_of(batch)
    columns = {"ids": batch.blocks["ids"].names}
    columns |= {
        f"{layout}_lengths": block.names
        for layout, block in batch.blocks.items()
        if isinstance(block, Ragged)
    }
    return {
        "format": FORMAT,
        "packages": installed_versions(("torch", "recsys-mtl")),
        "fingerprint": predictor.fingerprint,
        "tasks": {task.name: task.kind for task in predictor.tasks},
        "columns": {name: list(features) for name, features in columns.items()},
        "inputs": _described(dict(zip(_names(batch), inputs, strict=True)), _is_entries),
        "outputs": _described(program(*inputs), lambda _: False),
    }


def _names(batch: Batch) -> list[str]:
    """Names of the tensors of `inputs_of`."""
    return [name for block in batch.blocks.values() for name in block.tensors()]


def _is_entries(name: str) -> bool:
    """Whether a tensor holds entries of lists, see `FeatureBlock.tensors`."""
    return "." in name


def _described(
    tensors: Mapping[str, Tensor], is_entries: Callable[[str], bool]
) -> list[dict[str, Any]]:
    """Name, shape and type of each, in order."""
    return [
        {
            "name": name,
            "shape": ["entries" if is_entries(name) else "rows", *tensor.shape[1:]],
            "dtype": str(tensor.dtype).removeprefix("torch."),
        }
        for name, tensor in tensors.items()
    ]


def _write(
    folder: Path, bundle: Path, program: ExportedProgram, predictor: Predictor
) -> dict[str, Any]:
    """Write all files, prove what was written, and give the manifest."""
    folder.mkdir()
    torch.export.save(program, folder / NETWORK)
    content = (folder / NETWORK).read_bytes()
    assert not pickled(content)
    stored = torch.export.load(io.BytesIO(content)).module()
    difference = largest_difference(stored, predictor)
    if not difference <= TOLERANCE:
        raise ExportError(f"outputs of the exported network differ by {difference}")
    others = (PREPROCESSOR, CONFIG, *predictor.preprocessor.files)
    for name in others:
        shutil.copyfile(bundle / name, folder / name)
    manifest = _manifest(predictor, stored) | {
        "bundle_sha256": bundle_hash(bundle),
        "checked": {"rows": list(CHECKED_ROWS), "largest_difference": difference},
        "files": {name: _sha256(folder / name) for name in (NETWORK, *others)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
