"""The network as a `torch.export` program, for runtimes that have torch but not this package.

network.pt2          encoded rows in, all tasks' outputs out, for any number of rows
preprocessor.json    how raw columns are encoded; the bundle's own file
config.yaml          the effective config; the bundle's own file
manifest.json        inputs and outputs in order, versions, sha256 of each file and of the bundle

What is not in the program: encoding raw columns, and from outputs to classes, units and item names;
preprocessor.json describes both. The best items of a retrieval task come from all (B, items) scores
at once: with a large catalogue send few rows at a time. ONNX is not written.

Shapes: B rows, C single-valued features, M list-valued ones, N numeric columns after encoding.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from recsys_mtl.data.batch import Batch
from recsys_mtl.errors import wrong
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
from recsys_mtl.tracking.bundle_cache import bundle_hash

TOLERANCE = 1e-6


class ExportError(RuntimeError):
    """The program that torch made is not the network: a bug, of torch or of ours."""


class _Program(nn.Module):
    """The network as a function of tensors alone.

    Args:
        predictor: its network is changed; it cannot be used afterwards.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.network = predictor.network
        self._tasks = predictor.tasks
        self._top_k = max(predictor.config.evaluation.top_k)

    def forward(
        self, numeric: Tensor, ids: Tensor, list_lengths: Tensor, *list_ids: Tensor
    ) -> dict[str, Tensor]:
        """(B, N), (B, C), (B, M) and M lists' values to outputs by name."""
        unused = numeric[:, :0]
        logits = self.network(
            Batch(numeric, ids, list_ids, list_lengths, labels=unused, weights=unused)
        ).logits
        outputs = {}
        for task in self._tasks:
            outputs[task.name] = logits[task.name].float()
            if task.kind == "retrieval":
                known = self.network.item_vectors(task.name)[1:]
                k = min(self._top_k, known.shape[0])
                scores, places = (outputs[task.name] @ known.T).topk(k)
                outputs |= {f"{task.name}.items": 1 + places, f"{task.name}.scores": scores}
        return outputs


def save_export(bundle: Path, folder: Path) -> dict[str, Any]:
    """Export a bundle's network, prove that it says the same, and write it.

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
        with atomic_file(folder) as new:
            return _write(new, bundle, program, predictor)
    except OSError as error:
        fix = "free disk space or choose another folder"
        raise wrong("cannot write the export", where=str(folder), found=error, fix=fix) from error


@torch.no_grad()
def _trace(predictor: Predictor) -> ExportedProgram:
    """The program for any number of rows and list entries."""
    batch = made_up_rows(predictor.preprocessor.spec, 3)
    rows = {0: Dim("rows")}
    lists = tuple({0: Dim(f"entries_{m}")} for m in range(len(batch.list_ids)))
    shapes = (rows, rows, rows, lists) if lists else (rows, rows, rows)
    program = torch.export.export(_Program(predictor), inputs_of(batch), dynamic_shapes=shapes)
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
    inputs = inputs_of(made_up_rows(spec, 3))
    lists = [table.name for table in spec.list_tables]
    names = ["numeric", "ids", "list_lengths", *(f"list_ids.{name}" for name in lists)]
    return {
        "format": FORMAT,
        "packages": installed_versions(("torch", "recsys-mtl")),
        "fingerprint": predictor.fingerprint,
        "tasks": {task.name: task.kind for task in predictor.tasks},
        "columns": {"ids": [table.name for table in spec.tables], "list_lengths": lists},
        "inputs": _described(dict(zip(names, inputs, strict=True))),
        "outputs": _described(program(*inputs)),
    }


def _described(tensors: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Name, shape and type of each, in order."""
    return [
        {
            "name": name,
            "shape": ["entries" if name.startswith("list_ids.") else "rows", *tensor.shape[1:]],
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
    for name in (PREPROCESSOR, CONFIG):
        shutil.copyfile(bundle / name, folder / name)
    manifest = _manifest(predictor, stored) | {
        "bundle_sha256": bundle_hash(bundle),
        "checked": {"rows": list(CHECKED_ROWS), "largest_difference": difference},
        "files": {name: _sha256(folder / name) for name in (NETWORK, PREPROCESSOR, CONFIG)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
