"""Which checkpoint a run resumes from, what it refuses, and what signals do."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.config import Config
from recsys_mtl.errors import UserError
from recsys_mtl.runs import train as job
from recsys_mtl.runs.checkpointing import RunCheckpoints
from recsys_mtl.runs.resume import environment, warn_of_differences
from tests.runs.test_killed import left
from tests.toy import Toy, make_toy

pytestmark = pytest.mark.slow  # trainings
SETTINGS = ("training.checkpoints.every=2", "training.checkpoints.unit=steps")
STEPS = 10  # five batches an epoch, two epochs


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A toy with a run to its end, `straight`, and one that was killed before it, `killed`."""
    toy = make_toy(tmp_path_factory.mktemp("begun"))
    job.train(toy.config(*SETTINGS), toy.folder / "straight")
    killed(toy.config(*SETTINGS), toy.folder / "killed")
    return toy


def raising(*_: Any) -> None:
    raise KilledError


def killed(config: Config, run: Path) -> None:
    """A training that ends before its model is stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "save_model", raising)
        with pytest.raises(KilledError):
            job.train(config, run)


@pytest.fixture
def run(begun: Toy, tmp_path: Path) -> Path:
    """A copy of the killed run."""
    return Path(shutil.copytree(begun.folder / "killed", tmp_path / "run"))


def steps(run: Path) -> list[int]:
    return [int(path.name[5:]) for path in sorted(run.glob("checkpoints/step-*"))]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("name", ["tensors-00001.safetensors", "state.json"])
def test_a_damaged_one_falls_back(
    begun: Toy, run: Path, caplog: pytest.LogCaptureFixture, damage: Any, name: str
) -> None:
    before = steps(run)
    newest = run / f"checkpoints/step-{before[-1]:08d}"
    damage(newest / name)
    with caplog.at_level(logging.INFO):
        job.train(begun.config(*SETTINGS), run)
    assert f"{newest} is damaged and not used" in caplog.text
    assert f"resumed from {newest.with_name(f'step-{before[-2]:08d}')}" in caplog.text
    assert left(run) == left(begun.folder / "straight")


def test_where_all_are_damaged_it_starts_anew(
    begun: Toy, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in run.glob("checkpoints/*/state.json"):
        truncate(path)
    with caplog.at_level(logging.INFO):
        job.train(begun.config(*SETTINGS), run)
    assert "resumed from" not in caplog.text
    assert left(run) == left(begun.folder / "straight")


@pytest.mark.parametrize(
    ("overrides", "resume", "message"),
    [
        (
            ["training.epochs=3"],
            "auto",
            r"step-\d+: the checkpoint is of another config: training.epochs differs; expected 2;"
            r" found 3 -> start anew with --resume never, or give another folder with --out$",
        ),
        (["training.checkpoints.every=3"], 3, r"--resume 3: no checkpoint of this step; expected"),
        (["data.path=other.parquet"], "auto", r"another config: data.path differs"),
    ],
)
def test_what_is_refused_in_one_line(
    begun: Toy, run: Path, overrides: list[str], resume: Any, message: str
) -> None:
    before = left_of(run)
    with pytest.raises(UserError, match=message) as raised:
        job.train(begun.config(*SETTINGS, *overrides), run, resume=resume)
    assert len(raised.value.problems) == 1
    assert left_of(run) == before


def left_of(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_features_in_another_order_are_another_config(begun: Toy, run: Path) -> None:
    document = begun.document()
    document["features"] = dict(reversed(document["features"].items()))
    document["training"]["checkpoints"] = {"every": 2, "unit": "steps"}
    begun.write(document)
    with pytest.raises(UserError, match="another config: the order of its keys differs ->"):
        job.train(Config.model_validate(document), run)


def test_other_data_are_refused(begun: Toy, run: Path) -> None:
    rows = begun.rows()
    try:
        rows.with_columns(pl.col("age") + 1).write_parquet(begun.data)
        with pytest.raises(UserError, match="the data are not those that the training began with"):
            job.train(begun.config(*SETTINGS), run)
    finally:
        rows.write_parquet(begun.data)
    assert steps(run)


def test_never_starts_anew(begun: Toy, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        job.train(begun.config(*SETTINGS, "training.epochs=1"), run, resume="never")
    assert "resumed from" not in caplog.text
    assert not (run / "checkpoints").exists()


def test_kept_ones_are_resumed_on_request_alone(
    begun: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, config = tmp_path / "run", begun.config(*SETTINGS, "training.checkpoints.after_end=keep")
    job.train(config, run)
    assert steps(run)
    with caplog.at_level(logging.INFO):
        job.train(config, run)
    assert "resumed from" not in caplog.text
    kept = steps(run)
    assert kept
    with caplog.at_level(logging.INFO):
        job.train(config, run, resume=kept[0])
    assert f"resumed from {run / 'checkpoints'}/step-{kept[0]:08d}" in caplog.text
    tasks = [
        json.loads((of / "result.json").read_text())["tasks"]
        for of in (run, begun.folder / "straight")
    ]
    assert tasks[0] == tasks[1]


def at_step(number: int, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Do something after so many batches."""
    count, usual = [0], RunCheckpoints.on_step

    def on_step(self: RunCheckpoints) -> None:
        count[0] += 1
        if count[0] == number:
            act()
        usual(self)

    patch.setattr(RunCheckpoints, "on_step", on_step)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("evaluating", [False, True])
def test_sigterm_saves_and_the_same_command_ends_the_run(
    begun: Toy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    evaluating: bool,
) -> None:
    begun.write(begun.document())
    run = tmp_path / "run"
    words = ["train", str(begun.folder / "toy.yaml"), "--out", str(run)]
    words += ["--set", "training.averaging=ema"]
    assert main([*words[:3], str(tmp_path / "straight"), *words[4:]]) == 0
    with pytest.MonkeyPatch.context() as patch:
        if evaluating:
            usual = job.RunCheckpoints.watched

            def watched(self: Any, prepared: Any, sampler: Any) -> Any:
                made = usual(self, prepared, sampler)
                loader = made.loaders["valid"]
                epochs = loader.epoch

                def epoch(number: int, start: int = 0) -> Any:
                    terminate()
                    return epochs(number, start)

                loader.epoch = epoch
                return made

            patch.setattr(RunCheckpoints, "watched", watched)
        else:
            at_step(7, terminate, patch)
        capsys.readouterr()
        assert main(words) == 143
    step = 5 if evaluating else 6  # an epoch is a call too
    path = run / f"checkpoints/step-{step:08d}"
    error = f"error: terminated, {path}: the same command resumes there"
    assert capsys.readouterr().err.splitlines()[-1] == error
    assert steps(run) == [step]
    assert main(words) == 0
    assert left(run) == left(tmp_path / "straight")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sigterm_without_checkpoints_keeps_the_weights(
    begun: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(2, terminate, monkeypatch)
    config = begun.config("training.checkpoints.every=null")
    result = job.train(config, tmp_path / "run")
    assert result["interrupted"] is True
    assert (tmp_path / "run/model").is_dir()


def test_a_warm_start_needs_its_parent_no_more(
    begun: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Path(shutil.copytree(begun.folder / "straight/model", tmp_path / "parent"))
    config = begun.config(*SETTINGS, f"training.warm_start.model={parent}")
    straight = job.train(config, tmp_path / "straight")
    run = tmp_path / "run"
    killed(config, run)
    shutil.rmtree(parent)
    result = job.train(config, run)
    assert result["warm_start"] == straight["warm_start"]
    assert left(run) == left(tmp_path / "straight")


def test_a_resumed_run_names_what_its_digits_depend_on(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_differences({k: v for k, v in environment().items() if k != "native kernel"})
    assert not caplog.messages, "a checkpoint from before it was stored"
    warn_of_differences(environment() | {"native kernel": "avx9"})
    assert len(caplog.messages) == 1
    assert "not bit for bit as without the kill: native kernel avx9 is now" in caplog.text
