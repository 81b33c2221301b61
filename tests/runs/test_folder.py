from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.files import atomic_write
from recsys_mtl.runs import train as train_job
from recsys_mtl.runs.folder import training_folder
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle

Trained = tuple[Any, dict[str, Any]]
Files = dict[str, str]
EARLIER: Files = {
    "result.json": '{"job": "train"}',
    "config.yaml": "name: a\n",
    "model/config.yaml": "name: a\n",
    "model/manifest.json": '{"format": 1, "files": {}}',
    "metrics.jsonl": '{"step": 0}\n',
    "mlflow_run.json": '{"run_id": "a", "status": "KILLED"}',
    "verify.log": "reason",
    "notes.txt": "mine",
}
BY_HAND: dict[str, tuple[Files, str]] = {
    "a model of something else": ({"model/weights.bin": "mine"}, "model"),
    "a manifest of something else": ({"model/manifest.json": "{}"}, "model"),
    "a broken manifest": (EARLIER | {"model/manifest.json": "{"}, "model"),
    "a file added to the model": (EARLIER | {"model/notes.txt": "mine"}, "model"),
    "a file called model": ({"model": "mine"}, "model"),
    "a config": ({"config.yaml": "name: mine\n"}, "config.yaml"),
    "an edited config": (EARLIER | {"config.yaml": "name: b\n"}, "config.yaml"),
    "a folder called config.yaml": ({"config.yaml/a": ""}, "config.yaml"),
    "a result of another job": ({"result.json": '{"job": "evaluate"}'}, "result.json"),
    "a folder called result.json": ({"result.json/a": ""}, "result.json"),
    "metrics": ({"metrics.jsonl": "mine"}, "metrics.jsonl"),
    "a run": ({"mlflow_run.json": '{"run_id": 1}'}, "mlflow_run.json"),
    "a log": ({"verify.log": "mine"}, "verify.log"),
    "a file called checkpoints": ({"checkpoints": "mine"}, "checkpoints"),
}


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        atomic_write(folder / name, content)
    return folder


def read(folder: Path) -> Files:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize("case", BY_HAND)
def test_what_no_training_wrote_is_not_touched(tmp_path: Path, case: str) -> None:
    files, named = BY_HAND[case]
    write(tmp_path, files)
    message = rf"/{named}: the output folder holds what no `train` wrote.* -> give another folder"
    with pytest.raises(UserError, match=message), training_folder(tmp_path):
        pass
    assert read(tmp_path) == files


def test_a_link_to_another_model_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "one", EARLIER)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "model").symlink_to(tmp_path / "one" / "model")
    with pytest.raises(UserError, match="model: the output"), training_folder(tmp_path / "two"):
        pass


KILLED = ("model/config.yaml", "model/manifest.json", "config.yaml", "notes.txt")


@pytest.mark.parametrize("names", [(), tuple(EARLIER), KILLED, ("metrics.jsonl",)])
def test_an_earlier_training_is_replaced(tmp_path: Path, names: tuple[str, ...]) -> None:
    write(tmp_path, {name: EARLIER[name] for name in names})
    with training_folder(tmp_path) as folder:
        assert folder == tmp_path


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    with training_folder(out):
        with pytest.raises(UserError, match="another job writes there"), training_folder(out):
            pass
        assert out.is_dir()
    assert list(tmp_path.iterdir()) == []  # nothing was written


@pytest.mark.slow
def test_a_trained_model_survives_a_failing_save(
    trained: Trained, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody puts a folder in the way while the training runs."""
    usual, out = train_job.fit_network, toy.folder / "run"
    shutil.copytree(trained[0].run, out)

    def fit(*arguments: Any, **options: Any) -> Any:
        fitted = usual(*arguments, **options)
        (out / "result.json").unlink()
        (out / "result.json").mkdir()
        return fitted

    monkeypatch.setattr(train_job, "fit_network", fit)
    with pytest.raises(UserError, match=r"result\.json.*the trained model is in ") as caught:
        train(toy.config("training.epochs=1"), out)
    spare = Path(str(caught.value).partition("model is in ")[2].partition(":")[0])
    load_bundle(spare)
    shutil.rmtree(spare.parent)
    assert (out / "result.json").is_dir()
    assert json.loads((out / "model" / "manifest.json").read_text())["format"] == 1


def test_what_a_killed_training_was_writing_is_deleted(tmp_path: Path) -> None:
    half = [f"{name}.tmp-12-0a1b2c3d" for name in ("result.json", "config.yaml", "_lock.json")]
    half += [".model.12.new/config.yaml", ".model.12.old/config.yaml"]
    mine = {"notes.txt.tmp-12-0a1b2c3d": "mine", ".model.12.older/a": "mine", "metrics.jsonl": ""}
    write(tmp_path, EARLIER | dict.fromkeys(half, "half") | mine)
    with training_folder(tmp_path):
        pass
    assert read(tmp_path) == EARLIER | mine


def test_a_model_that_a_killed_training_had_moved_comes_back(tmp_path: Path) -> None:
    model = {name: text for name, text in EARLIER.items() if name.startswith("model/")}
    aside = {name.replace("model", ".model.12.old"): text for name, text in model.items()}
    write(tmp_path, aside)
    with training_folder(tmp_path):
        pass
    assert read(tmp_path) == model
