"""Tensors in files: without a copy of all of them, whatever memory they are in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recsys_mtl import tensor_file
from recsys_mtl.memory import peak_memory_mb, reset_peak_memory
from recsys_mtl.tensor_file import save_tensors


def test_parts_of_one_storage_are_written_as_if_they_were_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_file, "_PIECE_BYTES", 40)
    fused = torch.arange(60.0)
    tensors: dict[str, Tensor] = {
        "b": fused[:35].view(7, 5),
        "a": fused[35:].view(5, 5).T,
        "count": torch.tensor(3),
        "none": fused[:0].view(0, 4),
        "half": torch.ones(3, 2, dtype=torch.bfloat16),
    }
    save_tensors(tmp_path / "own", tensors)
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, tmp_path / "x")
    written, expected = load_file(tmp_path / "own"), load_file(tmp_path / "x")
    assert written.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(written[name], value)
        assert written[name].dtype == value.dtype


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start the count anew")
def test_nothing_is_copied_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "_PIECE_BYTES", 2**20)
    parts = torch.ones(2**22 + 4).split(2**21)  # of one storage, 16 MiB
    reset_peak_memory()
    before = peak_memory_mb()
    save_tensors(tmp_path / "own", {str(i): part for i, part in enumerate(parts)})
    assert peak_memory_mb() - before < 8
