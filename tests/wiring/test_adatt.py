from __future__ import annotations

from typing import Any

import pytest
import torch

from recsys_mtl.adatt import AveragedGradient, GradientCosine, group_prior
from recsys_mtl.columns.spec import TableSpec, TaskSpec
from recsys_mtl.config.schema import Config
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.training.transfer import Borrow, GradientTransfer, LossTransfer
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.encoded import data_spec

SPEC = data_spec(
    tables=(TableSpec("city", 5, 4),),
    numeric=3,
    tasks=(
        TaskSpec("click", "binary", 1),
        TaskSpec("stage", "multiclass", 3),
        TaskSpec("spend", "regression", 1),
    ),
)
TASKS = {
    "click": {"kind": "binary"},
    "stage": {"kind": "multiclass", "classes": ["a", "b", "c"]},
    "spend": {"kind": "regression"},
}
CLASSES = {"loss": LossTransfer, "gradient": GradientTransfer, "borrow": Borrow}


def built(**adatt: Any) -> TrainingStep:
    config = Config.model_validate(
        {
            "name": "test",
            "data": {"path": "unused.parquet"},
            "features": {"x": {"kind": "numeric"}},
            "tasks": TASKS,
            "model": {"embedding": {"backend": "plain"}},
            "adatt": adatt,
        }
    )
    return build_step(config, build_network(config, SPEC), torch.device("cpu"))


def decays(step: TrainingStep) -> dict[int, float]:
    return {
        id(p): group["weight_decay"]
        for group in step.optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("mechanism", CLASSES)
def test_every_parameter_of_it_is_learned_without_decay(mechanism: str) -> None:
    step, actual = built(mechanism=mechanism), {}
    assert type(step.transfer) is CLASSES[mechanism]
    actual = {name: decays(step)[id(p)] for name, p in step.transfer.named_parameters()}
    heads = ["head", "head_bias"] if mechanism == "borrow" else []
    assert actual == dict.fromkeys([*heads, "adatt.W"], 0.0)
    assert max(decays(step).values()) > 0


def test_off_adds_nothing_to_the_optimizer() -> None:
    off, on = built(), built(mechanism="loss")
    assert off.transfer is None
    assert len(decays(on)) == len(decays(off)) + 1


def test_w_is_learned_in_mechanism_loss_where_it_may_be() -> None:
    def learned(**adatt: Any) -> bool:
        transfer = built(**adatt).transfer
        assert transfer is not None
        return transfer.adatt.W.requires_grad

    assert learned(mechanism="loss")
    assert not learned(mechanism="loss", learn_weights=False)
    assert not learned(mechanism="gradient")
    assert not learned(mechanism="borrow")


def test_every_setting_arrives() -> None:
    """Of their own five bugs one was a section that was never read."""
    transfer = built(
        mechanism="loss",
        warmup_epochs=2,
        freeze_epoch=5,
        measure={"scope": "expert", "interval": 3, "rows": 7, "decay": 0.8, "debias": True},
        prior={
            "groups": {"a": {"tasks": ["click", "spend"], "strength": 0.8}},
            "between": 0.2,
            "start": 0.6,
            "end": 0.05,
        },
        threshold=-0.3,
        temperature=2.0,
        masking="zero_logit",
        strength=0.4,
        max_ratio=None,
    ).transfer
    assert transfer is not None
    adatt = transfer.adatt
    assert adatt.tasks == ("click", "stage", "spend")
    assert (adatt.schedule.warmup_epochs, adatt.schedule.freeze_epoch) == (2, 5)
    settings = adatt.settings
    assert (settings.strength, settings.max_ratio, settings.interval) == (0.4, None, 3)
    assert (settings.blend_start, settings.blend_end) == (0.6, 0.05)
    selection = settings.selection
    assert (selection.threshold, selection.temperature) == (-0.3, 2.0)
    assert selection.masking == "zero_logit"
    measure = adatt.measure
    assert isinstance(measure, GradientCosine)
    assert (measure.scope, measure.latest.shape) == ("expert", (2, 3, 3))
    assert (measure.average.decay, measure.average.debias) == (0.8, True)
    want = group_prior(adatt.tasks, {"a": (["click", "spend"], 0.8)}, inter_strength=0.2)
    assert torch.equal(adatt.prior, want)
    assert transfer._probe.rows == 7


def test_shapes_are_those_of_the_network() -> None:
    transfer = built(mechanism="borrow", measure={"name": "averaged_gradient"}).transfer
    assert isinstance(transfer, Borrow)
    assert isinstance(transfer.adatt.measure, AveragedGradient)
    assert transfer.adatt.measure.inputs == 4 + 3
    assert transfer.adatt.measure.widths == [1, 3, 1]
    assert transfer.head.shape == (3, 64, 5)
