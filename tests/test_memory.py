from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from recsys_mtl import memory as measure
from recsys_mtl.memory import peak_memory_mb, reset_peak_memory, spacious

LARGE = 64  # MiB


def touch(megabytes: int) -> None:
    """Memory that is used and given back."""
    np.ones(megabytes * 2**17)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start the count anew")
def test_the_peak_counts_from_the_reset() -> None:
    touch(4 * LARGE)
    before = peak_memory_mb()
    reset_peak_memory()
    after = peak_memory_mb()
    assert after < before - LARGE
    touch(2 * LARGE)
    assert peak_memory_mb() > after + LARGE


def test_without_system_statistics_the_peak_of_the_process_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(measure, "_RESET", tmp_path / "no" / "folder")
    before = peak_memory_mb()
    reset_peak_memory()
    assert peak_memory_mb() >= before > 10


def test_a_large_array_is_in_a_file_if_there_is_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure, "LARGEST_IN_MEMORY", 23)
    dtype = np.dtype(np.float32)
    assert spacious((5,), dtype).base is None
    large = spacious((3, 2), dtype)
    assert large.shape == (3, 2)
    assert isinstance(large.base, np.memmap) == (sys.platform == "linux")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert spacious((3, 2), dtype).base is None
