from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys_mtl.checkpoints import Checkpoints, Saver, saver
from recsys_mtl.training import TrainingState


class FakeTrainer:
    """Four batches an epoch; the best epoch is the second."""

    def __init__(self) -> None:
        self.steps = 0
        self.weight = torch.zeros(3)

    @property
    def epochs(self) -> tuple[int, ...]:
        return tuple(range(self.steps // 4))

    def state_dict(self) -> TrainingState:
        best = {"epoch": min(1, len(self.epochs) - 1)}
        values = {"best": best, "history": [*self.epochs]}
        return {"tensors": {"network.weight": self.weight}, "values": values}


@pytest.fixture
def trainer() -> FakeTrainer:
    return FakeTrainer()


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path)


def saving(checkpoints: Checkpoints, trainer: FakeTrainer, **settings: Any) -> Saver:
    settings = {"every": 1, "unit": "steps", "keep": 2, **settings}
    files = {"a.json": b"{}"}.copy
    return Saver(checkpoints, trainer, run=dict, files=files, **settings)  # type: ignore[arg-type]


def train(trainer: FakeTrainer, saver: Saver, steps: int, *, wait: bool = True) -> None:
    for _ in range(steps):
        trainer.steps += 1
        trainer.weight += 1
        if saver.due():
            saver.take()
        if wait:
            saver.wait()


@pytest.mark.parametrize(
    ("settings", "steps", "expected"),
    [
        ({"every": 3}, 10, [6, 9]),
        ({"every": 1, "keep": 1}, 7, [4, 7]),  # the first after epoch 0, the best so far
        ({"every": 1}, 19, [8, 18, 19]),
        ({"every": 1, "unit": "epochs"}, 14, [8, 12]),
        ({"every": 2, "unit": "epochs", "keep": 3}, 18, [8, 16]),
        ({"every": 10, "unit": "minutes"}, 9, []),
        ({"every": 1e-9, "unit": "minutes"}, 3, [2, 3]),
    ],
)
def test_what_is_written_and_kept(
    checkpoints: Checkpoints,
    trainer: FakeTrainer,
    settings: dict[str, Any],
    steps: int,
    expected: list[int],
) -> None:
    saver = saving(checkpoints, trainer, **settings)
    train(trainer, saver, steps)
    saver.close()
    assert list(checkpoints.steps()) == expected
    for step in expected:
        weight = checkpoints.read(step).state["tensors"]["network.weight"]
        assert weight.tolist() == [step] * 3


def test_one_is_written_at_a_time_and_training_does_not_wait(
    checkpoints: Checkpoints, trainer: FakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    write = Checkpoints.write

    def slowly(*args: Any) -> Path:
        assert go.wait(10)
        return write(*args)

    monkeypatch.setattr(Checkpoints, "write", slowly)
    saver = saving(checkpoints, trainer)
    train(trainer, saver, 5, wait=False)
    go.set()
    saver.close()
    weight = checkpoints.read(1).state["tensors"]["network.weight"]
    assert weight.tolist() == [1.0] * 3  # of its step, though training continued
    assert list(checkpoints.steps()) == [1]


def test_a_failure_is_one_warning_and_training_continues(
    checkpoints: Checkpoints,
    trainer: FakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*args: Any) -> Path:
        raise OSError("no space")

    monkeypatch.setattr(Checkpoints, "write", full)
    saver = saving(checkpoints, trainer)
    with caplog.at_level(logging.WARNING):
        train(trainer, saver, 3)
    assert saver.save() is None
    saver.close()
    assert [r.message for r in caplog.records] == [
        f"{checkpoints.folder}: a checkpoint could not be written, training continues: no space"
    ]


def test_the_disk_keeps_room_for_the_model(
    checkpoints: Checkpoints,
    trainer: FakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(saver, "free_space", lambda folder: 23)
    saves = saving(checkpoints, trainer)
    with caplog.at_level(logging.WARNING):
        train(trainer, saves, 2)
    saves.close()
    assert not checkpoints.steps()
    assert [r.message for r in caplog.records] == [
        f"{checkpoints.folder}: a checkpoint needs 24 B of free disk: none is written".replace(
            "24 B", "24.0 bytes"
        )
    ]


def test_without_memory_for_a_copy_the_live_tensors_are_written(
    checkpoints: Checkpoints, trainer: FakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saver, "_room", lambda: 0.0)
    monkeypatch.setattr(saver, "_copy", lambda tensor: pytest.fail("a copy"))
    saves = saving(checkpoints, trainer)
    train(trainer, saves, 1, wait=False)
    assert list(checkpoints.steps()) == [1]
    saves.close()


def test_an_earlier_attempts_later_checkpoints_go(
    checkpoints: Checkpoints, trainer: FakeTrainer
) -> None:
    first = saving(checkpoints, trainer)
    train(trainer, first, 9)
    first.close()
    again = FakeTrainer()
    again.steps = 4
    second = saving(checkpoints, again, keep=1)
    train(again, second, 1)
    second.close()
    assert list(checkpoints.steps()) == [5]


def test_a_state_on_request(checkpoints: Checkpoints, trainer: FakeTrainer) -> None:
    saver = saving(checkpoints, trainer, every=100)
    train(trainer, saver, 3)
    path = saver.save()
    saver.close()
    assert path == checkpoints.folder / "step-00000003"
