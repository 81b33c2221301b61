"""What a network reports of its experts for methods that use gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.data.batch import Batch
from recsys_mtl.model.experts import ExpertGroup
from recsys_mtl.model.network import MultiTaskNetwork, NetworkSpec
from tests.encoded import data_spec, encoded

B, SHARED, OWN = 11, 3, 2
DATA = data_spec(
    tables=(TableSpec("city", 9, 4), TableSpec("band", 5, 8)),
    numeric=5,
    tasks=(TaskSpec("ctr", "binary", 1), TaskSpec("stage", "multiclass", 4)),
)
SPEC = NetworkSpec(
    shared_experts=(ExpertGroup(count=SHARED, hidden=(7, 6)),),
    task_experts=(ExpertGroup(count=OWN, hidden=(8, 4)),),
    tower_hidden=(5,),
)
SPECS = {
    "ple": SPEC,
    "mmoe": replace(SPEC, architecture="mmoe"),
    "shared_bottom": replace(SPEC, architecture="shared_bottom"),
    "single_task": replace(SPEC, architecture="single_task"),
}


def network(spec: NetworkSpec) -> MultiTaskNetwork:
    torch.manual_seed(0)
    return MultiTaskNetwork(DATA, spec, backend="plain")


@pytest.fixture
def batch(seed: int) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return encoded(
        DATA,
        numeric=torch.randn(B, 5, generator=g),
        ids=torch.randint(0, 5, (B, 2), generator=g),
        labels=torch.zeros(B, 2),
    )


@pytest.mark.parametrize("name", ["ple", "mmoe", "shared_bottom"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_shared_weights_are_those_of_the_mixture(
    batch: Batch, name: str, precision: torch.dtype
) -> None:
    """∂ mixture / ∂ shared expert, which is what the weights are."""
    made = network(SPECS[name]).eval()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        mixed = made(batch).mixed
    weights = made.shared_weights(mixed)
    assert weights.shape == (2, B, SHARED)
    assert not weights.requires_grad
    for task in range(2):
        (slope,) = torch.autograd.grad(
            mixed.tasks[task, :, 0].sum(), mixed.common, retain_graph=True
        )
        torch.testing.assert_close(weights[task].T.to(slope.dtype), slope[:, :, 0])
        assert not slope[:, :, 1:].any()


def test_widths(batch: Batch) -> None:
    for name, spec in SPECS.items():
        made = network(spec)
        assert made.in_features == 4 + 8 + 5
        own = made(batch).mixed.own
        has_own = name in ("ple", "single_task")
        assert (own is not None) == has_own
        assert made.own_width == (own.shape[1] * own.shape[3] if own is not None else 0)
        assert (made(batch).mixed.common is not None) == (name != "single_task")


def test_tasks_are_separable_with_one_mixture_and_no_transfer() -> None:
    def separable(spec: NetworkSpec) -> bool:
        return network(spec).tasks_are_separable

    assert {name: separable(spec) for name, spec in SPECS.items()} == {
        "ple": True,
        "mmoe": True,
        "shared_bottom": True,
        "single_task": True,
    }
    assert not separable(replace(SPEC, levels=2))
    assert not separable(replace(SPEC, logit_transfer=(("ctr", "stage"),)))


def test_separable_tasks_reach_no_mixture_but_their_own(batch: Batch) -> None:
    for spec, own in ((SPEC, True), (replace(SPEC, logit_transfer=(("ctr", "stage"),)), False)):
        outputs = network(spec)(batch)
        loss = outputs.logits["stage"].square().sum()
        (slope,) = torch.autograd.grad(loss, outputs.mixed.tasks)
        assert slope[1].any()
        assert bool(slope[0].any()) != own
