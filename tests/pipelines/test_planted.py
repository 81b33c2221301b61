"""The study of planted rows, in small, resumed, and wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import planted
from recsys_mtl.cli.script import run_script

FIRST = """
arms:
  first: {training.recipe: none, training.epochs: 1, "features.*.min_count": 1}
  short: {training.epochs: 1, model.members: 2}
"""


@pytest.mark.slow  # trainings
def test_a_preset_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms, out = tmp_path / "arms.yaml", tmp_path / "out"
    arms.write_text(FIRST)
    small = ["--presets", "funnel", "--seeds", "2", "--rows", "1500", "--arms-from", str(arms)]
    assert run_script(planted.planted, [*small, "--out", str(out)]) == 0
    summary = json.loads((out / "result.json").read_text())["summary"]
    assert (summary["reference"], summary["seeds"]) == ("first", [0, 1])
    click = summary["tasks"]["funnel"]["click"]
    assert click["metric"] == "share"
    assert [*click["arms"]] == ["first", "short", "defaults"]
    assert all(-0.5 < arm["score"] < 1 for arm in click["arms"].values())
    assert 0 < click["arms"]["defaults"]["log_loss"] < 1
    assert "over first" in capsys.readouterr().out
    assert not (out / "_rows").exists()

    files = {path: path.stat().st_mtime_ns for path in out.glob("units/*/*.json")}
    assert len(files) == 6
    arms.write_text(FIRST.replace("members: 2", "members: 3"))
    assert run_script(planted.planted, [*small, "--out", str(out)]) == 0
    trained = {p for p in out.glob("units/*/*.json") if p not in files}
    assert {path.parent.name for path in trained} == {"short"}
    assert all(path.stat().st_mtime_ns == written for path, written in files.items())


@pytest.mark.parametrize(("score", "share"), [(0.7, 0.5), (float("nan"), 0.0)])
def test_a_collapse_has_a_share_of_0(score: float, share: float) -> None:
    """Left out, its seeds would count for it."""
    numbers = {"reachable": {"x": (0.5, 0.9)}, "true_scores": {"x": score}, "losses": {"x": 0.6}}
    metrics = planted._metrics({**numbers, "kinds": {"x": "binary"}}, "x")
    assert metrics[planted.SHARE]["value"] == pytest.approx(share)


@pytest.mark.parametrize("file", ["planted", "planted_choices"])
def test_the_arms_fit(file: str) -> None:
    path = planted.ARMS.with_stem(file)
    arms = {name: planted.as_overrides(own) for name, own in planted.load_arms(path).items()}
    hashes = {planted._settings("bank16", change, "") for change in [*arms.values(), []]}
    assert len(hashes) == len(arms) + 1


def test_what_a_file_sets_to_its_default_is_another_setting() -> None:
    """A recipe would have decided it."""
    changes = ["training.optimizer.learning_rate=0.001"]
    assert planted._settings("demo", changes, "") != planted._settings("demo", [], "")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--presets", "dmo"], "--presets: no such preset; found dmo -> did you mean 'demo'?"),
        (
            ["--arms-from", "ARMS"],
            "arms.yaml: before: training.epoch=1: training.epoch: unknown key",
        ),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], line: str
) -> None:
    (tmp_path / "arms.yaml").write_text("arms: {before: {training.epoch: 1}}")
    options = [str(tmp_path / "arms.yaml") if word == "ARMS" else word for word in options]
    assert run_script(planted.planted, [*options, "--out", str(tmp_path / "out")]) == 2
    (shown,) = capsys.readouterr().err.splitlines()
    assert line in shown
    assert not (tmp_path / "out").exists()
