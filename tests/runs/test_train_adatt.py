"""What a training with adaTT leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from recsys_mtl.runs.track import transfer_numbers
from recsys_mtl.runs.train import train
from tests.proof import without_proof

Document = dict[str, Any]
ON = ["adatt.warmup_epochs=1", "adatt.freeze_epoch=2", "training.epochs=3"]


@pytest.fixture
def tracked_run(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Document, str]:
    without_proof(monkeypatch)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    on = [*ON, "adatt.mechanism=loss", "tracking.enabled=true", f"tracking.uri={uri}"]
    return train(toy.config(*on), tmp_path / "run"), uri


@pytest.mark.slow
def test_result_and_tracker_have_the_phases_and_matrices(tracked_run: tuple[Document, str]) -> None:
    result, uri = tracked_run
    epochs = [epoch["adatt"] for epoch in result["training"]["epochs"]]
    assert [epoch["phase"] for epoch in epochs] == ["warmup", "dynamic", "frozen"]
    tasks = len(result["tasks"])
    for name in ("affinity", "weights"):
        (matrix,) = epochs[-1][name]
        assert [len(row) for row in matrix] == [tasks] * tasks
    assert epochs[1]["weights"] != epochs[0]["weights"]
    client = MlflowClient(uri)
    run_id = result["mlflow"]["run_id"]
    metrics = client.get_run(run_id).data.metrics
    assert metrics["adatt/phase"] == 2
    assert metrics["adatt/blend"] == pytest.approx(0.1)
    assert 0 <= metrics["adatt/clamped_share"] <= 1
    assert "plots/affinity.png" in {f.path for f in client.list_artifacts(run_id, "plots")}
    assert client.get_run(run_id).data.params["adatt.mechanism"] == "loss"


def test_without_it_nothing_is_reported(trained: tuple[Any, Document]) -> None:
    _, result = trained
    assert {epoch["adatt"] for epoch in result["training"]["epochs"]} == {None}


@pytest.mark.slow  # trainings
def test_a_saved_model_has_no_heads_of_borrowing(toy: Any, tmp_path: Path) -> None:
    on = [*ON, "adatt.mechanism=borrow", "adatt.measure.name=logit_correlation",
          "adatt.borrow.donors=uniform", "tasks.buy.label_share=0.1"]  # fmt: skip
    off = train(toy.config("training.epochs=3"), tmp_path / "off")
    borrowed = train(toy.config(*on), tmp_path / "on")
    sizes = [
        (tmp_path / run / "model" / "weights.safetensors").stat().st_size for run in ("off", "on")
    ]
    assert sizes[0] == sizes[1]
    assert off["tasks"].keys() == borrowed["tasks"].keys()
    assert borrowed["training"]["epochs"][-1]["adatt"]["borrowed"].keys() == {"buy"}


def numbers_of(**more: Any) -> dict[str, Any]:
    """What a mechanism reports of an epoch."""
    return {
        "phase": "dynamic",
        "blend": 0.5,
        "clamped_share": 0.25,
        "observations": 9,
        "skipped": 1,
        "negative_transfer": {"click": ["buy", "spend"]},
    } | more


def test_the_tracker_gets_who_borrowed_from_whom_and_no_unused_weights() -> None:
    always = {"adatt/phase": 1, "adatt/observations": 9, "adatt/skipped": 1}
    assert transfer_numbers(numbers_of()) == always | {
        "adatt/blend": 0.5,
        "adatt/clamped_share": 0.25,
        "adatt/blocked_pairs": 2,
    }
    borrowed = {"buy": {"click": 0.75, "spend": 0.125}}
    assert transfer_numbers(numbers_of(borrowed=borrowed)) == always | {
        "adatt/receivers": 1,
        "adatt/borrowed/buy": 0.875,
    }
    assert transfer_numbers(numbers_of(borrowed={})) == always | {"adatt/receivers": 0}
