from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from recsys_mtl.environment import diagnosis as module
from recsys_mtl.environment.diagnosis import diagnose
from recsys_mtl.environment.imports import Imports

tried: list[list[str]] = []


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tried.clear()

    def fake(modules: list[str]) -> Imports:
        tried.append(modules)
        return Imports({}, {"cuda": [], "mps": False})

    monkeypatch.setattr(module, "try_imports", fake)


def test_one_process_imports_what_has_to_be_proven() -> None:
    diagnosis = diagnose()
    assert diagnosis.troubles == []
    assert diagnosis.healthy
    assert tried == [["torch", "fbgemm_gpu", "torchrec"]]
    assert diagnosis.embeddings == "torchrec"
    assert list(diagnosis.versions)[:3] == ["python", "recsys-mtl", "torch"]
    assert set(diagnosis.devices) == {"cpu", "cuda", "mps"}
    assert diagnosis.devices["cpu"]["cores"] >= 1


def test_from_a_folder_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise PackageNotFoundError("recsys-mtl")

    monkeypatch.setattr(module, "own_needs", missing)
    diagnosis = diagnose()
    assert not diagnosis.healthy
    (trouble,) = diagnosis.troubles
    assert trouble.what.startswith("recsys-mtl is not installed: it runs from /")
    assert trouble.mend.startswith("pip install ")
    assert diagnosis.versions["torch"] is not None
