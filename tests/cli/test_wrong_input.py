"""Wrong input for a stored model, a full disk and torchrun end in clear lines and exit code 2."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.cli.main import main
from tests.wrong_input import Arguments, Spoil, both, check, file, job, rows, text

STORED: dict[str, tuple[Spoil, str]] = {
    "predict with a missing column": (
        both(
            lambda toy, _: toy.rows().drop("age").write_parquet(toy.folder / "new.parquet"),
            job("predict", "FOLDER/run", "--input", "FOLDER/new.parquet"),
        ),
        r"--input .*new\.parquet: missing column; expected a column 'age'",
    ),
    "predict with a column of another type": (
        both(
            rows(text("age")),
            job("predict", "FOLDER/run", "--input", "FOLDER/toy.parquet"),
        ),
        r"column 'age': wrong type; expected numbers or booleans; found String -> ",
    ),
    "predict into a folder": (
        both(
            lambda toy, _: (toy.folder / "scores.parquet").mkdir(),
            job(
                "predict",
                "FOLDER/run",
                "--input",
                "FOLDER/toy.parquet",
                "--output",
                "FOLDER/scores.parquet",
            ),
        ),
        r"scores\.parquet: cannot write the output file; found a folder -> ",
    ),
    "predict below a file": (
        job(
            "predict",
            "FOLDER/run",
            "--input",
            "FOLDER/toy.parquet",
            "--output",
            "FOLDER/toy.yaml/s",
        ),
        r"toy\.yaml: cannot write to the output folder; found .* -> ",
    ),
    "predict without input": (
        job("predict", "FOLDER/run", "--input", "FOLDER/new.parquet"),
        r"--input: no such file.*new\.parquet",
    ),
    "predict with a damaged model": (
        both(
            file("run/model/weights.safetensors", b"no weights"),
            job("predict", "FOLDER/run", "--input", "FOLDER/toy.parquet"),
        ),
        r"weights\.safetensors: file of the model was changed.*sha256.* -> copy",
    ),
    "predict with a manifest without an end": (
        both(
            file("run/model/manifest.json", "[" * 100_000),
            job("predict", "FOLDER/run", "--input", "FOLDER/toy.parquet"),
        ),
        r"manifest\.json: not a saved model; expected a folder that a training saved",
    ),
    "predict with a manifest of something else": (
        both(
            file("run/model/manifest.json", '{"format": 1, "files": [1]}'),
            job("predict", "FOLDER/run", "--input", "FOLDER/toy.parquet"),
        ),
        r"manifest\.json: not a saved model; expected a folder that a training saved",
    ),
    "predict over a file of something else": (
        both(
            file("mine.parquet", "mine"),
            job(
                "predict",
                "FOLDER/run",
                "--input",
                "FOLDER/toy.parquet",
                "--output",
                "FOLDER/mine.parquet",
            ),
        ),
        r"mine\.parquet: no scoring wrote this file -> give another file with --output, or",
    ),
    "predict among files of something else": (
        both(
            lambda toy, _: (toy.folder / "mine").mkdir(),
            file("mine/a.parquet", "mine"),
            job(
                "predict", "FOLDER/run", "--input", "FOLDER/toy.parquet", "--output", "FOLDER/mine"
            ),
        ),
        r"mine: the folder holds files that no scoring wrote; found a\.parquet -> give a new",
    ),
    "predict with half a model": (
        both(
            lambda toy, _: (toy.run / "model" / "preprocessor.json").unlink(),
            job("predict", "FOLDER/run", "--input", "FOLDER/toy.parquet"),
        ),
        r"preprocessor\.json: file of the model is missing",
    ),
    "evaluate with a missing label": (
        both(
            lambda toy, _: toy.rows().drop("band").write_parquet(toy.folder / "new.parquet"),
            job("evaluate", "FOLDER/run", "--input", "FOLDER/new.parquet"),
        ),
        r"tasks\.band\.label: missing column; expected a column 'band'",
    ),
    "evaluate without its data": (
        both(
            lambda toy, _: toy.data.unlink(),
            job("evaluate", "FOLDER/run", "--data", "FOLDER"),
        ),
        r"data\.path: no such file.*toy\.parquet",
    ),
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("train", "toy.yaml", "--out", "new"),
            "not started as one of several processes; found environment variable RANK expected, "
            "but not set -> start it by torchrun or --processes; or unset WORLD_SIZE",
        ),
        (
            ("train", "toy.yaml", "--out", "new", "--processes", "2"),
            "several processes cannot share this job yet; expected 1, or unset; "
            "found 2 -> start one process, without torchrun or mpirun; or unset WORLD_SIZE",
        ),
        (
            ("synthesize", "demo", "--rows", "9", "--out", "new/rows"),
            "several processes cannot share this job yet; expected 1, or unset; "
            "found 2 -> start one process, without torchrun or mpirun; or unset WORLD_SIZE",
        ),
    ],
)
def test_under_torchrun_a_job_is_refused(
    arguments: Arguments,
    expected: str,
    toy: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(toy.folder)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: WORLD_SIZE: {expected}"]


@pytest.mark.parametrize("name", STORED)
def test_wrong_input_for_a_stored_model(
    name: str, toy: Any, trained: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained[0].run / "model", toy.run / "model")
    check(toy, STORED[name], capsys)


NO_DISK = """
import resource, signal, sys
from recsys_mtl.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


def with_little_disk(size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a job in a process whose files can have `size` bytes at most."""
    command = [sys.executable, "-c", NO_DISK, str(size), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow  # a process each
@pytest.mark.parametrize(
    ("size", "left"),
    [(1_000, set()), (4_000, set()), (12_000, {"config.yaml", "model"})],
    ids=["config", "weights", "result"],
)
def test_out_of_disk(size: int, left: set[str], toy: Any) -> None:
    out = toy.folder / "out"
    long = ("--set", "training.epochs=30", "--set", "training.early_stopping.patience=null")
    done = with_little_disk(size, "train", str(toy.folder / "toy.yaml"), "--out", str(out), *long)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "File too large" in errors[0]
    assert "Traceback" not in done.stderr
    assert {path.name for path in out.glob("*")} == left


@pytest.mark.slow
def test_out_of_disk_in_predict(trained: tuple[Any, Any], tmp_path: Path) -> None:
    toy, _ = trained
    scores = tmp_path / "scores.parquet"
    arguments = ["predict", str(toy.run), "--input", str(toy.data), "--output", str(scores)]
    done = with_little_disk(2_000, *arguments)
    assert done.returncode == 2, done.stderr
    assert re.search(r"^error: out of disk: .*File too large", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
