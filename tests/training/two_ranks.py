"""Steps on the rows of one process among several; a script with the arguments RANK FOLDER.

It trains every case of `CASES` and of `BROKEN` and leaves the losses of all steps and a
fingerprint of everything that was learned.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.data.batch import Batch, padding
from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.gradients import from_torchjd, partition
from recsys_mtl.model import embeddings_backend, replicated
from recsys_mtl.training import Trainer, Validation, all_rows, step
from recsys_mtl.training.all_rows import AllRows
from recsys_mtl.training.state import collect
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.step_state import step_parts
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_plan, build_step
from tests.encoded import data_spec
from tests.training import resharded
from tests.training.conftest import SPEC, make_config, make_rows
from tests.training.evaluated import evaluated
from tests.training.test_sequences import rows_with_sequences, spec_of

SIZES = (33, 33, 33, 33, 33, 33, 17, 33, 1, 33)
STEPS_OF_EPOCH = 3
SGD = {"tables": {"name": "sgd", "learning_rate": 0.5}}
ADATT = {"warmup_epochs": 1, "freeze_epoch": 3, "measure": {"interval": 1, "rows": 21}}


def case(name: str = "", **sections: Any) -> dict[str, Any]:
    """A config with SGD on its tables: no accumulator hides a gradient of another scale."""
    training = {"batch_size": 33, **SGD, **sections.pop("training", {})}
    return {"training": training, **sections}


def adatt(mechanism: str, **more: Any) -> dict[str, Any]:
    return case(adatt={"mechanism": mechanism, **ADATT, **more})


def model(**more: Any) -> dict[str, Any]:
    return {"model": make_config().model.model_dump(exclude_unset=True) | more}


CASES: dict[str, dict[str, Any]] = {
    "sum": case(),
    "row-wise Adagrad": case(training={"tables": {"name": "rowwise_adagrad"}}),
    "Adagrad, decay": case(training={"tables": {"name": "adagrad", "weight_decay": 0.1}}),
    "clipping": case(training={"optimizer": {"clip_norm": 0.05}}),
    "torchrec": case(**model(embedding={"dim": 4, "backend": "torchrec"})),
    "torchrec, row-wise Adagrad": case(
        training={"tables": {"name": "rowwise_adagrad"}},
        **model(embedding={"dim": 4, "backend": "torchrec"}),
    ),
    **{
        f"{sharding}, {rows}, {optimizer}": case(
            training={"tables": of_tables | {"sharding": sharding}},
            **model(embedding={"dim": 4, "backend": "torchrec"}),
        )
        for sharding, rows, optimizer, of_tables in (
            ("table", "sequences", "SGD", SGD["tables"]),
            ("table", "shared", "row-wise Adagrad", {"name": "rowwise_adagrad"}),
            ("row", "sequences", "row-wise Adagrad", {"name": "rowwise_adagrad"}),
            ("row", "shared", "SGD", SGD["tables"]),
            ("auto", "shared", "SGD", SGD["tables"]),
            ("row", "shared", "Adagrad, decay", {"name": "adagrad", "weight_decay": 0.1}),
        )
    },
    "gate entropy": case(**model(gates={"entropy": 0.3})),
    "sequences": case(),
    "adatt loss": adatt("loss"),
    "adatt loss, averaged gradient": adatt("loss", measure={"name": "averaged_gradient"}),
    "adatt gradient": adatt("gradient"),
    "adatt borrow": adatt("borrow", borrow={"donors": "uniform"}),
    "cagt, adatt loss": adatt("loss") | {"combiner": {"name": "cagt"}},
    "diagnostics": case(combiner={"name": "sum", "diagnostics": 2}),
    **{
        name: case(combiner={"name": name})
        for name in ("cagt", "pcgrad", "mgda", "cagrad", "gradvac", "graddrop", "config")
    },
    "weights of some rows": case(combiner={"name": "cagrad", "rows": 11}),
    "weights of some rows, adatt loss": adatt("loss") | {"combiner": {"name": "mgda", "rows": 11}},
    "weights at the features": case(combiner={"name": "cagrad", "level": "features"}),
    **{
        name: case(balancing={"name": name})
        for name in ("gradnorm", "uncertainty", "famo", "dwa", "stch", "imtl_l")
    },
}


SHARED = data_spec(
    numeric=3,
    tables=(TableSpec("city", 11, 4), TableSpec("device", 11, 4, table="city")),
    lists=(TableSpec("recent", 9, 4, "mean"),),
    tasks=SPEC.tasks,
)


def batches(name: str) -> list[Batch]:
    """The batches of all processes; not every task has labels in every process or batch."""
    result = []
    for index, size in enumerate(SIZES):
        rows = rows_with_sequences(size) if "sequences" in name else make_rows(size, seed=index)
        labels, g = rows.labels.clone(), torch.Generator().manual_seed(index)
        if index == 1:
            labels[1::2, 0] = torch.nan  # none in the second process
        if index == 4:
            labels[:, 1] = torch.nan  # none at all
        if name == "adatt borrow":
            labels[1:, 2] = torch.nan
        weights = torch.rand(size, generator=g) + 0.5
        result.append(replace(rows, labels=labels, weights=weights))
    return result


def own_rows(batch: Batch) -> Batch:
    """Those of this process; one that stands for none where there are none."""
    rows = torch.arange(batch.num_rows)[parallel.rank() :: parallel.world()]
    return batch.select(rows) if len(rows) else padding(batch.select(torch.tensor([0])))


def trained(name: str, sections: dict[str, Any]) -> dict[str, Any]:
    """The losses of the steps on this process' rows, and a hash of what it learned."""
    config = make_config(**sections)
    torch.manual_seed(3)
    spec = spec_of({"name": "mean"}) if "sequences" in name else SPEC
    spec = SHARED if "shared" in name else spec
    most = 0 if name.startswith("auto") else embeddings_backend.REPLICATED_BYTES
    with mock.patch.object(embeddings_backend, "REPLICATED_BYTES", most):
        network = build_network(config, spec, sharded=True)
    made = build_step(config, network, torch.device("cpu"))
    losses = []
    for number, batch in enumerate(batches(name)):
        if number % STEPS_OF_EPOCH == 0:
            made.start_epoch(number // STEPS_OF_EPOCH)
        result = made(own_rows(batch), number)
        assert result.updated
        losses.append(result.losses.tolist())
        if number % STEPS_OF_EPOCH == STEPS_OF_EPOCH - 1:
            made.balancer.epoch_end()
    lent = made.transfer.lent.sum().item() if name == "adatt borrow" else None
    return {"losses": losses, "hash": learned(made), "lent": lent}


def learned(made: TrainingStep) -> str:
    """Of everything; of a sharded table all rows."""
    digest, shards = hashlib.sha256(), made.network.embeddings.ranges
    for name, tensor in collect(step_parts(made))["tensors"].items():
        if any(f"{table}." in f"{name}." for table in shards):
            tensor = torch.cat(parallel.gathered(tensor))
        digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# ------------------------------------------------------------------ what is broken on purpose


def _own_means(kind: type[AllRows], losses: Any, batch: Batch) -> AllRows:
    every = _all_rows(losses, batch)
    own = losses.totals(batch.labels, batch.weights).float()
    return replace(every, totals=own * parallel.world())


def _own_values(every: AllRows, losses: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    return losses, parallel.summed(counts)


_all_rows, _gathered, _norm = AllRows.of, replicated.parallel.gathered, all_rows.total_norm


def _own_norm(dense: Any, cut: Any) -> Tensor:
    gradients = [p.grad for p in (*dense, *cut) if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _divided(tensor: Tensor) -> list[Tensor]:
    return [p / parallel.world() if p.is_floating_point() else p for p in _gathered(tensor)]


def _swapped(tensor: Tensor) -> list[Tensor]:
    return _gathered(tensor)[:: -1 if tensor.is_floating_point() else 1]


def _own(tensor: Tensor) -> Tensor:
    return tensor


@contextmanager
def division_on() -> Iterator[None]:
    """TorchRec's default."""
    from torchrec.distributed.comm_ops import set_gradient_division

    from recsys_mtl.model import sharded

    with mock.patch.object(sharded, "set_gradient_division"):
        set_gradient_division(True)
        yield


@contextmanager
def columns_as_they_come() -> Iterator[None]:
    """Those of the first process' tables come first."""
    from recsys_mtl.model.sharded import ShardedEmbeddings, TorchrecEmbeddings

    owners = {"t_city": 1, "t_recent": 0}
    with mock.patch.multiple(
        ShardedEmbeddings,
        _looked_up=TorchrecEmbeddings._looked_up,
        _owners=lambda *arguments: owners,
    ):
        yield


Break = Callable[[], Any]
BROKEN: dict[str, tuple[str, Break]] = {
    "each process' own mean loss": (
        "sum",
        lambda: mock.patch.object(AllRows, "of", classmethod(_own_means)),
    ),
    "balancing by own values": (
        "uncertainty",
        lambda: mock.patch.object(AllRows, "losses", _own_values),
    ),
    "tables' gradient divided": (
        "sum",
        lambda: mock.patch.object(replicated.parallel, "gathered", _divided),
    ),
    "gradient at the cut of other rows": (
        "sum",
        lambda: mock.patch.object(replicated.parallel, "gathered", _swapped),
    ),
    "Gram at the cut of own rows": (
        "cagt",
        lambda: mock.patch.object(partition, "sum_over_processes", _own),
    ),
    "norm of own rows": ("clipping", lambda: mock.patch.object(step, "total_norm", _own_norm)),
    "sharded tables' gradient divided": ("row, shared, SGD", division_on),
    "columns in the order of the plan": ("table, shared, row-wise Adagrad", columns_as_they_come),
    "dense gradients not summed": (
        "sum",
        lambda: mock.patch.object(step, "sum_gradients"),
    ),
    "draws for own rows": (
        "graddrop",
        lambda: mock.patch.multiple(
            from_torchjd.GradDrop, mix=lambda self, rows, step: _drop_own(self, rows, step)
        ),
    ),
}


def _drop_own(combiner: Any, rows: list[Tensor], step: int) -> list[Tensor]:
    whole = replace(combiner.partition, splits={})
    with mock.patch.object(combiner, "partition", whole):
        return _mix(combiner, rows, step=step)


_mix = from_torchjd.GradDrop.mix


@contextmanager
def group(rank: int, folder: Path) -> Iterator[None]:
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    yield
    dist.destroy_process_group()


def fitted() -> list[dict[str, Any]]:
    """The numbers of each epoch of a trainer, on a loader's rows of this process."""
    config = make_config(training={"epochs": 2, **SGD}, adatt={"mechanism": "loss", **ADATT})
    torch.manual_seed(3)
    made = build_step(config, build_network(config, SPEC), torch.device("cpu"))
    share = {"rank": parallel.rank(), "world": parallel.world()}
    loader = MemoryLoader(make_rows(67), batch_size=16, shuffle=True, seed=1, **share)
    plan = build_plan(config)
    trainer = Trainer(made, loader, lambda epoch: Validation(float(epoch)), plan)
    return [
        {"rows": e.rows, "labelled": e.labelled, "losses": list(e.train_losses.values())}
        for e in trainer.fit().epochs
    ]


def exchanged(rank: int) -> dict[str, Any]:
    """What `recsys_mtl.parallel` gives a process."""
    errors = []
    for work in (
        lambda: parallel.require_same([torch.tensor([rank])], "weights"),
        lambda: parallel.together(lambda: _wrong_in_the_second(rank)),
    ):
        try:
            work()
        except (RuntimeError, UserError) as error:
            errors.append(str(error))
    parallel.require_same([torch.tensor([1.0, float("nan")]), torch.tensor(3)], "weights")
    return {
        "errors": errors,
        "broadcast": parallel.broadcast({"rank": rank, "text": "ä" * rank}),
        "gathered": [t.tolist() for t in parallel.gathered(torch.full((rank, 2), rank))],
        "nothing": [t.tolist() for t in parallel.gathered(torch.zeros(0))],
        "anywhere": [parallel.anywhere(rank == 1), parallel.anywhere(False)],
        "together": parallel.together(lambda: rank),
        "mine": [parallel.mine(count) for count in range(4)],
    }


def _wrong_in_the_second(rank: int) -> None:
    if rank == 1:
        raise wrong("missing column", where="data", expected="x", found="y", fix="add it")


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    with group(rank, folder):
        results["exchanged"] = exchanged(rank)
        results["fitted"] = fitted()
        results["evaluated"] = evaluated()
        results["resharded"] = resharded.resharded(folder)
        results["large"] = resharded.large(folder)
        for name, sections in CASES.items():
            results[name] = trained(name, sections)
        for title, (name, broken) in BROKEN.items():
            with broken():
                results[title] = trained(name, CASES[name])
    (folder / f"{rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
