"""A retrieval task whose items are rows of a table that features share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients import COMBINERS
from recsys_mtl.model.embeddings_backend import _torchrec_obstacle
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec, encoded

ROWS, DIM, RATE = 13, 4, 0.5
SLOW, FEW = pytest.mark.slow, ("sum", "pcgrad", "cagt")
OTHERS = [name for name in COMBINERS if name not in FEW]
SPEC = data_spec(
    numeric=3,
    tables=[TableSpec("shown", ROWS, DIM, table="video"), TableSpec("city", 5, DIM)],
    lists=[TableSpec("seen", ROWS, DIM, "mean", table="video")],
    tasks=[
        TaskSpec("next", "retrieval", DIM, items=ROWS - 1, table="video", frequencies=range(2, 13)),
        TaskSpec("click", "binary", 1),
        TaskSpec("brand", "retrieval", 3, items=6),
    ],
)
TRAINING = {
    "tables": {"name": "sgd", "learning_rate": RATE},
    "optimizer": {"clip_norm": None, "warmup": 0.0},
    "batch_size": 30,
}


def rows_of(count: int = 30) -> Batch:
    g = torch.Generator().manual_seed(count)
    lengths = torch.randint(0, 4, (count, 1), generator=g)
    labels = torch.stack([torch.randint(0, n, (count,), generator=g) for n in (12, 2, 6)], 1)
    labels = labels.float()
    labels[::5, 0] = torch.nan
    return encoded(
        SPEC,
        numeric=torch.randn(count, 3, generator=g),
        ids=torch.stack([torch.randint(0, n, (count,), generator=g) for n in (ROWS, 5)], 1),
        lists=(torch.randint(0, ROWS, (int(lengths.sum()),), generator=g),),
        lengths=lengths,
        labels=labels,
    )


def step_of(
    config_of: Callable[..., Config], backend: str = "plain", model: Any = None, **sections: Any
) -> TrainingStep:
    if backend == "torchrec" and _torchrec_obstacle(()):
        pytest.skip("torchrec does not import")
    tasks = {
        "next": {"kind": "retrieval", "table": "video"},
        "click": {"kind": "binary"},
        "brand": {"kind": "retrieval", "dim": 3},
    }
    changed = config_of().model.model_dump() | (model or {})
    training = TRAINING | sections.pop("training", {})
    config = config_of(tasks=tasks, training=training, model=changed, **sections)
    torch.manual_seed(3)
    network = build_network(config, SPEC, backend=backend)
    return build_step(config, network, torch.device("cpu"))


@pytest.mark.parametrize("combiner", [*FEW, *(pytest.param(c, marks=SLOW) for c in OTHERS)])
@pytest.mark.parametrize("backend", ["plain", pytest.param("torchrec", marks=SLOW)])
def test_the_table_learns_once_from_features_and_items(
    config_of: Callable[..., Config], combiner: str, backend: str
) -> None:
    rows, step = rows_of(), step_of(config_of, backend, combiner={"name": combiner})
    network, gradients, embed = step.network, list[list[Tensor]](), step.network.embed

    def watched(batch: Batch) -> tuple[Tensor, ...]:
        embedded = embed(batch)
        gradients.extend([] for _ in embedded)
        for tensor, calls in zip(embedded, gradients, strict=True):
            tensor.register_hook(calls.append)
        return embedded

    network.embed = watched  # type: ignore[method-assign]
    live = network.embeddings.table("video")
    video = live.detach().clone().requires_grad_()
    assert step(rows).updated
    (of_features,), (of_items,) = gradients
    entries, lengths = rows["seen"]
    lists = [video[own] for own in entries.split(lengths.tolist())]
    means = torch.stack([part.sum(0) / max(len(part), 1) for part in lists])
    read = [torch.cat([video[rows["shown"]], means], 1), of_features[:, [*range(4), *range(8, 12)]]]
    (read[0] * read[1]).sum().backward()
    for row, item in enumerate(rows.labels[:, 0].nan_to_num(0).long().tolist()):
        if item:
            (video[item + 1] * of_items[row]).sum().backward()
    assert video.grad is not None
    torch.testing.assert_close(live.detach(), (video - RATE * video.grad).detach())
    assert of_items.abs().sum() > 0


def test_its_loss_is_the_corrected_softmax_over_the_items_of_the_batch(
    config_of: Callable[..., Config],
) -> None:
    rows, step = rows_of(), step_of(config_of)
    network = step.network
    with torch.no_grad():
        embedded = network.embed(rows)
        outputs = network.forward_from(embedded, rows).logits
        items = network.candidates(embedded, rows)
        losses, counts = step.losses(outputs, rows.labels, rows.weights, items)
        table = F.normalize(network.embeddings.table("video"), dim=1)
    queries = outputs["next"]
    index = rows.labels[:, 0].nan_to_num(0).long()
    known = [row for row, item in enumerate(index.tolist()) if item]
    batch = sorted({int(index[row]) for row in known})
    share = {item: (item + 1) / 77 for item in batch}
    slow = []
    for row in known:
        scores = {
            i: float(queries[row] @ table[i + 1]) / 0.07
            - math.log(1 - (1 - share[i]) ** len(known))
            for i in batch
        }
        every = math.log(sum(math.exp(score) for score in scores.values()))
        slow.append(every - scores[int(index[row])])
    assert float(losses[0]) == pytest.approx(sum(slow) / len(slow), rel=1e-5)
    assert counts[0] == len(known)
    torch.testing.assert_close(network.item_vectors("next").detach(), table[1:])


@pytest.mark.parametrize(
    "sections",
    [
        {"adatt": {"mechanism": "loss", "measure": {"rows": 16, "interval": 1}}},
        {"adatt": {"mechanism": "gradient", "measure": {"rows": 16, "interval": 1}}},
        {"model": {"members": 3}, "training": {"precision": "bf16"}},
        {"balancing": {"name": "gradnorm"}},
        {"model": {"architecture": {"name": "stem"}}},
    ],
    ids=["loss", "gradient", "members", "gradnorm", "stem"],
)
def test_it_goes_with_the_rest(config_of: Callable[..., Config], sections: dict[str, Any]) -> None:
    step = step_of(config_of, **sections)
    before = step.network.embeddings.table("video").detach().clone()
    for epoch in range(2):
        step.start_epoch(epoch)
        assert step(rows_of(), epoch).updated
    read = rows_of().labels[:, 0].nan_to_num(0).long().unique()[1:] + 1
    after = step.network.embeddings.table("video").detach()
    assert (after[read] != before[read]).any(1).all()
    queries = step.network.eval()(rows_of()).logits["next"]
    assert step.network.scores("next", queries).shape == (30, ROWS - 1)
