from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_mtl.cli import doctor
from recsys_mtl.cli.doctor import Trouble, check, probe
from recsys_mtl.cli.main import main

GOOD: dict[str, str | None] = {
    "torch": "2.13.0+cpu",
    "torchrec": "1.8.0",
    "torchmetrics": "1.0.3",
    "pyarrow": "25.0.1",
    "mlflow": "3.17.2",
    "polars": "2.1.0",
    "torchjd": "0.18.0",
    "fbgemm-gpu": None,
    "fbgemm-gpu-cpu": "1.8.0",
}
CUDA = {"torch": "2.13.0+cu130", "fbgemm-gpu": "1.8.0", "fbgemm-gpu-cpu": None}


def test_a_good_environment_has_no_troubles() -> None:
    assert check(GOOD, {}) == []
    assert check(GOOD | CUDA, {}) == []


TABLE: list[tuple[dict[str, str | None], str, str]] = [
    ({"torch": "2.15.0"}, "torch 2.15.0 does not fit", "pip install torch==2.13.0"),
    ({"torch": "2.1.13"}, "torch 2.1.13 does not fit", "pip install torch==2.13.0"),
    ({"torch": None}, "torch is missing", "pip install torch==2.13.0"),
    ({"torchrec": "1.7.0"}, "torchrec 1.7.0", "pip install --no-deps torchrec==1.8.0"),
    ({"fbgemm-gpu-cpu": "1.7.0"}, "fbgemm 1.7.0", "pip install --no-deps fbgemm-gpu-cpu==1.8.0"),
    (CUDA | {"fbgemm-gpu": "1.9.0"}, "fbgemm 1.9.0", "pip install --no-deps fbgemm-gpu==1.8.0"),
    ({"torchmetrics": "1.8.1"}, "torchmetrics 1.8.1", "pip install torchmetrics==1.0.3"),
    ({"torchmetrics": None}, "torchmetrics is missing", "pip install torchmetrics==1.0.3"),
    ({"pyarrow": "26.0.0"}, "pyarrow 26.0.0 does not fit", "pip install pyarrow==25.0.1"),
    ({"mlflow": "2.22.0"}, "mlflow 2.22.0 does not fit", "pip install mlflow==3.17.2"),
    ({"polars": None}, "polars is missing", "pip install polars==2.1.0"),
    ({"torchjd": "0.17.0"}, "torchjd 0.17.0 does not fit", "pip install torchjd==0.18.0"),
    (
        {"fbgemm-gpu": "1.8.0"},
        "installed twice",
        "pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu && pip install --no-deps fbgemm-gpu-cpu==1.8.0",
    ),
]


@pytest.mark.parametrize(("change", "what", "mend"), TABLE)
def test_a_mismatch_is_told_with_its_mend(
    change: dict[str, str | None], what: str, mend: str
) -> None:
    (trouble,) = check(GOOD | change, {})
    assert what in trouble.what
    assert trouble.mend == mend
    assert not trouble.optional


def test_without_torchrec_all_is_optional() -> None:
    troubles = check(GOOD | {"torchrec": None, "fbgemm-gpu-cpu": None, "torchmetrics": None}, {})
    assert [trouble.what.split()[0] for trouble in troubles] == ["torchrec", "fbgemm"]
    assert all(trouble.optional for trouble in troubles)


def test_failing_imports() -> None:
    cuda_build = GOOD | {"fbgemm-gpu": "1.8.0", "fbgemm-gpu-cpu": None}
    failures = {"fbgemm_gpu": "OSError: libtorch_cuda.so", "torchrec": "the same"}
    assert check(cuda_build, failures) == [
        Trouble(
            "fbgemm does not import: OSError: libtorch_cuda.so",
            "pip uninstall -y fbgemm-gpu && pip install --no-deps fbgemm-gpu-cpu==1.8.0",
        )
    ]
    (trouble,) = check(GOOD, {"torchrec": "No module named 'iopath'"})
    assert "iopath" in trouble.mend
    (trouble,) = check(GOOD, {"torch": "broken", "torchrec": "x"})
    assert trouble.mend == "pip install torch==2.13.0 --force-reinstall"
    assert len(check(GOOD | {"torch": None}, {"torch": "No module named 'torch'"})) == 1


def test_probe_tells_what_went_wrong() -> None:
    assert probe("print(3)") == ("3\n", "")
    assert probe("import no_such_module")[1].endswith("No module named 'no_such_module'")
    assert probe("import os; os._exit(7)")[1] == "exit code 7"


@pytest.mark.parametrize("broken", [False, True])
def test_the_report(
    *,
    broken: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fake_probe(code: str) -> tuple[str, str]:
        if "cuda" in code:
            return '{"cuda": ["H100, 80 GiB"], "mps": false}', ""
        return "", "ImportError: bad" if broken else ""

    monkeypatch.setattr(doctor, "probe", fake_probe)
    monkeypatch.setattr(doctor, "installed", lambda: GOOD)
    assert main(["doctor", "--out", str(tmp_path)]) == int(broken)
    text = capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["healthy"] is not broken
    assert result["embeddings"] == ("plain" if broken else "torchrec")
    assert result["devices"]["cpu"]["cores"] >= 1
    assert "H100, 80 GiB" in text
    assert ("mend: pip install" in text) is broken
    assert result["job"] == "doctor"
    assert result["versions"]["torch"] == "2.13.0+cpu"


@pytest.mark.slow
def test_this_environment_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert printed.endswith("\nhealthy\n")
