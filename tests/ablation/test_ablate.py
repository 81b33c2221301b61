from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import recsys_mtl.ablation.ablate as ablate_job
from recsys_mtl.ablation.unit import ArmUnit
from recsys_mtl.cli.main import main
from recsys_mtl.errors import UserError
from recsys_mtl.model import grouped
from recsys_mtl.tracking import open_run
from tests.ablations import SYNTHETIC, result_of, run, stored

FILES = {
    *(
        "ablation.yaml",
        "base.yaml",
        "units",
        "report.md",
        "report.html",
        "result.json",
        "differences.png",
    ),
}


@pytest.mark.slow  # trainings
def test_an_ablation_of_given_rows(
    ablation: Any, toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = toy.folder / "out"
    change = {"training.epochs": 1, "evaluation.groups": "customer"}
    typed = run(ablation(change=change), out=out, processes=1)
    result = typed.to_dict()
    assert result == result_of(out)
    frame = typed.to_frame()
    assert [*frame.filter(arm="slow")["task"]] == [None, *typed.summary.kinds]
    assert frame.filter(arm="slow", task="click")["lost"].item() == 2
    assert frame.filter(arm="off")["difference"].null_count() == 1 + len(typed.summary.kinds)
    assert {path.name for path in out.iterdir()} == FILES | {"rows.sha256"}
    names = ("off", "published", "slow")
    assert {*stored(out)} == {f"units/{n}/seed-{s}.json" for n in names for s in (5, 6)}
    assert (result["job"], result["name"]) == ("ablate", "toys")
    summary = result["summary"]
    assert (summary["reference"], summary["seeds"]) == ("off", [5, 6])
    assert not summary["against_truth"]
    assert [*summary["arms"]] == [*names]
    units = stored(out)
    gains = [
        units[f"units/slow/seed-{s}.json"]["scores"]["click"]
        - units[f"units/off/seed-{s}.json"]["scores"]["click"]
        for s in (5, 6)
    ]
    difference = summary["arms"]["slow"]["tasks"]["click"]
    assert difference["mean"] == pytest.approx(50 * sum(gains))
    assert difference["mean"] < 0
    assert [*summary["lists"]["click gauc"]] == [*names]
    assert "Within lists" in (out / "report.md").read_text()
    shown = capsys.readouterr().out
    assert f"slow: {summary['arms']['slow']['sentence']}." in " ".join(shown.split())
    assert str(out / "report.md") in shown
    assert result_of(out)["summary"]["arms"]["slow"] == json.loads(
        json.dumps(summary["arms"]["slow"])
    )


def refused(*args: Any, **options: Any) -> Any:
    raise AssertionError("something is trained")


@pytest.mark.slow  # several trainings
def test_a_second_call_trains_nothing_and_reports_the_same(
    ablation: Any, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = toy.folder / "out"
    run(ablation(), out=out, processes=1)
    first = result_of(out)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    monkeypatch.setattr(ablate_job, "arm_trainer", refused)
    run(ablation(), out=out)
    assert result_of(out)["summary"] == first["summary"]
    after = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert {path.name for path in before if before[path] != after[path]} <= {"result.json"}


@pytest.mark.slow  # several trainings
def test_seeds_and_arms_are_added_to_what_is_there(ablation: Any, toy: Any) -> None:
    out = toy.folder / "out"
    run(ablation(arms={}), out=out, processes=1)
    before = {path: path.stat().st_mtime_ns for path in (out / "units").rglob("*.json")}
    more = ablation(seeds={"first": 5, "count": 3}, ready=["off", "count"])
    result = run(more, out=out, processes=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert result["summary"]["seeds"] == [5, 6, 7]
    assert [*result["summary"]["arms"]] == ["off", "count", "slow"]  # `published` is not requested
    assert len(stored(out)) == 2 * 2 + 1 + 2 * 3
    fewer = run(ablation(ready=["off"]), out=out, processes=1)
    assert fewer["summary"]["seeds"] == [5, 6]


def test_nothing_is_written_for_an_arm_that_does_not_fit(ablation: Any, toy: Any) -> None:
    out = toy.folder / "out"
    with pytest.raises(UserError, match=r"arms\.bad: training\.epoch=1"):
        run(ablation(arms={"bad": {"training.epoch": 1}}), out=out)
    assert not out.exists()


@pytest.mark.slow  # several trainings
def test_another_ablation_leaves_the_folder_as_it_is(ablation: Any, toy: Any) -> None:
    out = toy.folder / "out"
    run(ablation(), out=out, processes=1)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    with pytest.raises(UserError, match="the folder holds another ablation"):
        run(ablation(arms={"slow": {"training.optimizer.learning_rate": 1e-4}}), out=out)
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before


@pytest.mark.slow  # trainings
def test_an_interrupt_keeps_complete_units(
    ablation: Any, toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, trained = ablate_job.arm_trainer, []

    @contextmanager
    def interrupted(*args: Any, **options: Any) -> Iterator[Callable[[ArmUnit], Any]]:
        with trainer(*args, **options) as train:

            def once(unit: ArmUnit) -> Any:
                if trained:
                    raise KeyboardInterrupt
                trained.append(unit)
                return train(unit)

            yield once

    out = toy.folder / "out"
    monkeypatch.setattr(ablate_job, "arm_trainer", interrupted)
    arguments = ["ablate", str(ablation()), "--out", str(out), "--processes", "1"]
    assert main(arguments) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
    assert [*stored(out)] == ["units/slow/seed-5.json"]  # the arms take turns in being the first
    assert not (out / "result.json").exists()
    monkeypatch.setattr(ablate_job, "arm_trainer", trainer)
    assert main(arguments) == 0
    assert len(stored(out)) == 6


def test_the_default_folder_is_named_after_the_ablation(
    ablation: Any, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy.folder)
    arguments = ["--set", "ready=[off]", "--set", "seeds.first=1", "--processes", "1"]
    assert main(["ablate", str(ablation()), *arguments]) == 0
    result = json.loads((toy.folder / "ablations" / "toys" / "result.json").read_text())
    assert result["summary"]["seeds"] == [1, 2]
    assert [*result["summary"]["arms"]] == ["off", "slow"]


@pytest.mark.slow  # generated rows, seven trainings
def test_an_ablation_of_generated_rows(ablation: Any, toy: Any) -> None:
    out = toy.folder / "out"
    ready = ["off", "published", "borrow_planted"]
    result = run(ablation(**SYNTHETIC, ready=ready), out=out, processes=1)
    assert {path.name for path in out.iterdir()} == FILES | {"affinity.png", "plan.yaml"}
    summary = result["summary"]
    assert summary["against_truth"]
    assert len(summary["planned"]) == 5
    assert len(summary["arms"]["published"]["affinity"]) == 2
    assert summary["arms"]["off"]["reached"].keys() == summary["kinds"].keys()
    seeds = [stored(out)[f"units/off/seed-{s}.json"] for s in (5, 6)]
    assert seeds[0]["labelled"] != seeds[1]["labelled"]  # rows of their own


@pytest.mark.slow  # mlflow
def test_every_unit_is_a_nested_run(ablation: Any, toy: Any) -> None:
    from mlflow import MlflowClient

    uri, out = f"sqlite:///{toy.folder}/mlflow.db", toy.folder / "out"
    path = ablation(tracking={"uri": uri, "experiment": "tries"})
    result = run(path, out=out, processes=1)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tries")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    nested = [run for run in runs if run is not parent]
    assert parent.info.run_name == "toys"
    assert parent.data.tags["job"] == "ablate"
    assert parent.data.params["arms.slow.training.optimizer.learning_rate"] == "1e-05"
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {parent.info.run_id}
    by_unit = {(run.data.params["arm"], int(run.data.params["seed"])): run for run in nested}
    assert by_unit.keys() == {(n, s) for n in ("off", "published", "slow") for s in (5, 6)}
    units = stored(out)
    for (name, seed), one in by_unit.items():
        unit = units[f"units/{name}/seed-{seed}.json"]
        assert one.info.run_name == f"{name}, seed {seed}"
        assert one.data.tags["config_hash"] == unit["config_hash"]
        assert one.data.metrics["score/click"] == pytest.approx(unit["scores"]["click"])
        assert one.data.metrics["epochs"] == 1
        changed = {key: str(value) for key, value in unit["changes"].items()}
        assert one.data.params == changed | {"arm": name, "seed": str(seed)}
        assert changed.get("training.optimizer.learning_rate") == (
            "1e-05" if name == "slow" else None
        )
    assert "every arm is compared with 'off'" in parent.data.tags["mlflow.note.content"]
    overall = result["summary"]["arms"]["slow"]["overall"]
    assert parent.data.metrics["slow/difference/mean"] == pytest.approx(overall["mean"])
    logged = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert logged == {"report.md", "report.html", "result.json", "differences.png"}
    killed = open_run(True, uri, "tries", "toys", begun=out)  # as an ablation that is killed
    run(path, out=out, processes=1)
    assert client.get_run(killed.id or "").info.status == "KILLED"
    assert not (out / "mlflow_run.json").exists()


BEGUN = Path(__file__).parent / "begun"


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A folder that version 0.1.0 has filled: plan, base config, results and report."""
    return Path(shutil.copytree(BEGUN, tmp_path / "begun"))


@pytest.mark.slow  # pictures
def test_a_folder_of_an_earlier_version_is_reported_as_it_was(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate_job, "arm_trainer", refused)
    run(begun / "ablation.yaml", out=begun)
    assert (begun / "report.md").read_text() == (BEGUN / "report.md").read_text()
    assert stored(begun) == stored(BEGUN)


@pytest.mark.slow  # trainings on generated rows
def test_a_folder_of_an_earlier_version_is_completed(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped, "usable_kernels", lambda x: None)  # it had none: other dropout
    missing = [begun / "units" / arm / "seed-1.json" for arm in ("off", "borrow", "slow")]
    for path in missing:
        path.unlink()
    run(begun / "ablation.yaml", out=begun, processes=1)
    kept = {name for name in stored(BEGUN) if begun / name not in missing}
    assert {name: stored(begun)[name] for name in kept} == {n: stored(BEGUN)[n] for n in kept}
    for path in missing:
        again, before = json.loads(path.read_text()), stored(BEGUN)[str(path.relative_to(begun))]
        assert again["true_scores"] == pytest.approx(before["true_scores"], abs=1e-3)
