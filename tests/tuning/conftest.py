"""Tunings of the toy config by a training that only computes a value."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from recsys_mtl.config import Config
from recsys_mtl.errors import wrong
from recsys_mtl.training import Epoch, Validation
from recsys_mtl.tuning import Tuning, load_tuning, search, tune
from recsys_mtl.wiring.trainer import Fitted, Recorder
from tests.toy import Toy

RATE, DROPOUT = "training.optimizer.learning_rate", "model.dropout"
EPOCHS = 4


def loss(config: Config) -> float:
    """Smallest at the rate 0.01 and the dropout 0.2."""
    rate = config.training.optimizer.learning_rate
    return (rate - 0.01) ** 2 * 1e4 + (config.model.dropout - 0.2) ** 2


def epoch(number: int, value: float) -> Epoch:
    metrics: dict[str, Any] = {"click": {"auc": 1 - value}, "buy": {"auc": value / 2}}
    validation = Validation(value, {"click": value, "buy": value}, metrics)
    return Epoch(number, {}, {}, 1.0, 1, 0, 1.0, validation=validation)


class FakeFit:
    """Reports losses that fall to `loss`; ends as `faults` says, by the count of calls."""

    def __init__(self, faults: dict[int, str] | None = None) -> None:
        self.faults, self.seen = faults or {}, list[Config]()

    def __call__(self, config: Config, recorder: Recorder) -> Fitted:
        fault = self.faults.get(len(self.seen), self.faults.get(-1, ""))
        self.seen.append(config)
        if fault == "diverges":
            raise wrong("training diverged")
        if fault == "interrupted":
            raise KeyboardInterrupt
        if fault == "disk":
            raise OSError(28, "No space left on device")
        if fault == "graceful":
            return SimpleNamespace(result=SimpleNamespace(stopped="interrupted"))  # type: ignore[return-value]
        epochs = []
        for number in range(EPOCHS):
            epochs.append(epoch(number, loss(config) + 1 / (1 + number)))
            recorder.on_epoch(epochs[-1])
        result = SimpleNamespace(epochs=epochs, best_epoch=EPOCHS - 1, stopped="finished")
        return SimpleNamespace(result=result)  # type: ignore[return-value]


@dataclass
class Bench:
    """A tuning's file and folder."""

    path: Path
    out: Path

    def plan(self, **keys: Any) -> Tuning:
        document = yaml.safe_load(self.path.read_text()) | keys
        changed = self.path.with_name("changed.yaml")
        changed.write_text(yaml.safe_dump(document))
        return load_tuning(changed)

    def run(self, fit: FakeFit, **keys: Any) -> dict[str, Any]:
        tune(self.plan(**keys), self.out, fit=fit)
        return self.result()

    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(
            (self.out / "result.json").read_text(), parse_constant=pytest.fail
        )
        return result


@pytest.fixture
def bench(tmp_path: Path, shared_toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Bench:
    document = shared_toy.document()
    for kind in ("band", "spend", "item"):
        del document["tasks"][kind]
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(document))
    path = tmp_path / "tuning.yaml"
    space = {
        RATE: {"kind": "float", "low": 0.0001, "high": 0.1, "log": True},
        DROPOUT: {"kind": "float", "low": 0.0, "high": 0.5},
    }
    document = {
        "name": "toy", "base": str(tmp_path / "toy.yaml"), "space": space, "trials": 3,
        "pruner": "none", "tracking": {"enabled": False},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(document))
    engine = sys.modules["recsys_mtl.tuning.tune"]  # the package has its function by that name
    monkeypatch.setattr(engine, "prepare", _prepare)
    monkeypatch.setattr(search, "_RANDOM", 2)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    return Bench(path, tmp_path / "out")


def _prepare(config: Config, **more: Any) -> Any:
    """No data: nothing is trained."""
    return SimpleNamespace(config=config, fingerprint="some")
