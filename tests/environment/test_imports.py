from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.environment import imports
from recsys_mtl.environment.imports import Imports, try_imports

CRASH = "import os, sys; sys.stderr.write({!r}); sys.stderr.flush(); os._exit(7)"
TORCH = """
class Device:
    name, total_memory = "H100", 80 * 2**30
class cuda:
    device_count = staticmethod(lambda: 1)
    get_device_properties = staticmethod(lambda index: Device)
class backends:
    class mps:
        is_available = staticmethod(lambda: True)
print("a word of its own")
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes modules that a fresh process can import."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)

    return write


def test_what_went_wrong(modules: Any) -> None:
    modules(good="", bad="import no_such_module", odd="raise OSError('first\\nlast')")
    failures = {"bad": "ModuleNotFoundError: No module named 'no_such_module'", "odd": "last"}
    assert try_imports(["bad", "good", "odd"]) == Imports(failures)


@pytest.mark.parametrize(("said", "message"), [("", "exit code 7"), ("one\ntwo\n", "two")])
def test_a_crash_is_that_of_the_module_tried(modules: Any, said: str, message: str) -> None:
    modules(good="", crash=CRASH.format(said))
    assert try_imports(["good", "crash", "good"]) == Imports({"crash": message})


def test_devices_are_those_of_torch(modules: Any) -> None:
    modules(torch=TORCH, fbgemm_gpu="import torch")
    devices = {"cuda": ["H100, 80 GiB"], "mps": True}
    assert try_imports(["torch", "fbgemm_gpu"]) == Imports({}, devices)


def test_without_torch_nothing_else_is_tried(modules: Any) -> None:
    modules(torch="raise ImportError('broken')", torchrec="import torch")
    assert try_imports(["torch", "torchrec"]) == Imports({"torch": "ImportError: broken"})


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("python", 300, output=b'{"trying": "torchrec"}\n')

    monkeypatch.setattr(imports.subprocess, "run", late)
    assert try_imports(["torch", "torchrec"]) == Imports({"torchrec": "no answer in 300 s"})
