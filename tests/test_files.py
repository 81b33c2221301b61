from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recsys_mtl.files import TEMPORARY, atomic_file, atomic_write

KILLED = """
import os, signal, sys
from pathlib import Path
from recsys_mtl.files import atomic_file
with atomic_file(Path(sys.argv[1]), prefix="_") as temporary:
    if sys.argv[2] == "folder":
        temporary.mkdir()
        temporary /= "file"
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_atomic_write_replaces_complete_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    assert atomic_write(path, "grün") == path
    assert path.read_bytes() == "grün".encode()
    assert atomic_write(path, "bad\udcff").read_bytes() == b"bad\\udcff"  # JSON's own spelling
    atomic_write(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_a_killed_process_left_of_it_goes_with_the_next(tmp_path: Path, what: str) -> None:
    path = tmp_path / "one[1].parquet"
    subprocess.run([sys.executable, "-c", KILLED, str(path), what], check=False)
    (left,) = tmp_path.iterdir()
    others = [
        tmp_path / f"{left.name.partition(TEMPORARY)[0]}{TEMPORARY}{end}" for end in ("1-ab", "x")
    ]
    for other in (*others, tmp_path / left.name.replace("one", "two")):
        other.write_text("of another machine, or another file")
    with atomic_file(path, prefix="_") as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert not left.exists()
    assert len([*tmp_path.iterdir()]) == 4
