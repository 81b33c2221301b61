from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from recsys_mtl.cli.main import main
from recsys_mtl.study import run as engine
from recsys_mtl.tracking.run import NullRun
from recsys_mtl.vision.backbones import ResNet18
from recsys_mtl.vision.reproduction import reproduce as job
from recsys_mtl.vision.reproduction import unit as unit_module
from recsys_mtl.vision.reproduction.load import load_reproduction
from tests.vision.fake_celeba import FakeCeleba, write_celeba

Document = dict[str, Any]
Write = Callable[..., Path]
COST = ("seconds", "step_ms", "peak_memory_mb")


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_MTL_DATA", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """The file of a small reproduction on scikit-learn's digits, with keys changed."""

    def write(**keys: Any) -> Path:
        document = {
            "name": "small",
            "dataset": {"kind": "rot_mnist", "rows": {"train": 200, "test": 90}},
            "model": {"kind": "small_cnn", "channels": [4], "width": 6},
            "training": {"epochs": 1, "batch_size": 64, "device": "cpu"},
            "seeds": {"count": 2},
            "reruns": 1,
            "methods": {
                "sum": {},
                "single_task": {"alone": True},
                "gradnorm": {"balancing": "gradnorm"},
                "cagt": {"combiner": {"name": "cagt", "block_size": 100}},
            },
            "threshold": {"loss": 4.5, "every": 2, "images": 30},
            "published": {"methods": {"cagt": {"loss": [0.2525, 0.021]}}},
            "tracking": {"enabled": False},
        }
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(document | keys, sort_keys=False))
        return path

    return write


@pytest.fixture
def reproduce(tmp_path: Path) -> Callable[..., int]:
    """The command, with one process, into `out`."""

    def reproduce(plan: Path | str, *arguments: str) -> int:
        out = ["--out", str(tmp_path / "out"), "--processes", "1"]
        return main(["reproduce", str(plan), *out, *arguments])

    return reproduce


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


@pytest.fixture
def faces(tmp_path: Path) -> FakeCeleba:
    return write_celeba(tmp_path / "data", counts=(23, 17, 5))


@pytest.fixture
def reproduce_faces(
    write: Write, reproduce: Callable[..., int], tmp_path: Path
) -> Callable[..., int]:
    """The command on faces, with two methods."""
    dataset = {"kind": "celeba", "attributes": ["Male", "Smiling"], "size": 16}
    methods = {"sum": {}, "pcgrad": {"combiner": {"name": "pcgrad"}}}
    plan = write(
        dataset=dataset,
        methods=methods,
        threshold=None,
        seeds={"count": 1},
        against=None,
        published={},
    )

    def reproduce_faces(*changes: str, data: Path = tmp_path / "data") -> int:
        words = [word for change in changes for word in ("--set", change)]
        return reproduce(plan, "--data", str(data), *words)

    return reproduce_faces


def finish_the_download(faces: FakeCeleba) -> None:
    shutil.copy(faces.images / faces.names[1], faces.images / faces.names[3])


def change_a_label(faces: FakeCeleba) -> None:
    path = faces.root / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    name, *labels = lines[2].split()
    lines[2] = " ".join([name, *(str(-int(label)) for label in labels)])
    path.write_text("\n".join(lines))


def change_an_image(faces: FakeCeleba) -> None:
    shutil.copy(faces.images / faces.names[1], faces.images / faces.names[2])


def exchange_all(faces: FakeCeleba) -> None:
    write_celeba(faces.root, counts=(23, 17, 5), seed=7)


def test_results_stay_with_the_images_they_are_from(
    faces: FakeCeleba,
    reproduce_faces: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (faces.images / faces.names[3]).unlink()
    assert reproduce_faces("dataset.only_present=true") == 0
    before = units(tmp_path / "out")
    note = (tmp_path / "out" / "reproduction.yaml").read_text()
    for change in (finish_the_download, change_a_label, change_an_image, exchange_all):
        root = tmp_path / change.__name__
        shutil.copytree(faces.root, root)
        changes = ("dataset.only_present=true", "seeds.count=2")
        change(replace(faces, root=root, images=root / faces.images.name))
        assert reproduce_faces(*changes, data=root) == 2
        assert "the folder holds results of other images" in error_of(capsys)
    assert units(tmp_path / "out") == before
    assert (tmp_path / "out" / "reproduction.yaml").read_text() == note
    copy = shutil.copytree(faces.root, tmp_path / "copy")
    assert reproduce_faces("dataset.only_present=true", data=copy) == 0
    assert units(tmp_path / "out") == before


def test_left_out_images_are_in_report_and_result(
    faces: FakeCeleba,
    reproduce_faces: Callable[..., int],
    tmp_path: Path,
) -> None:
    for name in faces.names[3:9]:
        (faces.images / name).unlink()
    (faces.images / faces.of(1)[2]).write_text("no image")
    plan = ("dataset.only_present=true", "training.epochs=1")
    assert reproduce_faces(*plan) == 2  # one of 17 is more than one in a hundred
    (faces.images / faces.of(1)[2]).unlink()
    assert reproduce_faces(*plan) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "17 images to train on, 16 to test" in report
    assert "6 of 23 listed training images have no file and are left out (only_present)." in report
    assert "1 of 17 listed test images have no file" in report
    left_out = json.loads((tmp_path / "out" / "result.json").read_text())["summary"]["left_out"]
    assert left_out["training"] == {"listed": 23, "absent": 6, "broken": [], "count": 17}


RESNET = "model={kind: resnet18, weights: ~/weights.pt}"


@pytest.mark.slow
def test_weights_are_compared_by_content(
    faces: FakeCeleba,
    reproduce_faces: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    weights, out = tmp_path / "weights.pt", tmp_path / "out"
    weights.write_text("not weights")
    assert reproduce_faces(RESNET) == 2
    assert "model.weights: " in error_of(capsys)
    assert not out.exists()
    torch.save(ResNet18().state_dict(), weights)
    assert reproduce_faces(RESNET, data=Path("~/data")) == 0
    weights.rename(tmp_path / "moved.pt")
    assert reproduce_faces(RESNET.replace("weights.pt", "moved.pt")) == 0
    assert len(units(out)) == 2
    torch.save(ResNet18().state_dict(), weights)
    before = units(out)
    for other in (RESNET, "model={kind: resnet18}"):
        assert reproduce_faces(other, "seeds.count=2") == 2
        assert "the folder holds results of other weights" in error_of(capsys)
    assert units(out) == before
