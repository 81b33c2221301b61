from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.errors import UserError
from recsys_mtl.scoring.export import export
from recsys_mtl.serving.exported import load_export
from recsys_mtl.tracking.bundle_cache import bundle_hash

TOLD = {"checked": {"largest_difference": 2.5e-7}}


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the slow export by a manifest alone; gives the requested bundles."""
    requested = []

    def save(bundle: Path, folder: Path) -> dict[str, Any]:
        requested.append(bundle)
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")
        return TOLD

    monkeypatch.setattr("recsys_mtl.scoring.export.save_export", save)
    return requested


def test_a_run_is_exported_and_its_pin_printed(
    trained: tuple[Any, Any],
    saved: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toy, _ = trained
    arguments = ["export", str(toy.run), "--output", str(tmp_path / "e")]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--format", "torch"]) == 0
    assert saved == [toy.run / "model"]
    pin = hashlib.sha256(b"{}").hexdigest()
    printed = capsys.readouterr().out
    assert f"pin (sha256 of its manifest.json): {pin}" in printed
    assert "2.5e-07" in printed
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["pin"], result["format"], result["job"]) == (pin, "torch", "export")
    assert result["bundle_sha256"] == bundle_hash(toy.run / "model")


def test_a_registered_model_is_fetched(
    trained: tuple[Any, Any], saved: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = []

    class Registry:
        def __init__(self, uri: str | None) -> None:
            requested.append(uri)

        def resolve(self, model: str, *, where: str) -> SimpleNamespace:
            requested.append(f"{where} {model}")
            return SimpleNamespace(name="shop", number=7)

        def download(self, version: SimpleNamespace) -> Path:
            return trained[0].run / "model"

    monkeypatch.setattr("recsys_mtl.tracking.registry.Registry", Registry)
    result = export(None, model="models:/shop@champion", tracking_uri="u", output=tmp_path / "e")
    assert requested == ["u", "--model models:/shop@champion"]
    assert saved == [trained[0].run / "model"]
    assert result["registered"] == {"name": "shop", "version": 7, "alias": "champion"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "e"], "which model.*found neither"),
        (["RUN", "--model", "m/1", "--output", "e"], "which model.*found both"),
        (["missing", "--output", "e"], "no model there.*no such folder"),
        (["RUN", "--output", "e", "--format", "onnx"], "'onnx' is not"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str],
    message: str,
    trained: tuple[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = str(trained[0].run)
    assert main(["export", *(run if a == "RUN" else a for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # torch traces the network
def test_the_program_is_that_of_the_run(trained: tuple[Any, Any], tmp_path: Path) -> None:
    toy, _ = trained
    result = export(toy.run, output=tmp_path / "e")
    assert result["largest_difference"] <= 1e-6
    loaded = load_export(tmp_path / "e", pin=result["pin"])
    assert loaded.manifest["tasks"].keys() == {"click", "buy", "band", "spend", "item"}
    with pytest.raises(UserError, match="there is something already"):
        export(toy.run, output=tmp_path / "e")
