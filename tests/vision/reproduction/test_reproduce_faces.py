"""Results of `reproduce` stay with the images, labels and weights that they come from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recsys_mtl.vision.backbones import ResNet18
from tests.vision.fake_celeba import FakeCeleba, write_celeba
from tests.vision.reproduction.test_reproduce import error_of, units


@pytest.fixture
def faces(tmp_path: Path) -> FakeCeleba:
    return write_celeba(tmp_path / "data", counts=(23, 17, 5))


@pytest.fixture
def reproduce_faces(
    write: Callable[..., Path], reproduce: Callable[..., int], tmp_path: Path
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


@pytest.mark.slow  # trainings
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


@pytest.mark.slow  # trainings
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
