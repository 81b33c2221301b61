"""Wrong configs and arguments end in clear lines, exit code 2 and nothing half-written."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.wrong_input import (
    TRANSFERS,
    UNREACHABLE,
    Spoil,
    ablation,
    both,
    check,
    config,
    file,
    job,
    twice,
)

ALIASES = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)

CASES: dict[str, tuple[Spoil, str]] = {
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
    "more levels than memory": (
        config("model.levels", 10**18),
        r"model\.levels: .* experts of .* weights need .* EiB of memory; expected a network that",
    ),
    "wider layers than memory": (
        config("model.tower.hidden", [10**9, 10**9]),
        r"model\.tower\.hidden: 5 towers of .* weights need .* of memory",
    ),
    "more experts than memory": (
        config("model.shared_experts", [{"kind": "mlp", "count": 10**12}]),
        r"model\.shared_experts\.0: 1,000,000,000,000 experts of .* weights need .* of memory",
    ),
    "wider tables than memory": (
        config("model.embedding.dim", 10**18),
        r"model\.embedding\.dim: 1 rows of width 1\.0e\+18 need 3\.5 EiB of memory",
    ),
    "more seeds than hours": (
        ablation("seeds: {count: 1000000000000}\nready: [off, borrow]"),
        r"ablation\.yaml:3: seeds\.count: value out of range; expected at most 10000",
    ),
    "more threads than any machine": (
        config("training.threads", 10**18),
        r"training\.threads: value out of range; expected at most 1024",
    ),
    "more bins than rows": (
        config("evaluation.calibration_bins", 10**18),
        r"evaluation\.calibration_bins: value out of range; expected at most 10000",
    ),
    # YAML
    "aliases that multiply": (
        both(file("bad.yaml", ALIASES), job("validate", "FOLDER/bad.yaml")),
        r"bad\.yaml:6: not valid YAML: aliases that stand for more than 100,000 values",
    ),
    "a tag": (
        both(file("bad.yaml", "name: !!timestamp foo\n"), job("validate", "FOLDER/bad.yaml")),
        r"bad\.yaml:1: not valid YAML: the tag !!timestamp, which means nothing here",
    ),
    "NUL": (
        both(file("bad.yaml", "name: a\n\0"), job("validate", "FOLDER/bad.yaml")),
        r"bad\.yaml:2: not valid YAML: a control character \(U\+0000\)",
    ),
    "a tab": (
        both(file("bad.yaml", "data:\n\tpath: a\n"), job("validate", "FOLDER/bad.yaml")),
        r"bad\.yaml:2: not valid YAML: a tab in front of a line: indent with spaces",
    ),
    "lists without an end": (
        both(file("bad.yaml", "[" * 100_000), job("validate", "FOLDER/bad.yaml")),
        r"bad\.yaml: not valid YAML: more than 100 levels of nested mappings and lists",
    ),
    "an override without an end": (
        job("train", "FOLDER/toy.yaml", "--set", "seed=" + "[" * 10_000),
        r"--set seed=.*more than 100 levels",
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


@pytest.mark.parametrize("name", CASES)
def test_wrong_config(
    name: str, toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(toy.folder)
    check(toy, CASES[name], capsys)


def test_an_unreachable_tracking_server_is_not_waited_for(
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    check(toy, (UNREACHABLE, "cannot track this run"), capsys)
    assert sum(waits) < 10
