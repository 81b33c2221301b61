from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.losses import Candidates, ItemLoss, TaskLoss, TaskLosses
from recsys_mtl.losses.candidates import FULL_SOFTMAX_ITEMS
from recsys_mtl.tasks import kind_of

NAN = math.nan
ITEMS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))


def loss_of(kind: str, name: str = "", **settings: float) -> TaskLoss:
    """The loss of a task with that section."""
    chosen = {"loss": {"name": name, **settings}} if name else settings
    return kind_of(kind).loss(TaskConfig.members[kind].model_validate({"kind": kind, **chosen}))


NAMES = [
    ("binary", "bce"),
    ("binary", "focal"),
    ("multiclass", ""),
    ("regression", "mse"),
    ("regression", "huber"),
    ("retrieval", ""),
]
EVERY = [loss_of(*names) for names in NAMES]


def example(loss: TaskLoss, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    width = 1 if loss.elementwise else 4
    logits = torch.randn(rows, width, generator=generator, requires_grad=True)
    labels = torch.randint(0, 2, (rows,), generator=generator).float()
    labels += isinstance(loss, ItemLoss)  # items count from 1
    weights = torch.rand(rows, generator=generator) + 0.1
    return logits, labels, weights


def items_of(loss: TaskLoss, labels: torch.Tensor) -> Candidates | None:
    return competing(labels) if isinstance(loss, ItemLoss) else None


def competing(labels: torch.Tensor, table: torch.Tensor = ITEMS) -> Candidates:
    return Candidates.of(labels.nan_to_num(0).long(), table)


def test_class_weights_are_in_the_order_of_the_classes() -> None:
    loss = loss_of("multiclass", classes=["b", "a", "c"], class_weights={"c": 3.0, "b": 0.5})
    assert loss.settings == (("class_weights", (0.5, 1.0, 3.0)),)
    with pytest.raises(ValueError, match="names 'd', which is not one of classes"):
        loss_of("multiclass", classes=["b", "a"], class_weights={"d": 3.0})


@pytest.mark.parametrize("members", [1, 2])
def test_thinned_negatives_shift_the_logits_and_lose_their_weight(members: int) -> None:
    keep, labels = 0.25, torch.tensor([1.0, 0.0, NAN, 0.0, 1.0])
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5 * members, 1, generator=generator)
    own = torch.tensor([1.0, 0.5, 2.0, 3.0, 1.5])
    stands_for = torch.where(labels == 0, own / keep, own)
    value, count = replace(loss_of("binary"), keep=keep)(logits, labels, stands_for)
    chance = torch.sigmoid(logits.double()[:, 0])
    sampled = chance / (chance + keep * (1 - chance))  # of 1, among the rows that are kept
    rows = [b for b in range(5) if b != 2]
    total = 0.0
    for member in range(members):
        for b in rows:
            p = sampled[5 * member + b]
            total -= float(own[b] * torch.log(p if labels[b] == 1 else 1 - p))
    assert value.item() == pytest.approx(total / (members * float(own[rows].sum())), rel=1e-5)
    assert int(count) == 4


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.rows.__name__)
def test_unlabelled_rows_count_for_nothing(loss: TaskLoss) -> None:
    logits, labels, weights = example(loss, 7)
    labels[[1, 4]] = NAN
    with torch.no_grad():
        logits[1], logits[4, 0] = math.inf, NAN
    value, count = loss(logits, labels, weights, items_of(loss, labels))
    (gradient,) = torch.autograd.grad(value, logits)

    kept = [0, 2, 3, 5, 6]
    alone = logits.detach()[kept].requires_grad_()
    expected, _ = loss(alone, labels[kept], weights[kept], items_of(loss, labels[kept]))
    (expected_gradient,) = torch.autograd.grad(expected, alone)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient[kept], expected_gradient)
    assert (gradient[[1, 4]] == 0).all()
    assert count == 5


def test_there_is_nothing_to_learn_of_the_unknown_item() -> None:
    loss = loss_of("retrieval")
    logits, labels, weights = example(loss, 6)
    labels[2] = 0
    value, count = loss(logits, labels, weights, competing(labels))
    (gradient,) = torch.autograd.grad(value, logits)
    assert count == 5
    assert (gradient[2] == 0).all()
    assert (gradient[0] != 0).any()


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.rows.__name__)
@pytest.mark.parametrize("why", ["no label", "no weight", "no rows"])
def test_nothing_labelled_is_zero_with_a_graph(loss: TaskLoss, why: str) -> None:
    logits, labels, weights = example(loss, 0 if why == "no rows" else 3)
    labels = torch.full_like(labels, NAN) if why == "no label" else labels
    weights = torch.zeros_like(weights) if why == "no weight" else weights
    value, count = loss(logits, labels, weights, items_of(loss, labels))
    value.backward()
    assert value.item() == 0.0
    assert count.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.rows.__name__)
def test_batch_of_one(loss: TaskLoss) -> None:
    logits, labels, weights = example(loss, 1)
    value, count = loss(logits, labels, weights, items_of(loss, labels))
    assert value.shape == ()
    assert count.item() == 1
    doubled, _ = loss(logits, labels, 2 * weights, items_of(loss, labels))
    torch.testing.assert_close(value, doubled)


def test_mean_is_weighted() -> None:
    logits = torch.tensor([[1.0], [2.0], [4.0], [9.0]])
    labels, weights = torch.tensor([0.0, 0, 0, NAN]), torch.tensor([1.0, 3, 0, 5])
    value, count = loss_of("regression")(logits, labels, weights)
    assert value.item() == pytest.approx((1 * 1 + 3 * 4) / 4)
    assert count.item() == 2  # neither the unlabelled row nor the one of no weight


def test_unlabelled_row_is_no_negative_of_retrieval() -> None:
    items = F.normalize(torch.randn(FULL_SOFTMAX_ITEMS + 1, 4), dim=1)
    query, weights = items[[5, 9, 0]], torch.ones(3)
    labels = torch.tensor([5.0, 9, NAN])
    value, _ = loss_of("retrieval")(query, labels, weights, competing(labels, items))
    few, candidates = labels[:2], competing(labels[:2], items)
    expected, _ = loss_of("retrieval")(query[:2], few, weights[:2], candidates)
    torch.testing.assert_close(value, expected)


def test_settings_reach_the_losses() -> None:
    logits, labels, weights = example(loss_of("binary"), 6)
    tasks = [
        loss_of("binary", "focal", gamma=1.0),
        loss_of("binary", "focal", gamma=3.0),
        loss_of("binary", "focal", gamma=1.0, alpha=0.6),
        loss_of("regression", "huber", delta=0.1),
        loss_of("regression", "huber", delta=0.2),
    ]
    values = [task(logits, labels, weights)[0].item() for task in tasks]
    assert len(set(values)) == len(values)


def test_retrieval_without_items_is_an_error() -> None:
    with pytest.raises(ValueError, match="items is None"):
        loss_of("retrieval")(torch.ones(2, 4), torch.ones(2), torch.ones(2))


def test_all_tasks_equal_one_by_one() -> None:
    tasks = {
        "click": loss_of("binary"),
        "income": loss_of("multiclass"),
        "buy": loss_of("binary", "focal"),
        "cart": loss_of("binary"),
        "item": loss_of("retrieval"),
        "next": loss_of("retrieval"),
        "spend": loss_of("regression", "huber"),
        "visit": loss_of("binary"),
    }
    generator = torch.Generator().manual_seed(1)
    logits, columns = {}, []
    for name, loss in tasks.items():
        logits[name], labels, _ = example(loss, 13)
        columns.append(labels.masked_fill(torch.rand(13, generator=generator) < 0.3, NAN))
    columns[3][:] = NAN
    weights = torch.rand(13, generator=generator)
    items = {"item": competing(columns[4]), "next": competing(columns[5], ITEMS.flip(0))}
    losses, counts = TaskLosses(tasks)(logits, torch.stack(columns, 1), weights, items)
    leaves = list(logits.values())
    gradients = torch.autograd.grad(losses.sum(), leaves)

    assert losses.shape == counts.shape == (8,)
    assert losses.dtype == torch.float32
    for t, (name, loss) in enumerate(tasks.items()):
        value, count = loss(logits[name], columns[t], weights, items.get(name))
        (gradient,) = torch.autograd.grad(value, logits[name])
        torch.testing.assert_close(losses[t], value)
        assert counts[t] == count
        torch.testing.assert_close(gradients[t], gradient)


def test_the_mass_is_that_of_the_rows_that_losses_are_means_over() -> None:
    kinds = dict.fromkeys(kind for kind, _ in NAMES)
    tasks = TaskLosses({kind: loss_of(kind) for kind in kinds})
    labels = torch.tensor([[0.0], [1.0], [NAN]]).expand(3, len(kinds))
    weights = torch.tensor([1.0, 2.0, 4.0])
    masses = dict(zip(tasks.names, tasks.masses(labels, weights).tolist(), strict=True))
    assert masses.pop("retrieval") == 2  # 0 is an item that is not in the table
    assert set(masses.values()) == {3.0}
