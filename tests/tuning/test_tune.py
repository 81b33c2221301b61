"""The search: budgets, resumption, what counts, and what is left in the folder."""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.storages.journal import JournalFileBackend

from recsys_mtl.ablation.plan import load_ablation
from recsys_mtl.config import load_config
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.folder_lock import locked
from recsys_mtl.study.plan import ROWS
from recsys_mtl.tracking.run import NullRun
from recsys_mtl.tuning import search, tune
from recsys_mtl.tuning.search import FILE
from recsys_mtl.tuning.space import Choices
from tests.tuning.conftest import DROPOUT, RATE, Bench, FakeFit, loss

engine: Any = sys.modules["recsys_mtl.tuning.tune"]  # the package has its function by that name


def params(result: dict[str, Any]) -> list[Any]:
    return [t["params"] for t in result["trials"] if t["state"] != "killed"]


def test_the_best_trial_becomes_configs(bench: Bench) -> None:
    fit = FakeFit()
    result = bench.run(fit, trials=10)
    assert result["counts"] == {"complete": 10, "pruned": 0, "failed": 0}
    assert len(fit.seen) == 10
    assert result["trials"][0]["params"] == {RATE: 0.001, DROPOUT: 0.1}  # the base's own
    assert result["base"] == 0
    best = result["trials"][result["best"]]
    assert best["values"]["loss"] == min(trial["values"]["loss"] for trial in result["trials"])
    assert result["importance"]["loss"].keys() == {RATE, DROPOUT}
    config = load_config(bench.out / "best.yaml")
    assert loss(config) + 0.25 == pytest.approx(best["values"]["loss"])
    assert config.name == "toy_tuned"
    ablation = load_ablation(bench.out / "ablation.yaml")
    assert ablation.arms == {"base": {}, "tuned": best["params"]}
    assert "<svg" in (bench.out / "report.html").read_text()


def test_a_trial_that_falls_behind_is_pruned(bench: Bench) -> None:
    result = bench.run(FakeFit(), trials=9, pruner="median")
    pruned = [trial for trial in result["trials"] if trial["state"] == "pruned"]
    assert pruned
    assert all(trial["epochs"] < 4 and len(trial["curve"]) < 4 for trial in pruned)


def test_a_search_that_was_interrupted_is_that_which_was_not(bench: Bench) -> None:
    expected = params(bench.run(FakeFit(), trials=5))
    bench.out = bench.out.with_name("resumed")
    first = bench.run(FakeFit({3: "graceful"}), trials=5)
    assert first["interrupted"]
    assert params(first) == expected[:3]
    second = bench.run(FakeFit(), trials=5)
    assert not second["interrupted"]
    assert params(second) == expected


def test_a_killed_process_leaves_a_trial_that_does_not_count(bench: Bench) -> None:
    expected = params(bench.run(FakeFit(), trials=3))
    bench.out = bench.out.with_name("killed")
    bench.run(FakeFit(), trials=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys_mtl.tuning.search.Asked.killed", lambda self: None)
        with pytest.raises(OSError, match="No space"):
            bench.run(FakeFit({0: "disk"}), trials=3)
    journal = bench.out / FILE
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "wor')  # a line cut by the kill
    Path(f"{journal}.lock").symlink_to(journal)
    result = bench.run(FakeFit(), trials=3)
    assert params(result) == expected
    assert [trial["number"] for trial in result["trials"]] == [0, 1, 3]


def test_a_trial_that_was_killed_between_others_is_drawn_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_RANDOM", 10)
    expected = params(bench.run(FakeFit(), trials=4))
    bench.out = bench.out.with_name("killed")
    ended = iter((1, 3))
    with monkeypatch.context() as patch:
        patch.setattr(engine._Budget, "index", lambda self: next(ended))
        assert bench.run(FakeFit(), trials=2)["base"] is None
    result = bench.run(FakeFit(), trials=4)
    assert params(result) == [expected[index] for index in (1, 3, 0, 2)]
    assert result["base"] == 2


def test_processes_get_the_indices_that_no_trial_has(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pool:
        def submit(self, work: Any) -> Future[int]:
            given.append(work.args[1])
            return futures[len(given) - 1]

    given, futures = list[int](), [Future[int]() for _ in range(2)]
    for future in futures:
        future.set_result(0)
    monkeypatch.setattr(engine, "worker_pool", lambda processes: nullcontext(Pool()))
    ended = iter((1, 3))
    with monkeypatch.context() as patch:
        patch.setattr(engine._Budget, "index", lambda self: next(ended))
        bench.run(FakeFit(), trials=2)
    monkeypatch.setattr(engine._Budget, "allows", lambda self, running: len(given) < 2)
    tune(bench.plan(trials=5), bench.out, processes=2)
    assert given == [0, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenProcessPool])
def test_what_killed_workers_left_is_repaired(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    bench.run(FakeFit(), trials=1)
    journal = bench.out / FILE
    lock = Path(f"{journal}.lock")

    def killed(*_: Any) -> None:
        lock.symlink_to(journal)
        journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "wor')
        raise error

    monkeypatch.setattr(engine, "_fan_out", killed)
    if error is KeyboardInterrupt:
        assert tune(bench.plan(trials=2), bench.out, processes=2)["interrupted"]
    else:
        with pytest.raises(UserError, match="a worker process was killed"):
            tune(bench.plan(trials=2), bench.out, processes=2)
    assert not lock.is_symlink()
    assert all(json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1])
    assert bench.run(FakeFit(), trials=2)["counts"]["complete"] == 2


def test_a_study_of_other_choices_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def ready(choices: list[Any]) -> Any:
        return lambda names, base: {DROPOUT: Choices(kind="choice", choices=choices)}

    monkeypatch.setattr(engine, "ready_space", ready([0.1, 0.2]))
    keys = {"space": {}, "ready": ["regularization"]}
    bench.run(FakeFit(), trials=1, **keys)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "ready_space", ready([0.1, 0.2, 0.3]))
        with pytest.raises(UserError, match=r"study is of another space; .*-> give another --out"):
            bench.run(FakeFit(), trials=2, **keys)
    assert bench.run(FakeFit(), trials=2, **keys)["counts"]["complete"] == 2


def test_a_busy_folder_is_left_as_it_is(bench: Bench) -> None:
    with locked(bench.out):
        names = sorted(path.name for path in bench.out.iterdir())
        with pytest.raises(UserError, match="another job writes there"):
            bench.run(FakeFit())
        assert sorted(path.name for path in bench.out.iterdir()) == names
    bench.run(FakeFit(), trials=1)
    with locked(bench.out), pytest.raises(UserError, match="another job writes there"):
        bench.run(FakeFit(), trials=9)
    assert yaml.safe_load((bench.out / "tuning.yaml").read_text())["trials"] == 1


@pytest.mark.parametrize("written", [0, 1])
def test_a_folder_of_a_call_that_was_killed_as_it_began(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    def killed(path: Path, text: str) -> None:
        if path.name == ("tuning.yaml", "base.yaml")[written]:
            path.with_name(f"{path.name}.tmp-1-0").touch()
            raise KeyboardInterrupt
        atomic_write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr("recsys_mtl.tuning.folder.atomic_write", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.run(FakeFit())
    assert (bench.out / "tuning.yaml").exists() == bool(written)
    for name in ("_lock", "_lock.json"):
        (bench.out / name).touch()
    assert bench.run(FakeFit())["counts"]["complete"] == 3
    assert (bench.out / "base.yaml").exists()


def test_a_full_disk_ends_it_and_the_same_call_resumes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = params(bench.run(FakeFit(), trials=3))
    bench.out = bench.out.with_name("full")
    append, lines = JournalFileBackend.append_logs, [0]

    def full(self: JournalFileBackend, logs: Any) -> None:
        lines[0] += 1
        if lines[0] > 20:
            raise OSError(28, "No space left on device")
        append(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(OSError, match="No space"):
            bench.run(FakeFit(), trials=3)
    assert not (bench.out / "result.json").exists()
    assert params(bench.run(FakeFit(), trials=3)) == expected


def test_more_trials_follow_where_the_budget_grows(bench: Bench) -> None:
    bench.run(FakeFit(), trials=2)
    fit = FakeFit()
    assert bench.run(fit, trials=2)["counts"]["complete"] == 2
    assert fit.seen == []
    bench.run(fit, trials=4)
    assert len(fit.seen) == 2
    assert bench.run(fit, trials=9, minutes=1e-9)["counts"]["complete"] == 4  # is spent


def test_failures_count_and_hopeless_searches_end(bench: Bench) -> None:
    result = bench.run(FakeFit({1: "diverges"}), trials=3)
    assert [trial["state"] for trial in result["trials"]] == ["complete", "failed", "complete"]
    assert result["trials"][1]["reason"] == "training diverged"
    bench.out = bench.out.with_name("hopeless")
    fit = FakeFit({-1: "diverges"})
    message = "no trial was complete; expected one; the last failure: training diverged; found 5 f"
    with pytest.raises(UserError, match=message):
        bench.run(fit, trials=30)
    assert len(fit.seen) == 5
    assert not (bench.out / "best.yaml").exists()


def test_an_interrupt_before_any_trial_leaves_no_result(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.run(FakeFit({0: "interrupted"}))
    assert not (bench.out / "result.json").exists()


def test_several_metrics_give_a_front(bench: Bench) -> None:
    result = bench.run(FakeFit(), metric="per_task", trials=4)
    assert [one["name"] for one in result["objectives"]] == ["buy/auc", "click/auc"]
    assert result["best"] is None
    assert len(result["front"]) == 4  # what one task gains here the other loses
    configs = [Path(path).name for path in result["configs"]]
    assert configs == [f"trial-{number}.yaml" for number in range(4)]
    load_config(bench.out / "front/trial-3.yaml")
    assert not (bench.out / "best.yaml").exists()
    assert "Pareto front" in (bench.out / "report.html").read_text()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"seed": 1}, "holds another tuning; expected the same base.*found another seed"),
        ({"space": {DROPOUT: {"kind": "float", "low": 0.0, "high": 0.4}}}, "found another space"),
        ({"metric": "click/auc"}, "found another metric"),
    ],
)
def test_a_folder_is_of_one_tuning(bench: Bench, keys: dict[str, Any], message: str) -> None:
    bench.run(FakeFit(), trials=1)
    with pytest.raises(UserError, match=message):
        bench.run(FakeFit(), **keys)


def test_a_folder_of_other_rows_is_refused(bench: Bench) -> None:
    bench.run(FakeFit(), trials=1)
    (bench.out / ROWS).write_text("others\n")
    with pytest.raises(UserError, match="found another content of the rows"):
        bench.run(FakeFit(), trials=2)


def test_a_folder_with_other_content_is_refused(bench: Bench) -> None:
    bench.run(FakeFit(), trials=1)
    (bench.out / FILE).write_text("not a journal\nat all\n")
    with pytest.raises(UserError, match="study cannot be read"):
        bench.run(FakeFit(), trials=2)
    document = yaml.safe_load((bench.path.with_name("toy.yaml")).read_text())
    document["training"]["epochs"] = 7
    bench.path.with_name("toy.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match="found another content of the base config"):
        bench.run(FakeFit(), trials=2)
    bench.out = bench.path.parent / "other"
    bench.out.mkdir()
    (bench.out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        bench.run(FakeFit())


def test_no_file_holds_a_password(bench: Bench) -> None:
    tracking = {"enabled": False, "uri": "postgresql://me:secret@host/mlflow"}
    base = bench.path.with_name("toy.yaml")
    base.write_text(yaml.safe_dump(yaml.safe_load(base.read_text()) | {"tracking": tracking}))
    change = {"tracking.uri": tracking["uri"], "training.epochs": 3}
    bench.run(FakeFit(), trials=3, tracking=tracking, change=change)
    change["tracking.uri"] = "sqlite:///other.db"
    bench.run(FakeFit(), trials=4, tracking=tracking, change=change)
    texts = {path.name: path.read_text() for path in bench.out.iterdir()}
    assert {"base.yaml", "best.yaml", "ablation.yaml", "tuning.yaml"} <= texts.keys()
    assert not [name for name, text in texts.items() if "secret" in text]


def test_only_epochs_with_a_value_are_compared(bench: Bench) -> None:
    class Undefined(FakeFit):
        def __call__(self, config: Any, recorder: Any) -> Any:
            fitted = super().__call__(config, recorder)
            if len(self.seen) == 2:
                fitted.result.epochs[-1].validation.metrics["click"]["auc"] = math.nan
            return fitted

    result = bench.run(Undefined(), metric=["click/auc", "buy/auc"], trials=3)
    assert result["trials"][1]["reason"] == "undefined on the validation rows: click/auc"


def test_a_run_s_own_config_is_a_tuning(bench: Bench) -> None:
    from recsys_mtl.tuning import load_tuning

    words = ["training.epochs=3", "tracking.uri=http://me:secret@host"]
    options = {"ready": ["rates"], "trials": 2}
    plan = load_tuning(bench.path.with_name("toy.yaml"), words, options)
    assert plan.change == {"training.epochs": 3}
    assert plan.tracking.uri == "http://me:secret@host"
    plan = plan.model_copy(update={"tracking": TrackingConfig(enabled=False)})
    fit = FakeFit()
    result = tune(plan, bench.out, fit=fit)
    assert fit.seen[1].training.epochs == 3
    assert result["trials"][1]["params"].keys() == {RATE, "training.tables.learning_rate"}


class Recorded(NullRun):
    """A run that remembers."""

    def __init__(self, name: str, tags: dict[str, str]) -> None:
        self.id = name  # type: ignore[assignment]
        self.tags_, self.values, self.files = tags, dict[str, object](), list[str]()

    def params(self, values: Any) -> None:
        self.values |= values

    def metrics(self, values: Any, step: int, **more: Any) -> None:
        self.values |= {f"{name} {step}": value for name, value in values.items()}

    def artifact(self, path: Path, folder: str = "") -> None:
        self.files.append(path.name)


def test_trials_are_nested_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Recorded] = []
    begun: list[Path | None] = []

    def open_run(
        enabled: bool, uri: Any, experiment: str, name: str, tags: Any, **folders: Any
    ) -> Recorded:
        begun.append(folders["begun"])
        if name == "toy, trial 1":
            raise wrong("the server is away")
        runs.append(Recorded(name, tags))
        return runs[-1]

    monkeypatch.setattr(engine, "open_run", open_run)
    change = {"tracking.uri": "http://me:secret@host", "training.epochs": 3}
    result = bench.run(FakeFit(), trials=3, change=change)
    parent, first, last = runs
    assert [folder is None for folder in begun] == [False, True, True, True]  # where it is killed
    assert parent.values["change.training.epochs"] == 3
    assert "secret" not in str(parent.values)
    assert parent.files == ["best.yaml", "ablation.yaml", "report.html", "result.json"]
    assert parent.values["best/loss 0"] == result["trials"][result["best"]]["values"]["loss"]
    assert parent.values["trials"] == 3
    assert first.tags_ == {"mlflow.parentRunId": "toy", "state": "complete"}
    assert first.values[RATE] == 0.001
    assert first.values["valid/loss 3"] == result["trials"][0]["values"]["loss"]
    assert last.values["trial"] == 2
