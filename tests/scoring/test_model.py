from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.scoring.model import find_model
from recsys_mtl.tracking import registry


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    return tmp_path


def test_a_run_folder(run: Path) -> None:
    model = find_model(run)
    assert (model.folder, model.registered) == (run / "model", None)
    assert model.sha256 == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize(("model", "alias"), [("models:/m@champion", "champion"), ("m/3", None)])
def test_a_registered_version(
    run: Path, monkeypatch: pytest.MonkeyPatch, model: str, alias: str | None
) -> None:
    requested: list[Any] = []

    class Registry:
        def __init__(self, uri: str | None) -> None:
            requested.append(uri)

        def resolve(self, model: str, *, where: str) -> Any:
            requested.append((model, where))
            return SimpleNamespace(name="m", number=3)

        def download(self, version: Any) -> Path:
            return run / "model"

    monkeypatch.setattr(registry, "Registry", Registry)
    source = find_model(None, model=model, tracking_uri="sqlite:///x.db")
    assert requested == ["sqlite:///x.db", (model, "--model")]
    assert source.folder == run / "model"
    assert source.registered == {"name": "m", "version": 3, "alias": alias}


def test_one_of_both(run: Path) -> None:
    with pytest.raises(UserError, match="expected either RUN_DIR or --model; found neither"):
        find_model(None)
    with pytest.raises(UserError, match="found both"):
        find_model(run, model="m/3")
    with pytest.raises(UserError, match="--tracking-uri is for --model"):
        find_model(run, tracking_uri="sqlite:///x.db")
