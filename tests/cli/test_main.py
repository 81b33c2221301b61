from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recsys_mtl.cli.main import _JOBS, main
from recsys_mtl.errors import Problem, UserError

Result = dict[str, Any]
Fake = Callable[[str, Callable[..., Result]], None]


@pytest.fixture
def fake_job(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a function in the place of a job's `run`."""

    def put(name: str, run: Callable[..., Result]) -> None:
        module = ModuleType(f"recsys_mtl.{_JOBS[name]}")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


def calls(fake_job: Fake, name: str, *arguments: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def run(*args: Any, **options: Any) -> Result:
        seen.append((args, options))
        return {"healthy": True, "interrupted": False}

    fake_job(name, run)
    assert main([name, *arguments]) == 0
    return seen[0]


def test_train_hands_over_its_options(fake_job: Fake) -> None:
    options = "c.yaml --set a.b=1 --set c=[2] --data my data --out o --baselines --seed 7"
    arguments = options.replace("my data", "my_data").split()
    assert calls(fake_job, "train", *arguments) == (
        (Path("c.yaml"),),
        {
            "overrides": ["a.b=1", "c=[2]", 'data.root="my_data"', "seed=7"],
            "out": Path("o"),
            "baselines": True,
        },
    )


def test_the_other_jobs_hand_over_their_options(fake_job: Fake) -> None:
    assert calls(fake_job, "train", "c.yaml") == (
        (Path("c.yaml"),),
        {"overrides": [], "out": None, "baselines": False},
    )
    assert calls(fake_job, "validate", "c.yaml", "--set", "x=1", "--data", "d") == (
        (Path("c.yaml"),),
        {"overrides": ["x=1", 'data.root="d"'], "out": None},
    )
    assert calls(fake_job, "evaluate", "r", "--split", "valid", "--input", "a*.parquet") == (
        (Path("r"),),
        {"data": None, "input": "a*.parquet", "split": "valid", "out": None},
    )
    arguments = ["r", "--input", "a", "--output", "b.parquet", "--batch-rows", "10"]
    assert calls(fake_job, "predict", *arguments) == (
        (Path("r"),),
        {
            "input": "a",
            "output": Path("b.parquet"),
            "out": None,
            "model": None,
            "tracking_uri": None,
            "options": {
                "keep": (),
                "rows_per_file": None,
                "overwrite": False,
                "drift": True,
                "batch_rows": 10,
                "precision": "fp32",
            },
        },
    )
    assert calls(fake_job, "ablate", "a.yaml") == (
        (Path("a.yaml"),),
        {"overrides": [], "out": None, "processes": None},
    )
    arguments = [
        "a.yaml",
        "--set",
        "seeds.count=3",
        "--set",
        "x=1",
        "--out",
        "o",
        "--processes",
        "2",
    ]
    assert calls(fake_job, "ablate", *arguments) == (
        (Path("a.yaml"),),
        {"overrides": ["seeds.count=3", "x=1"], "out": Path("o"), "processes": 2},
    )
    arguments = ["celeba", "--data", "d", "--set", "reruns=1", "--processes", "3"]
    assert calls(fake_job, "reproduce", *arguments) == (
        ("celeba",),
        {"overrides": ["reruns=1"], "data": Path("d"), "out": None, "processes": 3},
    )
    assert calls(fake_job, "doctor", "--out", "o") == ((Path("o"),), {})
    assert calls(fake_job, "schema", "--plan") == ((None,), {"markdown": False, "plan": True})
    assert calls(fake_job, "describe", "d", "--out", "o") == ((Path("d"),), {"out": Path("o")})


def test_an_unhealthy_doctor_is_exit_code_1(fake_job: Fake) -> None:
    fake_job("doctor", lambda out: {"healthy": False})
    assert main(["doctor"]) == 1


USAGE = {
    "": "Missing command",
    "trian c.yaml": "No such command 'trian'",
    "train": "Missing argument 'CONFIG'",
    "train c.yaml --sed 3": "No such option: --sed",
    "train c.yaml --seed x": "--seed",
    "train c.yaml more": "unexpected extra argument",
    "evaluate r --split tset": "'--split'",
    "ablate": "Missing argument 'CONFIG'",
    "ablate a.yaml --processes 0": "'--processes'",
    "reproduce": "Missing argument 'PLAN'",
    "reproduce celeba --processes 0": "'--processes'",
    "predict r --input a": "Missing option '--output'",
    "predict r --input a --output b --batch-rows 0": "'--batch-rows'",
}


@pytest.mark.parametrize("arguments", USAGE)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert USAGE[arguments] in err


def raising(error: BaseException) -> Callable[..., Result]:
    def run(*args: Any, **options: Any) -> Result:
        raise error

    return run


def test_every_problem_is_a_line(fake_job: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake_job("train", raising(UserError(Problem("one", "a\nb"), Problem("two"))))
    assert main(["train", "c.yaml"]) == 2
    assert capsys.readouterr().err == "error: a b: one\nerror: two\n"


def from_another(cause: BaseException) -> RuntimeError:
    error = RuntimeError("cannot save")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"),
        OSError(errno.EDQUOT, "quota"),
        OSError(errno.EFBIG, "big"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
        from_another(OSError(errno.ENOSPC, "full")),
    ],
)
def test_a_full_disk_is_one_line(
    error: BaseException, fake_job: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_job("train", raising(error))
    assert main(["train", "c.yaml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: out of disk: ")
    assert err.count("\n") == 1


def test_an_interrupt_is_exit_code_130(fake_job: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake_job("train", raising(KeyboardInterrupt()))
    assert main(["train", "c.yaml"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_a_training_that_was_interrupted_but_stored_is_exit_code_130(fake_job: Fake) -> None:
    fake_job("train", lambda *args, **options: {"interrupted": True})
    assert main(["train", "c.yaml"]) == 130


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.EIO, "broken")])
def test_a_bug_keeps_its_traceback(error: Exception, fake_job: Fake) -> None:
    fake_job("train", raising(error))
    with pytest.raises(type(error)):
        main(["train", "c.yaml"])


def test_schema_prints_and_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--out", str(tmp_path)]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"data", "features", "tasks"} <= set(schema["properties"])
    assert json.loads((tmp_path / "schema.json").read_text()) == schema
    assert json.loads((tmp_path / "result.json").read_text())["job"] == "schema"


def test_unwritable_output_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["schema", "--out", str(tmp_path / "file")]) == 2
    assert "cannot write to the output folder" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["schema"]])
def test_help_and_schema_come_at_once(arguments: list[str]) -> None:
    """No job is imported for them; torch alone would take seconds."""
    code = (
        "import sys; from recsys_mtl.cli.main import main; status = main(sys.argv[1:]);"
        "heavy = {'torch', 'mlflow', 'polars', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    started = time.monotonic()
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < 5  # about 0.2 s on an idle machine


def test_a_traceback_is_exit_code_1_for_the_shell(tmp_path: Path) -> None:
    code = (
        "import sys, types; from recsys_mtl.cli.main import main;"
        "job = types.ModuleType('recsys_mtl.runs.train'); job.run = lambda *a, **k: 1 / 0;"
        "sys.modules['recsys_mtl.runs.train'] = job; sys.exit(main(['train', 'c.yaml']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr
