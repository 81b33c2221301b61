from __future__ import annotations

from pathlib import Path

from recsys_mtl.files import atomic_write


def test_atomic_write_replaces_complete_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    assert atomic_write(path, "grün") == path
    assert path.read_bytes() == "grün".encode()
    assert atomic_write(path, "bad\udcff").read_bytes() == b"bad\\udcff"  # JSON's own spelling
    atomic_write(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert list(path.parent.iterdir()) == [path]
