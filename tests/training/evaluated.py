"""Evaluations whose rows processes share, for `tests.training.two_ranks`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from recsys_mtl import parallel
from recsys_mtl.columns.keys import GroupKey, SegmentKey
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import Loader, MemoryLoader, StreamLoader
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.metrics.undefined import as_float
from recsys_mtl.training import Trainer, Validation
from recsys_mtl.training.evaluate import Evaluator, Scores
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_losses, build_plan, build_step
from tests.training.conftest import SPEC, make_config, make_rows

SIZES = {"memory": 16, "a process without rows at the end": 33, "stream": 10}
KEYS = (GroupKey("user"), SegmentKey("tab", ["a", "b"]))
EVALUATOR = Evaluator(
    tasks=SPEC.tasks,
    losses=build_losses(make_config()),
    inverse={"value": lambda x: 10 * x + 3},
    precision="fp32",
    calibration_bins=5,
    top_k=(1, 3),
    keys=KEYS,
)


def rows() -> Batch:
    g = torch.Generator().manual_seed(7)
    users, tabs = torch.randint(0, 9, (67,), generator=g), torch.randint(0, 4, (67,), generator=g)
    keys = torch.stack([users + 2**40, tabs], 1)
    return replace(make_rows(67, seed=7), keys=keys, weights=torch.rand(67, generator=g))


def loader(name: str, **share: int) -> Loader:
    size = SIZES[name]
    if name == "stream":
        some = [rows().select(part) for part in torch.arange(67).split(9)]
        return StreamLoader(lambda: iter(some), num_rows=67, batch_size=size, **share)
    return MemoryLoader(rows(), batch_size=size, shuffle=False, seed=0, **share)


def scored(name: str, **share: int) -> dict[str, Any]:
    """The scores of an untrained network as JSON."""
    torch.manual_seed(3)
    scores = EVALUATOR(build_network(make_config(), SPEC), loader(name, **share))
    return {"numbers": numbers(scores), "rows": of_rows(scores)}


def numbers(scores: Scores) -> dict[str, Any]:
    gates = {task: [use.entropy, *use.mean.values()] for task, use in scores.gates.items()}
    metrics = {t: {n: as_float(m) for n, m in of.items()} for t, of in scores.metrics.items()}
    return {"labelled": scores.labelled, "losses": scores.losses, "gates": gates} | metrics


def of_rows(scores: Scores) -> dict[str, Any]:
    arrays = {**scores.predictions, **{f"{t} label": v for t, v in scores.labels.items()}}
    arrays |= {"weights": scores.weights}
    if scores.groups is not None:
        arrays |= {"groups": scores.groups, "tabs": scores.segments["tab"][0]}
    return {name: array.tolist() for name, array in arrays.items()}


def early(**share: int) -> list[Any]:
    """Scores of the epochs, the best one, and why a training ended."""
    config = make_config(
        training={
            "epochs": 9,
            "optimizer": {"learning_rate": 0.1},
            "early_stopping": {"patience": 1},
        }
    )
    torch.manual_seed(3)
    step = build_step(config, build_network(config, SPEC), torch.device("cpu"))

    def validate(epoch: int) -> Validation:
        scores = EVALUATOR(step.network, loader("memory", **share))
        return Validation(scores.losses["value"], scores.losses, scores.metrics, scores.gates)

    train = MemoryLoader(make_rows(67), batch_size=16, shuffle=True, seed=1, **share)
    result = Trainer(step, train, validate, build_plan(config)).fit()
    return [[e.score for e in result.epochs], result.best_epoch, result.stopped]


def wrong_rows() -> str:
    """What a process says where the rows of the second one are wrong."""

    def read() -> Iterator[Batch]:
        yield rows().select(torch.arange(20))
        if parallel.rank():
            raise wrong("a label that may not be", where="row 20")
        yield rows().select(torch.arange(20, 67))

    share = {"rank": parallel.rank(), "world": parallel.world()}
    broken = StreamLoader(read, num_rows=67, batch_size=16, **share)
    try:
        EVALUATOR(build_network(make_config(), SPEC), broken)
    except UserError as error:
        return str(error)
    return "none"


def evaluated() -> dict[str, Any]:
    """Everything of this process."""
    share = {"rank": parallel.rank(), "world": parallel.world()}
    own = {name: scored(name, **share) for name in SIZES}
    alone = [scored("memory")] if parallel.rank() else []  # a loader that is not shared
    return {"scores": own, "alone": alone, "early": early(**share), "wrong": wrong_rows()}
