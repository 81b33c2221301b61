from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_mtl import environment
from recsys_mtl.cli.main import main
from recsys_mtl.environment import Diagnosis
from recsys_mtl.environment.judge import Trouble

DEVICES = {
    "cpu": {"model": "EPYC", "cores": 2, "avx512": True, "amx_bf16": None, "memory_gib": 23.5},
    "cuda": ["H100, 80 GiB"],
    "mps": False,
}
REPORT = """\
python          3.11.7
torch           2.13.0+cpu
fbgemm-gpu      -

cpu model       EPYC
cpu cores       2
cpu avx512      yes
cpu amx_bf16    unknown
cpu memory_gib  23.5
cuda            H100, 80 GiB
mps             none
embeddings      auto takes plain for large tables
native kernels  avx2

"""


@pytest.mark.parametrize("broken", [False, True])
def test_the_report(
    *,
    broken: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    versions = {"python": "3.11.7", "torch": "2.13.0+cpu", "fbgemm-gpu": None}
    trouble = Trouble("it does not import", "pip install it", optional=not broken)
    diagnosis = Diagnosis(versions, [trouble], DEVICES, "plain", "avx2")
    monkeypatch.setattr(environment, "diagnose", lambda: diagnosis)
    assert main(["doctor", "--out", str(tmp_path)]) == int(broken)
    kind, end = ("wrong", "not healthy") if broken else ("could be better", "healthy")
    fix = f"{kind}: it does not import\n    fix: pip install it\n{end}\n"
    assert capsys.readouterr().out == REPORT + fix
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["job"], result["healthy"]) == ("doctor", not broken)
    assert (result["versions"], result["devices"]) == (versions, DEVICES)
    assert result["troubles"] == [
        {"what": trouble.what, "mend": trouble.mend, "optional": not broken}
    ]
    assert result["embeddings"] == "plain"


@pytest.mark.slow  # torch and torchrec in a process of their own
def test_this_environment_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert printed.endswith("\nhealthy\n")
