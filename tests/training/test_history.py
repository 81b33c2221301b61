from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from recsys_mtl.data.prepare import prepare
from recsys_mtl.metrics import Undefined
from recsys_mtl.model import GateUse
from recsys_mtl.training import Epoch, Validation
from recsys_mtl.training.history import History
from recsys_mtl.wiring.trainer import fit_network

EPOCH = Epoch(
    number=1,
    train_losses={"click": 0.1 + 0.2, "buy": 1 / 3},
    labelled={"click": 7, "buy": 0},
    seconds=1.5,
    rows=8,
    skipped=1,
    learning_rate_factor=0.5,
    loss_weights={"click": 1.0, "buy": 2.0},
    transfer={"phase": "warmup", "affinity": [[[1.0, 0.0], [0.0, 1.0]]]},
    conflicts={"steps": 3, "weights": None},
    validation=Validation(
        score=0.7,
        losses={"click": 0.5, "buy": None},
        metrics={"click": {"auc": 0.7}, "buy": {"auc": Undefined("one class")}},
        gates={"click": GateUse({"shared.0": 0.9, "own.0": 0.1}, 0.3, ("own.0",))},
    ),
)


def test_epochs_come_back_from_json_as_they_were() -> None:
    history, again = History(), History()
    bare = Epoch(0, {}, {}, 0.0, 0, 0, 1.0)
    history.add(bare)
    history.add(EPOCH)
    again.load({}, json.loads(json.dumps(history.values(), allow_nan=False)))
    assert again.epochs == history.epochs == (bare, EPOCH)
    assert bare.score is None
    assert EPOCH.score == 0.7


def test_what_is_kept_does_not_grow_with_the_rows(shared_toy: Any) -> None:
    """Numbers of tasks only: no array, no tensor."""
    assert {field.name for field in fields(Validation)} == {"score", "losses", "metrics", "gates"}
    config = shared_toy.config("training.epochs=1")
    (epoch,) = fit_network(config, prepare(config)).result.epochs
    history = History()
    history.add(epoch)
    assert len(json.dumps(history.values())) < 10_000
    assert set(map(type, leaves(history.values()))) <= {int, float, str, bool, type(None)}


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    if isinstance(value, list | tuple):
        return [leaf for one in value for leaf in leaves(one)]
    return [value]
