from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys_mtl.cli.main import main
from recsys_mtl.study import run as engine
from recsys_mtl.tracking.run import NullRun
from recsys_mtl.vision.backbones import ResNet18
from recsys_mtl.vision.reproduction import reproduce as job
from recsys_mtl.vision.reproduction import unit as unit_module
from recsys_mtl.vision.reproduction.load import load_reproduction
from tests.vision.fake_celeba import write_celeba

Document = dict[str, Any]
Write = Callable[..., Path]
COST = ("seconds", "step_ms", "peak_memory_mb")


def units(out: Path) -> dict[Path, Document]:
    """What is stored of each run, without its cost."""
    by_name = {}
    for path in sorted((out / "units").rglob("*.json")):
        unit = json.loads(path.read_text(), parse_constant=pytest.fail)
        for epoch in unit["epochs"]:
            epoch["seconds"] = None
        by_name[path] = {key: value for key, value in unit.items() if key not in COST}
    return by_name


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.slow  # trainings
def test_a_study_is_trained_reported_and_resumed(
    write: Write,
    reproduce: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert reproduce(write()) == 0
    out = tmp_path / "out"
    shown = capsys.readouterr().out
    assert "scikit-learn's digits, not MNIST" in shown
    assert "0.2525 ± 0.021" in shown
    result = json.loads((out / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["job"] == "reproduce"
    assert [*result["summary"]["methods"]] == ["sum", "single_task", "gradnorm", "cagt"]
    assert result["summary"]["methods"]["cagt"]["saved"]["pairs"] == 2
    report = (out / "report.md").read_text()
    assert "![Train loss](train_loss.png)" in report
    before = units(out)
    assert len(before) == 8

    times = {path: path.stat().st_mtime_ns for path in before}
    gone = [*before][3]
    gone.unlink()
    assert reproduce(write(), "--set", "seeds.count=3") == 0
    after = units(out)
    assert len(after) == 12
    assert {path: after[path] for path in before} == before  # the one that was gone is the same
    trained_again = {path for path in before if path.stat().st_mtime_ns != times[path]}
    assert trained_again == {gone}


@pytest.mark.slow
def test_two_processes_give_the_same_results(
    write: Write, reproduce: Callable[..., int], tmp_path: Path
) -> None:
    few = ("--set", "seeds.count=1")
    assert reproduce(write(), *few) == 0
    one = [*units(tmp_path / "out").values()]
    other = ["--out", str(tmp_path / "two"), "--processes", "2"]
    assert main(["reproduce", str(write()), *few, *other]) == 0
    for unit, same in zip(one, units(tmp_path / "two").values(), strict=True):
        del unit["threads"], same["threads"]
        assert unit == same


@pytest.mark.slow  # trainings
def test_a_ready_plan_is_run_by_its_name(
    reproduce: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (
        "dataset.rows.train=64", "dataset.rows.test=40", "training.epochs=1", "seeds.count=1",
        "reruns=1", "tracking.enabled=false", "sweep.temperatures=[0.6]", "sweep.epochs=1",
        "attention.attentions=[euclidean]", "model.width=5",
    )  # fmt: skip
    arguments = [word for change in changes for word in ("--set", change)]
    assert reproduce("rot-mnist", *arguments) == 0
    shown = capsys.readouterr().out
    assert len(units(tmp_path / "out")) == 8 + 2 + 4 * 3  # methods, an attention twice, the sweep
    assert "1071" in shown
    assert "0.3058 ± 0.024" in shown


@pytest.mark.slow  # trainings
def test_celeba_from_files_to_areas(
    write: Write, reproduce: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_celeba(tmp_path / "data", counts=(23, 17, 5))
    dataset = {"kind": "celeba", "attributes": ["Male", "Smiling"], "size": 12, "workers": 1}
    plan = write(dataset=dataset, threshold=None)
    assert reproduce(plan, "--data", str(tmp_path / "data")) == 0
    shown = capsys.readouterr().out
    assert "CelebA, its official train and valid splits: 23 images to train on, 17 to" in shown
    assert "Area under the ROC curve" in shown
    unit = next(iter(units(tmp_path / "out").values()))
    assert unit["tasks"] == ["Male", "Smiling"]
    assert all(0 <= area <= 1 for area in unit["epochs"][-1]["auroc"])


@pytest.mark.slow
def test_celeba_with_weights_of_a_resnet(
    reproduce: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_celeba(tmp_path / "data" / "celeba", counts=(11, 7, 5))
    torch.save(ResNet18().state_dict(), tmp_path / "weights.pt")
    changes = (
        "dataset.attributes=[Male, Smiling]", "dataset.size=32", "dataset.workers=1",
        f"model.weights={tmp_path / 'weights.pt'}", "model.freeze_stem=true", "training.epochs=1",
        "seeds.count=1", "training.device=cpu", "tracking.enabled=false",
    )  # fmt: skip
    arguments = [word for change in changes for word in ("--set", change)]
    assert reproduce("celeba", "--data", str(tmp_path / "data"), *arguments) == 0
    assert "0.9874 ± 0.006" in capsys.readouterr().out
    blocks = {tuple(unit["blocks"]) for unit in units(tmp_path / "out").values()}
    assert max(len(names) for names in blocks) > 1000  # 11 million entries in blocks of 8,192


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "methods.cagt.alon=true"), "methods.cagt.alon: unknown key"),
        (("--data", "nowhere"), "--data: no such folder; found nowhere"),
        (("--set", "dataset={kind: celeba}"), "no folder of CelebA"),
        (
            ("--set", "model.channels=[4, 4, 4, 4]"),
            "model.channels: too many stages for images of 8 pixels, each halves them; "
            "expected at most 3; found 4",
        ),
        (
            ("--set", "model={kind: resnet18, weights: none.pt}"),
            "model.weights: none.pt: no such file of weights; expected a local file",
        ),
    ],
)
def test_a_mistake_is_one_line(
    write: Write,
    reproduce: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert reproduce(write(), *arguments) == 2
    assert message in error_of(capsys)


@pytest.mark.slow  # trainings
def test_a_folder_of_another_plan_or_of_other_images_is_refused(
    write: Write, reproduce: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = {"sum": {}, "cagt": {"combiner": {"name": "cagt"}}}
    assert reproduce(write(methods=methods), "--set", "seeds.count=1") == 0
    assert reproduce(write(methods=methods), "--set", "name=other") == 2
    assert "the folder holds another reproduction" in error_of(capsys)
    for path in (tmp_path / "out" / "units").rglob("*.json"):
        path.write_text(path.read_text().replace('"identity": "', '"identity": "0'))
    assert reproduce(write(methods=methods), "--set", "seeds.count=1") == 2
    assert "the folder holds results of other images" in error_of(capsys)


def test_the_folder_of_the_data_may_come_from_the_environment(
    write: Write,
    reproduce: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECSYS_MTL_DATA", str(tmp_path / "nowhere"))
    assert reproduce(write()) == 2
    assert "$RECSYS_MTL_DATA: no such folder" in error_of(capsys)


def test_a_run_that_fails_leaves_the_others(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = load_reproduction(write())
    trained: list[Any] = []
    original = unit_module.train_unit

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(original(*arguments, **options))
        return trained[-1]

    monkeypatch.setattr(unit_module, "train_unit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job.reproduce(plan, tmp_path / "out", processes=1)
    assert len(units(tmp_path / "out")) == 3
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.slow  # trainings
def test_a_reproduction_is_one_tracked_run(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked: Document = {"params": {}, "metrics": {}, "files": []}

    class Recorded(NullRun):
        def params(self, values: Any) -> None:
            tracked["params"] |= values

        def metrics(self, values: Any, step: int) -> None:
            tracked["metrics"] |= values

        def artifact(self, path: Path, folder: str = "") -> None:
            tracked["files"].append(path.name)

    monkeypatch.setattr(engine, "open_run", lambda *_, **__: Recorded())
    methods = {"sum": {}, "cagt": {"combiner": {"name": "cagt"}}}
    result = job.reproduce(load_reproduction(write(methods=methods)), tmp_path / "out", processes=1)
    assert tracked["params"]["training.learning_rate"] == 0.002
    assert {"report.md", "report.html", "train_loss.png", "result.json"} <= {*tracked["files"]}
    losses = {name: one["loss"]["mean"] for name, one in result["summary"]["methods"].items()}
    assert tracked["metrics"]["cagt/loss"] == losses["cagt"]
    assert tracked["metrics"]["cagt/saved"] == pytest.approx(losses["sum"] - losses["cagt"])


@pytest.mark.slow  # pictures
def test_a_folder_of_an_earlier_version_is_reported_as_it_was(
    reproduce: Callable[..., int], tmp_path: Path
) -> None:
    unfinished = Path(__file__).parent / "unfinished"
    out = Path(shutil.copytree(unfinished, tmp_path / "out"))
    assert reproduce(out / "reproduction.yaml") == 0
    assert (out / "report.md").read_text() == (unfinished / "report.md").read_text()
    assert units(out) == {
        out / p.relative_to(unfinished): unit for p, unit in units(unfinished).items()
    }
