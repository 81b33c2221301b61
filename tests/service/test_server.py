from __future__ import annotations

import socket
from pathlib import Path

import pytest

from recsys_mtl.cli.main import main

pytestmark = pytest.mark.slow  # loads models


def test_a_wrong_start_is_one_line(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(bundle), "--port", port]) == 2
    assert f"error: 127.0.0.1:{port}: cannot listen; found Address already in use" in (
        capfd.readouterr().err
    )
    assert main(["serve", str(tmp_path), "--port", "0"]) == 2
    assert f"error: {tmp_path}: no model there" in capfd.readouterr().err
    assert main(["serve", str(bundle), "--port", "0", "--tracking-uri", "sqlite:///x.db"]) == 2
    assert "error: --tracking-uri is for models:/NAME@champion" in capfd.readouterr().err
