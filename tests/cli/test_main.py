from __future__ import annotations

import errno
import importlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from polars.exceptions import ComputeError

from recsys_mtl.cli.command import show_page
from recsys_mtl.cli.main import main
from recsys_mtl.cli.run import Lines
from recsys_mtl.errors import Problem, UserError
from recsys_mtl.reports.page import Page
from recsys_mtl.reports.report import Report
from recsys_mtl.reports.results import ResultTable
from recsys_mtl.scoring.job import Options

Result = dict[str, Any]
Fake = Callable[[str, Callable[..., Any]], None]
Call = tuple[tuple[Any, ...], dict[str, Any]]
CONFIG = SimpleNamespace(name="toy")
LIBRARY = {
    "train": "runs.train",
    "evaluate": "runs.evaluate",
    "validate": "runs.validate",
    "predict": "scoring.predict",
    "ablate": "ablation.ablate",
    "reproduce": "vision.reproduction.reproduce",
    "compare": "runs.compare",
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a function instead of the one that a command calls; the config is `CONFIG`."""
    importlib.import_module("recsys_mtl.ablation.folder")  # it would keep what it imports meanwhile
    monkeypatch.setattr("recsys_mtl.config.load_config", lambda *_: CONFIG)

    def put(name: str, function: Callable[..., Any]) -> None:
        package, _, last = f"recsys_mtl.{LIBRARY[name]}".rpartition(".")
        module: Any = ModuleType(f"{package}.{last}")
        setattr(module, name, function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(importlib.import_module(package), last, module, raising=False)

    return put


def call(fake: Fake, name: str, result: Any, arguments: str) -> Call:
    """What a command calls its library with, which answers `result`."""
    calls: list[Call] = []

    def function(*args: Any, **options: Any) -> Any:
        calls.append((args, options))
        return result

    fake(name, function)
    assert main([name, *arguments.split()]) == 0
    return calls[0]


def loaded(
    monkeypatch: pytest.MonkeyPatch, loader: str = "recsys_mtl.config.load_config"
) -> list[Any]:
    """What the config is loaded from."""
    calls: list[Any] = []
    monkeypatch.setattr(loader, lambda *args: calls.append(args) or CONFIG)
    return calls


def test_a_log_line_cannot_be_forged() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "a\n%s\x1b[0m", ("b",), None)
    assert Lines("%(levelname)s %(message)s").format(record) == "INFO a\n    b\\x1b[0m"


def test_a_name_that_is_not_utf8_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", os.fsdecode(b"bad\xff")]) == 2
    expected = "error: not UTF-8; found bad\\udcff -> rename the file or folder\n"
    assert capsys.readouterr().err == expected


def test_an_error_is_one_line_of_text(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UserError(Problem("no\nsuch \x1b[31mcolumn"))

    fake("evaluate", fail)
    assert main(["evaluate", "r"]) == 2
    assert capsys.readouterr().err == "error: no such \\x1b[31mcolumn\n"


def test_train_passes_its_options(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = loaded(monkeypatch)
    options = (
        "c.yaml --set a.b=1 --set c=[2] --data my_data --out o --baselines --seed 7 --resume 12"
    )
    result = {"interrupted": False}
    assert call(fake, "train", result, options) == (
        (CONFIG, Path("o")),
        {"baselines": True, "show": ResultTable.show, "resume": 12},
    )
    assert call(fake, "train", result, "c.yaml") == (
        (CONFIG, Path("runs/toy")),
        {"baselines": False, "show": ResultTable.show, "resume": "auto"},
    )
    for line in ("c.yaml --baselines tuned lightgbm", "--baselines c.yaml tuned lightgbm"):
        _, given = call(fake, "train", result, line)
        assert given["baselines"] == ["tuned", "lightgbm"]
    overrides = ["a.b=1", "c=[2]", 'data.root="my_data"', "seed=7"]
    assert requests[:2] == [(Path("c.yaml"), overrides), (Path("c.yaml"), [])]


@pytest.mark.parametrize(
    ("tracked", "page"),
    [
        ({"run_id": None}, "nowhere, as tracking.enabled is false"),
        (
            {"run_id": "ab", "experiment_id": "1", "tracking_uri": "http://server"},
            "http://server/#/experiments/1/runs/ab?workflowType=machine_learning",
        ),
    ],
)
def test_a_training_ends_with_where_it_is_and_what_is_next(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: Any, tracked: Result, page: str
) -> None:
    loaded(monkeypatch)
    call(fake, "train", {"interrupted": False, "name": "toy", "mlflow": tracked}, "c.yaml --out o")
    assert capsys.readouterr().out.splitlines() == [
        "stored:  o (model/, report.html, config.yaml, result.json)",
        f"tracked: {page}",
        "next:    recsys-mtl evaluate o --input ROWS, recsys-mtl predict o --input ROWS "
        "--output FILE, recsys-mtl register o --name toy",
    ]


def test_the_program_alone_shows_its_help_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "..." not in shown.partition("Commands:")[2]
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == shown


def test_validate_passes_its_options(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = loaded(monkeypatch)
    result = {"rows": {}, "parameters": 1, "table_rows": 2, "warnings": [], "steps_per_epoch": 3}
    result |= {"most_steps": 6, "labels": {}, "features": {}, "copies": {}}
    result |= {"recipe": {"name": "table", "decided": {"training.epochs": 60}}}
    options = "c.yaml --set x=1 --data d"
    assert call(fake, "validate", result, options) == ((CONFIG,), {"processes": None})
    assert requests == [(Path("c.yaml"), ["x=1", 'data.root="d"'])]


def test_evaluate_passes_its_options(fake: Fake) -> None:
    evaluation = SimpleNamespace(table=SimpleNamespace(show=lambda: None), numbers={})
    options = "r --split valid --input a*.parquet --csv delimiter=;"
    assert call(fake, "evaluate", evaluation, options) == (
        (Path("r"),),
        {"data": None, "input": "a*.parquet", "split": "valid", "csv": ["delimiter=;"]},
    )


def test_predict_passes_its_options(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Any] = []
    monkeypatch.setattr(
        "recsys_mtl.scoring.model.find_model",
        lambda *args, **options: requests.append((args, options)) or "the model",
    )
    result = {"rows": 3, "rows_scored": 0}
    options = "r --input a --output b.parquet --batch-rows 10 --keep c --keep d"
    assert call(fake, "predict", result, options) == (
        ("the model",),
        {
            "input": "a",
            "output": "b.parquet",
            "options": Options(keep=("c", "d"), batch_rows=10),
            "show": Page.show,
        },
    )
    assert requests == [((Path("r"),), {"model": None, "tracking_uri": None})]


def test_ablate_passes_its_options(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = loaded(monkeypatch, "recsys_mtl.ablation.plan.load_ablation")
    expected = {"processes": None, "show": show_page}
    assert call(fake, "ablate", {}, "a.yaml") == ((CONFIG, Path("ablations/toy")), expected)
    options = "a.yaml --set seeds.count=3 --set x=1 --out o --processes 2"
    assert call(fake, "ablate", {}, options) == ((CONFIG, Path("o")), expected | {"processes": 2})
    assert requests == [(Path("a.yaml"), []), (Path("a.yaml"), ["seeds.count=3", "x=1"])]


def test_reproduce_passes_its_options(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = loaded(monkeypatch, "recsys_mtl.vision.reproduction.load.load_reproduction")
    options = "celeba --data d --set reruns=1 --processes 3"
    assert call(fake, "reproduce", {}, options) == (
        (CONFIG, Path("reproductions/toy")),
        {"data": Path("d"), "processes": 3, "show": show_page},
    )
    assert requests == [("celeba", ["reruns=1"])]


def test_the_page_and_the_numbers_go_to_the_output_folder(
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report(Page("Side by side", ["a text"]), {"runs": ["one", "two"]})
    monkeypatch.chdir(tmp_path)
    assert call(fake, "compare", report, "one two --out out") == (
        (["one", "two"],),
        {"tracking_uri": None, "predict": True},
    )
    assert capsys.readouterr().out == "Side by side\na text\n"
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert set(files) == {"compare.md", "compare.html", "result.json"}
    assert files["compare.md"] == "# Side by side\n\na text\n"
    result = json.loads(files["result.json"])
    assert list(result) == ["job", "version", "started", "seconds", "config_hash", "runs"]
    assert (result["job"], result["runs"]) == ("compare", ["one", "two"])


USAGE = {
    "trian c.yaml": "No such command 'trian'",
    "train": "Missing argument 'CONFIG'",
    "train c.yaml --sed 3": "No such option: --sed",
    "train c.yaml --seed x": "--seed",
    "train c.yaml more": "unexpected extra argument",
    "train c.yaml --resume last": "--resume: unknown word; expected auto, never, or the step",
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


def test_every_problem_is_a_line(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("train", raising(UserError(Problem("one", "a\nb"), Problem("two"))))
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
        ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
        from_another(OSError(errno.ENOSPC, "full")),
    ],
)
def test_a_full_disk_is_one_line(
    error: BaseException, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake("train", raising(error))
    assert main(["train", "c.yaml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: out of disk: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 6.94 EiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate"),
        RuntimeError("Storage size calculation overflowed with sizes=[1000000000000]"),
        from_another(MemoryError("Unable to allocate")),
    ],
)
def test_a_lack_of_memory_is_one_line(
    error: BaseException, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake("train", raising(error))
    assert main(["train", "c.yaml"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: out of memory: ")
    assert err.count("\n") == 1


def test_an_interrupt_is_exit_code_130(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake("train", raising(KeyboardInterrupt()))
    assert main(["train", "c.yaml"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_a_training_that_was_interrupted_but_stored_is_exit_code_130(fake: Fake) -> None:
    fake("train", lambda *_, **__: {"interrupted": True})
    assert main(["train", "c.yaml"]) == 130


@pytest.mark.parametrize("error", [ValueError("bug"), OSError(errno.EIO, "broken")])
def test_a_bug_keeps_its_traceback(error: Exception, fake: Fake) -> None:
    fake("train", raising(error))
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


def test_schema_of_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--plan"]) == 0
    assert {"rows", "features"} & set(json.loads(capsys.readouterr().out)["properties"])


@pytest.mark.slow  # a fresh process
def test_a_traceback_is_exit_code_1_for_the_shell(tmp_path: Path) -> None:
    code = (
        "import sys; from recsys_mtl.cli.main import main; import recsys_mtl.config;"
        "recsys_mtl.config.load_config = lambda *_: 1 / 0; sys.exit(main(['train', 'c.yaml']))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr
