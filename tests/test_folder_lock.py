from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.folder_lock import HOLDER, LOCK, locked


def test_the_error_of_the_second_job_names_the_first(tmp_path: Path) -> None:
    message = f"another job writes there; found process {os.getpid()} on {socket.gethostname()}"
    with locked(tmp_path):
        with pytest.raises(UserError, match=message), locked(tmp_path):
            pass
        assert (tmp_path / HOLDER).exists()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_job_that_ends_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = locked(tmp_path)
    first.__enter__()
    waits: list[float] = []

    def ends(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            first.__exit__(None, None, None)

    monkeypatch.setattr("time.sleep", ends)
    with locked(tmp_path):
        assert len(waits) == 1
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_an_error_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        assert (tmp_path / HOLDER).exists()


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}'])
def test_the_lock_of_a_killed_job_is_free_again(tmp_path: Path, content: str) -> None:
    (tmp_path / HOLDER).write_text(content)
    with locked(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from recsys_mtl.folder_lock import locked;"
        f"lock = locked(Path({str(tmp_path)!r})); lock.__enter__();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / HOLDER).exists()
    (tmp_path / f"{HOLDER}.tmp-1-ab").write_text("{")  # of one that was killed as it wrote it
    with locked(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_job_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    text = json.dumps({"pid": 4, "host": "elsewhere"})
    (tmp_path / HOLDER).write_text(text)
    message = "found process 4 on elsewhere -> if it does not run any more, delete .*_lock.json"
    with pytest.raises(UserError, match=message), locked(tmp_path):
        pass
    assert (tmp_path / HOLDER).read_text() == text
