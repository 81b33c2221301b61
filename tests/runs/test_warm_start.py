"""`train --from`: what a run that starts from another one leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_mtl.cli.main import main
from recsys_mtl.config import load_config
from recsys_mtl.lifecycle.card import card
from recsys_mtl.runs.evaluate import evaluate
from recsys_mtl.runs.trained import read_trained
from recsys_mtl.runs.validate import validate
from recsys_mtl.serving.bundle import OPTIMIZER, load_bundle
from recsys_mtl.tracking.bundle_cache import bundle_hash
from tests.toy import Toy, toy_rows


@pytest.mark.slow  # two trainings
def test_a_run_that_starts_from_another(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    config = str(toy.write(toy.document()))
    first, second = toy.folder / "first", toy.folder / "second"
    assert (
        main(["train", config, "--set", "training.keep_optimizer=true", "--out", str(first)]) == 0
    )
    assert (first / "model" / OPTIMIZER).is_file()
    toy_rows(300, seed=5).write_parquet(toy.folder / "today.parquet")
    words = ["--set", "data.path=today.parquet", "--set", "training.warm_start.optimizer=kept"]
    words += ["--set", "training.freeze=[tables]", "--from", str(first)]
    assert (
        main(["train", config, *words, "--baselines", "gradient_boosting", "--out", str(second)])
        == 0
    )
    result = json.loads((second / "result.json").read_text())
    before = json.loads((first / "result.json").read_text())
    start = result["warm_start"]
    assert start["model"] == str(first)
    assert start["bundle_sha256"] == bundle_hash(first / "model")
    assert start["fingerprint"] == before["data"]["fingerprint"]
    assert start["config_hash"] == before["config_hash"]
    assert start["optimizer"] == "kept"
    assert start["tables"]["city"] == {"rows": 5, "taken": 5, "new": 0, "left": 0}
    assert start["weights"] > 20
    assert "single_task" in result["baselines"]
    old, new = load_bundle(first / "model"), load_bundle(second / "model")
    assert [f.to_dict() for f in new.preprocessor.features[:2]] == [
        f.to_dict() for f in old.preprocessor.features[:2]
    ]
    assert new.config.training.recipe == old.config.training.recipe
    (first / "model" / "manifest.json").rename(toy.folder / "elsewhere")
    assert (
        evaluate(second).numbers["tasks"]["click"]["metrics"] == result["tasks"]["click"]["metrics"]
    )
    result["mlflow"]["run_id"] = ""
    page = card(read_trained(str(second), None), new.config, name="toy", model_uri="m").markdown()
    assert "Warm start" in page
    assert start["bundle_sha256"] in page


@pytest.mark.parametrize(
    "source", ["nowhere", pytest.param("models:/nothing@champion", marks=pytest.mark.slow)]
)
def test_a_model_that_is_not_there(
    toy: Toy, source: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{toy.folder}/mlflow.db")
    out = toy.folder / "run"
    assert main(["train", str(toy.folder / "toy.yaml"), "--from", source, "--out", str(out)]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    assert line.startswith("error: training.warm_start.model")
    assert not out.exists()


@pytest.mark.slow
def test_validate_compares_with_the_parent(trained: tuple[Toy, object], tmp_path: Path) -> None:
    toy, _ = trained
    path = tmp_path / "toy.yaml"
    path.write_text((toy.run / "config.yaml").read_text())
    config = load_config(path, [f"training.warm_start.model={toy.run}"])
    assert validate(config)["tasks"]["click"] == "binary"
    assert (
        main(
            [
                "validate",
                str(path),
                "--set",
                f"training.warm_start.model={toy.run}",
                "--set",
                "model.tower.hidden=[9]",
            ]
        )
        == 2
    )
