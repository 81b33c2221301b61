"""What a training with a task behind another leaves behind, alone and with what else changes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_mtl.runs.evaluate import evaluate
from recsys_mtl.runs.one_task import one_task
from recsys_mtl.runs.train import train
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.export import save_export
from recsys_mtl.wiring.trainer import fit_network

THROUGH = ("tasks.buy.only_where=null", "tasks.buy.through=click")
DR = "tasks.buy.counterfactual={name: dr, weight: 0.5, clip: 0.05}"
COMBINATIONS = {
    "alone": (),
    "clicked rows": ("tasks.buy.entire_space=false",),
    "members": ("model.members=2", DR),
    "combiner, bf16": (
        "combiner.name=cagt",
        "combiner.block=expert",
        "training.precision=bf16",
        "tasks.buy.counterfactual=ips",
    ),
    "adaTT": ("adatt.mechanism=loss", "adatt.warmup_epochs=1", DR),
    "adaTT of gradients": ("adatt.mechanism=gradient", "adatt.warmup_epochs=1"),
    "borrow": (
        "adatt.mechanism=borrow",
        "adatt.warmup_epochs=1",
        "adatt.borrow.donors=uniform",
        "tasks.spend.label_share=0.1",
        "training.epochs=2",
    ),
    "gradnorm": ("balancing.name=gradnorm", DR),
    "famo, logit transfer": (
        "balancing.name=famo",
        "model.logit_transfer=[{source: click, target: buy}]",
    ),
    "fused tables": ("model.embedding.backend=torchrec",),
}


@pytest.mark.slow  # trainings
@pytest.mark.parametrize("name", COMBINATIONS)
def test_predictions_are_of_both_events_and_of_the_second_given_the_first(
    shared_toy: Any, tmp_path: Path, name: str
) -> None:
    config = shared_toy.config(*THROUGH, *COMBINATIONS[name])
    result = train(config, tmp_path / "run")
    if name == "borrow":
        assert result["training"]["epochs"][1]["adatt"]["borrowed"].keys() == {"spend"}
    task = result["tasks"]["buy"]
    assert task["labelled"] == result["tasks"]["click"]["labelled"]
    assert task["conditional"]["given"] == "click"
    assert 0 < task["conditional"]["labelled"] < task["labelled"]
    assert task["conditional"]["metrics"]["auc"]["value"] is not None
    predicted = load_bundle(tmp_path / "run" / "model").predict(shared_toy.rows())
    product = predicted["click"] * predicted["buy_given_click"]
    np.testing.assert_allclose(product, predicted["buy"], rtol=1e-5)
    measured = evaluate(tmp_path / "run").numbers["tasks"]
    assert measured["buy"] == task
    if name == "alone":
        exported = save_export(tmp_path / "run" / "model", tmp_path / "exported")
        assert exported["checked"]["largest_difference"] < 1e-6


@pytest.mark.slow  # mlflow, baselines, and the model loaded in a process of its own
def test_baselines_and_the_logged_model(toy: Any, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking = ("tracking.enabled=true", f"tracking.uri={uri}")
    shown: list[Any] = []
    config = toy.config(*THROUGH, *tracking)
    result = train(config, toy.run, baselines=("gradient_boosting",), show=shown.append)
    assert result["mlflow"]["largest_difference"] < 1e-6
    for by_task in result["baselines"].values():
        assert by_task["buy"]["auc"]["value"] is not None
    assert list(shown[0].columns["model"])[:3] == ["click", "buy", "buy given click"]
    shown[0].show()


def test_alone_a_task_learns_both_events_and_starts_at_their_rate(shared_toy: Any) -> None:
    from recsys_mtl.data.prepare import prepare

    config = shared_toy.config(*THROUGH, "training.epochs=1", DR)
    prepared = prepare(config)
    single, narrowed = one_task(config, prepared, "buy")
    click, buy = (task.prior[0] for task in prepared.preprocessor.spec.tasks[:2])
    (spec,) = narrowed.preprocessor.spec.tasks
    assert (spec.through, spec.prior) == (None, (pytest.approx(click * buy),))
    batches = list(prepared.loaders["train"].epoch(0))
    weights = np.concatenate([batch.weights for batch in batches])
    joint = np.concatenate([batch.labels[:, 1] for batch in batches])
    assert spec.prior[0] == pytest.approx(np.average(joint, weights=weights), rel=1e-5)
    fitted = fit_network(single, narrowed)
    assert not fitted.network.funnel.imputation
