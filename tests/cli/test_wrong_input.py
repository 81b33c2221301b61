"""Every kind of wrong input ends in clear lines, exit code 2 and nothing half-written.

A case spoils a small data set, its config or the arguments, and lists what the line must name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from recsys_mtl.cli.main import main

Arguments = list[str]
Spoil = Callable[[Any, dict[str, Any]], Arguments | None]


def rows(*changes: pl.Expr | pl.Series) -> Spoil:
    """Change columns of the data."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        toy.rows().with_columns(*changes).write_parquet(toy.data)

    return spoil


def config(path: str, value: Any) -> Spoil:
    """Set a value of the config."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for key in way:
            document = document.setdefault(key, {})
        document[last] = value

    return spoil


def job(*arguments: str) -> Spoil:
    """Other arguments; FOLDER is the test's folder."""

    def spoil(toy: Any, document: dict[str, Any]) -> Arguments:
        toy.write(document)
        return [a.replace("FOLDER", str(toy.folder)) for a in arguments]

    return spoil


def both(*spoils: Spoil) -> Spoil:
    """One after another; the last one may give arguments."""

    def spoil(toy: Any, document: dict[str, Any]) -> Arguments | None:
        return [one(toy, document) for one in spoils][-1]

    return spoil


def file(name: str, content: str | bytes) -> Spoil:
    """Write a file."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        data = content.encode() if isinstance(content, str) else content
        (toy.folder / name).write_bytes(data)

    return spoil


def truncated(toy: Any, document: dict[str, Any]) -> None:
    toy.data.write_bytes(toy.data.read_bytes()[:-1000])


def mixed_schemas(toy: Any, document: dict[str, Any]) -> None:
    (toy.folder / "many").mkdir()
    toy.rows().write_parquet(toy.folder / "many" / "a.parquet")
    changed = toy.rows().with_columns(pl.col("age").cast(pl.String))
    changed.write_parquet(toy.folder / "many" / "b.parquet")
    document["data"]["path"] = "many"


def duplicate_column(toy: Any, document: dict[str, Any]) -> None:
    table = toy.rows().to_arrow()
    pq.write_table(table.append_column("age", table["income"]), toy.data)


def files_without_rows(toy: Any, document: dict[str, Any]) -> None:
    toy.rows().head(0).write_parquet(toy.folder / "none.parquet")
    split = {"kind": "files", "valid": "toy.parquet", "test": "none.parquet"}
    document["data"]["split"] = split


def twice(toy: Any, document: dict[str, Any]) -> Arguments:
    path = toy.folder / "bad.yaml"
    path.write_text(toy.write(document).read_text() + "name: again\n")
    return ["train", str(path)]


def csv(**cells: str) -> Spoil:
    """The data as CSV (lists joined by |), with cells of row 7 changed."""

    def spoil(toy: Any, document: dict[str, Any]) -> None:
        frame = toy.rows().with_columns(pl.col("seen").list.join("|")).with_row_index("row")
        changed = [
            pl.when(pl.col("row") == 7).then(pl.lit(text)).otherwise(pl.col(c)).alias(c)
            for c, text in cells.items()
        ]
        frame.with_columns(changed).drop("row").write_csv(toy.folder / "toy.csv")
        document["data"]["path"] = "toy.csv"
        document["features"]["seen"]["separator"] = "|"

    return spoil


def ablation(arms: str) -> Spoil:
    """An ablation of the data, with that line in its file."""

    def spoil(toy: Any, document: dict[str, Any]) -> Arguments:
        path = toy.folder / "ablation.yaml"
        path.write_text(f"name: a\nbase: {toy.write(document)}\n{arms}\n")
        return ["ablate", str(path)]

    return spoil


def text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String)


def row(number: int, column: str, value: object) -> pl.Expr:
    """One cell changed."""
    here = pl.int_range(pl.len()) == number
    return pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)


def time_split(column: str, **more: Any) -> Spoil:
    drop = config("data.ignore", [c for c in ("customer", "day") if c != column])
    return both(drop, config("data.split", {"kind": "time", "column": column, **more}))


UNREACHABLE = config("tracking", {"enabled": True, "uri": "http://127.0.0.1:9"})
TRANSFERS = [{"source": "click", "target": "buy"}, {"source": "buy", "target": "click"}]
INFINITY = float("inf")

CASES: dict[str, tuple[Spoil, str]] = {
    # files
    "missing file": (
        config("data.path", "toi.parquet"),
        r"data\.path: no such file.*toi\.parquet.*did you mean 'toy\.parquet'",
    ),
    "folder without data": (
        both(config("data.path", "sub"), lambda toy, _: (toy.folder / "sub").mkdir()),
        r"data\.path: no data files at '.*sub'; expected files ending in",
    ),
    "truncated Parquet": (
        truncated,
        r"data\.path: cannot read '.*toy\.parquet'; expected a whole Parquet file; found .* -> ",
    ),
    "text that is called Parquet": (
        file("toy.parquet", "age,income\n1,2\n"),
        r"data\.path: cannot read '.*toy\.parquet'; expected a whole Parquet file",
    ),
    "mixed schemas": (
        mixed_schemas,
        r"found 'age' \(double in '.*a\.parquet', large_string in '.*b\.parquet'\) -> write the",
    ),
    "duplicate column": (
        duplicate_column,
        r"duplicate column name in '.*toy\.parquet'.*found 'age' -> rename",
    ),
    "empty CSV": (
        both(file("toy.csv", ""), config("data.path", "toy.csv")),
        r"data\.path: cannot read '.*toy\.csv'; expected a CSV file with a header.*[Ee]mpty",
    ),
    "CSV without rows": (
        both(csv(), file("toy.csv", "age,income\n")),
        r"data\.path: no rows in '.*toy\.csv'; expected at least one row -> give",
    ),
    "CSV with text in a number": (
        csv(age="forty"),
        r"column 'age' of '.*toy\.csv' cannot be read as .*'forty' in row 7 .*-> correct",
    ),
    "CSV that is no UTF-8": (
        both(file("toy.csv", b"age,city\n1,\xff\xfe\n"), config("data.path", "toy.csv")),
        r"data\.path: column 'city' of '.*toy\.csv' is not text in UTF-8 -> save",
    ),
    # columns
    "missing column": (
        config("features.agee", {"kind": "numeric"}),
        r"features\.agee: missing column; expected a column 'agee'.*did you mean 'age'",
    ),
    "missing weight column": (
        both(config("data.weight", "weight"), config("data.ignore", ["customer", "day", "imp*"])),
        r"data\.weight: missing column; expected a column 'weight'",
    ),
    "column not mentioned": (
        rows(pl.lit(1).alias("surprise")),
        r"data\.path: columns not mentioned; expected .*; found surprise -> add .* data\.ignore",
    ),
    "text in a numeric feature": (
        rows(text("age")),
        r"column 'age': wrong type; expected numbers or booleans; found String -> store",
    ),
    "number where a list is expected": (
        rows(pl.lit(3).alias("seen")),
        r"column 'seen'.*; expected .*list.*found Int32 -> make it",
    ),
    "list where a category is expected": (
        rows(pl.col("seen").alias("city")),
        r"column 'city': lists in a single-valued column; .*found List\(String\) -> make it",
    ),
    "infinite value": (
        rows(row(11, "income", INFINITY)),
        r"column 'income': infinite value; .*found inf in row 11 .* -> make it null",
    ),
    "infinite value in a held-out row, streamed": (
        both(
            rows(row(9, "income", INFINITY)),
            config("data.loading", "stream"),
            time_split("day", valid_from="2024-01-20", test_from="2024-02-10"),
        ),
        r"column 'income': infinite value; .*found inf in row 9 ",
    ),
    "negative weight": (
        rows(row(11, "importance", -0.5)),
        r"data\.weight: column 'importance': not a weight; .*found -0\.5 in row 11 .*-> ",
    ),
    "no weight": (
        rows(row(11, "importance", None)),
        r"data\.weight: column 'importance': not a weight; .*found None in row 11 .*-> ",
    ),
    # labels
    "all-null label": (
        rows(pl.lit(None, pl.Float64).alias("spend")),
        r"tasks\.spend: label column 'spend': no label in the training rows; .*-> ",
    ),
    "empty sample space": (
        config("tasks.buy.only_where", "click == 2"),
        r"tasks\.buy: label column 'buy': no label in the training rows; .*only_where.*-> ",
    ),
    "label outside its classes": (
        rows(row(11, "band", "huge")),
        r"tasks\.band: label column 'band': label outside its classes; expected one of: "
        r"high, low, mid; found 'huge' in row 11 .* -> ",
    ),
    "binary label that is no yes or no": (
        rows(row(11, "click", 7)),
        r"tasks\.click: label column 'click': not a yes/no label; .*found 7 in row 11 .*-> name",
    ),
    "one-class label": (
        rows(pl.lit(0).alias("buy")),
        r"tasks\.buy: label column 'buy': the label has only one class.*found only '0' -> ",
    ),
    "text as a regression label": (
        rows(pl.lit("much").alias("spend")),
        r"tasks\.spend: label column 'spend': wrong type; expected numbers.*found String -> ",
    ),
    "infinite regression label": (
        rows(row(11, "spend", INFINITY)),
        r"tasks\.spend: label column 'spend': infinite value; .*found inf in row 11 .*-> ",
    ),
    "label is a feature too": (
        config("tasks.age", {"kind": "regression"}),
        r"toy\.yaml:\d+: tasks\.age: label column 'age' is also a feature -> drop the feature",
    ),
    # splits
    "split by files, one without rows": (
        files_without_rows,
        r"data\.split\.test: no rows in '.*none\.parquet'; expected at least one row",
    ),
    "empty split": (
        time_split("day", valid_from="2024-01-20", test_from="2025-01-01"),
        r"data\.split \(kind time\): no rows in test; .*test 0 -> move data\.split",
    ),
    "group column is null": (
        both(
            rows(row(11, "customer", None)),
            config("data.ignore", ["day"]),
            config("data.split", {"kind": "group", "column": "customer"}),
        ),
        r"data\.split\.column: column 'customer' is null in row 11 .*-> ",
    ),
    "group column is missing": (
        config("data.split", {"kind": "group", "column": "custmer"}),
        r"data\.split\.column: missing column; expected a column 'custmer'; .*mean 'customer'",
    ),
    "time column cannot be read": (
        both(rows(pl.lit("someday").alias("day")), time_split("day")),
        r"data\.split\.column: column 'day' cannot be read as time; .*found 'someday' in row 0 -> ",
    ),
    # conditions and transfers
    "only_where on an unknown column": (
        config("tasks.buy.only_where", "clik == 1"),
        r"tasks\.buy\.only_where.*'clik'.*did you mean 'click'",
    ),
    "only_where that does not parse": (
        config("tasks.buy.only_where", "click ~ 1"),
        r"tasks\.buy\.only_where: cannot read .*expected one of ==.*found '~ 1' -> write ",
    ),
    "cyclic logit transfer": (
        config("model.logit_transfer", TRANSFERS),
        r"toy\.yaml:\d+: model\.logit_transfer: logit transfers form a cycle; found .*click.*-> ",
    ),
    # transfer
    "adaTT that freezes before it starts": (
        config("adatt", {"mechanism": "loss", "warmup_epochs": 4, "freeze_epoch": 4}),
        r"toy\.yaml:\d+: adatt: freeze_epoch \(4\) must be more than warmup_epochs \(4\)",
    ),
    "adaTT on gradients of several levels": (
        both(config("model.levels", 2), config("adatt.mechanism", "gradient")),
        r"toy\.yaml:\d+: model\.levels: mechanism gradient needs one level; expected 1; found ",
    ),
    "adaTT with an unknown donor": (
        config("adatt", {"borrow": {"donors": {"buy": ["clik"]}}}),
        r"adatt\.borrow\.donors\.buy: unknown task; found \"clik\" -> did you mean 'click'",
    ),
    # config
    "no config file": (
        job("train", "FOLDER/toy.yml"),
        r"toy\.yml: no such config file -> did you mean '.*toy\.yaml'",
    ),
    "config is no YAML": (
        both(file("bad.yaml", "name: [toy\ndata: {"), job("train", "FOLDER/bad.yaml")),
        r"bad\.yaml:2: not valid YAML: did not find expected ',' or ']'",
    ),
    "duplicate YAML key": (
        twice,
        r"bad\.yaml:\d+: name: duplicate key; found the same key in line 1 -> keep one",
    ),
    "unknown key": (
        config("training.epoch", 3),
        r"toy\.yaml:\d+: training\.epoch: unknown key.* -> did you mean 'epochs'",
    ),
    "wrong type in config": (
        config("training.epochs", "many"),
        r"toy\.yaml:\d+: training\.epochs: wrong type; expected a whole number; found \"many\"",
    ),
    "no features": (
        config("features", {}),
        r"toy\.yaml:\d+: features: value out of range; expected 1 or more entries; found {}",
    ),
    "override of an unknown key": (
        job("train", "FOLDER/toy.yaml", "--set", "training.epoch=3"),
        r"--set training\.epoch=3: training\.epoch: unknown key.*did you mean 'epochs'",
    ),
    "override of the wrong type": (
        job("train", "FOLDER/toy.yaml", "--set", "training.epochs=many"),
        r"--set training\.epochs=many: training\.epochs: wrong type; .*found \"many\"",
    ),
    "override without a value": (
        job("train", "FOLDER/toy.yaml", "--set", "training.epochs"),
        r"--set training\.epochs: .*expected .*=",
    ),
    # sizes
    "more buckets than memory": (
        config("features.city", {"kind": "categorical", "encoding": "hash", "buckets": 10**12}),
        r"features\.city\.buckets: 1,000,000,000,000 rows of width 4 need 14\.6 TiB of memory; "
        r"expected a network that fits the .* of this machine; found .* -> choose a smaller size",
    ),
    "more rows than disk": (
        job("synthesize", "demo", "--rows", "1000000000000000000", "--out", "FOLDER/data"),
        r"--rows 1000000000000000000: so many rows need 17\.3 EiB of disk at least; .* -> choose",
    ),
    "more threads than any machine": (
        config("training.threads", 10**18),
        r"training\.threads: value out of range; expected at most 1024",
    ),
    "more bins than rows": (
        config("evaluation.calibration_bins", 10**18),
        r"evaluation\.calibration_bins: value out of range; expected at most 10000",
    ),
    # output folders
    "a folder with another model": (
        both(
            lambda toy, _: (toy.folder / "out" / "model").mkdir(parents=True),
            file("out/model/notes.txt", "mine"),
            job("train", "FOLDER/toy.yaml", "--out", "FOLDER/out"),
        ),
        r"out/model: the output folder holds what no `train` wrote, which this one would replace;",
    ),
    "the config in the output folder": (
        both(
            lambda toy, _: (toy.folder / "out").mkdir(),
            file("out/config.yaml", "name: mine"),
            job("train", "FOLDER/toy.yaml", "--out", "FOLDER/out"),
        ),
        r"out/config\.yaml: the output folder holds what no `train` wrote, .* -> give another",
    ),
    "a result that is a folder": (
        both(
            lambda toy, _: (toy.folder / "out" / "result.json").mkdir(parents=True),
            job("train", "FOLDER/toy.yaml", "--out", "FOLDER/out"),
        ),
        r"out/result\.json: the output folder holds what no `train` wrote, .*; found a folder",
    ),
    "the result of another job": (
        both(
            lambda toy, _: (toy.folder / "out").mkdir(),
            file("out/result.json", '{"job": "train"}'),
            job("schema", "--out", "FOLDER/out"),
        ),
        r"out/result\.json: the output folder holds what no `schema` wrote, .*result of `train`",
    ),
    "a page of somebody else": (
        both(
            lambda toy, _: (toy.folder / "out").mkdir(),
            file("out/compare.md", "mine"),
            job("compare", "FOLDER/a", "FOLDER/b", "--out", "FOLDER/out"),
        ),
        r"out/compare\.md: the output folder holds what no `compare` wrote, .*found another file",
    ),
    # surroundings
    "unknown device": (
        config("training.device", "tpu"),
        r"toy\.yaml:\d+: training\.device: .*unknown choice; expected .*cuda.*; found \"tpu\" -> ",
    ),
    "no such device": (
        config("training.device", "cuda"),
        r"training\.device: no CUDA device; expected .*; found torch .* -> use `auto`",
    ),
    "fp16 without CUDA": (
        both(config("training.device", "auto"), config("training.precision", "fp16")),
        r"training\.precision: fp16 trains on CUDA only; .*-> set training\.precision=bf16",
    ),
    "unreachable tracking server": (
        UNREACHABLE,
        r"tracking\.uri http://127\.0\.0\.1:9: cannot track this run; found .* -> start the server",
    ),
    "tracking in a folder that cannot be": (
        config("tracking", {"enabled": True, "uri": "sqlite:////proc/none/mlflow.db"}),
        r"tracking\.uri sqlite:////proc/none/mlflow\.db: cannot track this run; found .* -> ",
    ),
    "output below a file": (
        job("train", "FOLDER/toy.yaml", "--out", "FOLDER/toy.yaml/run"),
        r"toy\.yaml/run: cannot write to the output folder; found Not a directory -> give",
    ),
    "output that cannot be": (
        job("train", "FOLDER/toy.yaml", "--out", "/proc/run"),
        r"/proc/run: cannot write to the output folder; found .* -> give",
    ),
    # ablations
    "unknown ready-made arm": (
        ablation("ready: [off, borow]"),
        r"ablation\.yaml:3: ready\.1: no such ready-made arm; found borow -> did you mean 'borrow'",
    ),
    "an arm's unknown key": (
        ablation("arms: {off: {}, longer: {training.epoch: 3}}"),
        r"arms\.longer: training\.epoch=3: training\.epoch: unknown key -> did you mean 'epochs'",
    ),
    "an arm with other data": (
        ablation("arms: {off: {}, other: {data.path: other.parquet}}"),
        r"arms\.other: an arm may not change what it is tested on; expected the data, seed",
    ),
    "an ablation with nothing to compare": (
        ablation("ready: [off]"),
        r"ablation\.yaml: arms: nothing to compare; expected two arms or more",
    ),
    "a folder of another ablation": (
        both(
            lambda toy, _: (toy.folder / "out").mkdir(),
            file("out/ablation.yaml", "{name: a, base: b.yaml, arms: {off: {}, more: {}}}"),
            ablation("arms: {off: {}, more: {training.epochs: 3}}"),
        ),
        r"out: the folder holds another ablation.*found another base, arm more -> give another",
    ),
    # stored models
    "evaluate what is no run": (
        job("evaluate", "FOLDER"),
        r"no model there; expected .*manifest\.json.* -> give the --out folder",
    ),
    "evaluate what is not there": (
        job("evaluate", "FOLDER/nothing"),
        r"nothing: no model there; .*found no such folder",
    ),
}

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


def check(toy: Any, case: tuple[Spoil, str], capsys: pytest.CaptureFixture[str]) -> None:
    spoil, expected = case
    document = toy.document()
    arguments = spoil(toy, document) or ["train", str(toy.write(document))]
    if arguments[0] == "predict" and "--output" not in arguments:
        arguments += ["--output", str(toy.folder / "out" / "scores.parquet")]
    if "--out" not in arguments:
        arguments += ["--out", str(toy.folder / "out")]
    before = set(toy.folder.rglob("*"))
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(r"error: .*\n", err), err
    assert re.search(expected, err), err
    out = toy.folder / "out"
    assert set(toy.folder.rglob("*")) - before <= {out, out / "config.yaml"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "toy.yaml", "--out", "new"),
        ("synthesize", "demo", "--rows", "9", "--out", "new/rows"),
    ],
)
def test_under_torchrun_a_job_is_refused(
    arguments: Arguments,
    toy: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(toy.folder)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: WORLD_SIZE: several processes cannot share this job yet; expected 1, or unset; "
        "found 2 -> start one process, without torchrun or mpirun; or unset WORLD_SIZE"
    ]


@pytest.mark.parametrize("name", CASES)
def test_wrong_input(
    name: str, toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(toy.folder)
    check(toy, CASES[name], capsys)


@pytest.mark.parametrize("name", STORED)
def test_wrong_input_for_a_stored_model(
    name: str, toy: Any, trained: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained[0].run / "model", toy.run / "model")
    check(toy, STORED[name], capsys)


@pytest.mark.parametrize("name", ["missing column", "one-class label", "negative weight"])
def test_validate_reports_the_same(name: str, toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, expected = CASES[name]
    check(toy, (both(spoil, job("validate", "FOLDER/toy.yaml")), expected), capsys)


def test_several_problems_are_as_many_lines(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    changes = (text("age"), row(11, "importance", -1.0), row(11, "band", "huge"))
    toy.rows().with_columns(changes).write_parquet(toy.data)
    assert main(["train", str(toy.folder / "toy.yaml"), "--out", str(toy.folder / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    for line, expected in zip(lines, ("'age'", "tasks\\.band", "data\\.weight"), strict=True):
        assert re.search(expected, line)


def test_an_unreachable_tracking_server_is_not_waited_for(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    check(toy, (UNREACHABLE, "cannot track this run"), capsys)
    assert sum(waits) < 10


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
