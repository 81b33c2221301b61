from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from recsys_mtl.cli.main import main
from recsys_mtl.serving.bundle import load_bundle, save_bundle
from recsys_mtl.tracking.bundle_cache import bundle_hash
from recsys_mtl.tracking.registry import Registry

pytestmark = pytest.mark.slow  # a store of MLflow takes seconds to make

NUMBERS = count()
LENIENT = ["--set", "mean=-1", "--set", "worst=1", "--set", "calibration=1"]
FEW = ["--set", "resamples=100", "--set", "min_rows=20"]


class Store:
    """A SQLite store; registers bundles as a training's logged models would be."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.folder, self.client = folder, MlflowClient(self.uri)
        artifacts = (folder / "mlartifacts").as_uri()
        self.experiment = self.client.create_experiment("e", artifact_location=artifacts)
        self.registry = Registry(self.uri)

    def register(self, name: str, bundle: Path) -> int:
        run = self.client.create_run(self.experiment).info.run_id
        made = self.client.create_logged_model(self.experiment, "toy", run)
        logged = self.folder / f"logged-{next(NUMBERS)}"
        shutil.copytree(bundle, logged / "artifacts" / "model")
        self.client.log_model_artifacts(made.model_id, str(logged))
        tags = {"bundle_sha256": bundle_hash(bundle)}
        return self.registry.create(
            name, model_uri=made.model_uri, run_id=run, tags=tags, description=""
        ).number

    def stored(self, name: str, number: int) -> Path:
        """Where the store keeps a version's bundle."""
        version = self.registry.resolve(f"{name}/{number}", where="")
        model = self.client.get_logged_model(version.source.removeprefix("models:/"))
        return Path(model.artifact_location.removeprefix("file://")) / "artifacts" / "model"

    def aliases(self, name: str) -> dict[str, int]:
        versions = self.registry.versions(name)
        return {alias: version.number for version in versions for alias in version.aliases}

    def state(self, name: str) -> Any:
        """All that the registry and the runs' artifacts hold of a model."""
        versions = self.registry.versions(name)
        files = {str(path) for path in (self.folder / "mlartifacts").rglob("*") if path.is_file()}
        return versions, self.registry.model_tags(name), files


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def shop(
    store: Store, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs `promote` or `rollback` of a model with two versions, the first knowing nothing."""
    toy, _ = trained
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(tmp_path / "cache"))
    name = f"shop {next(NUMBERS)}"
    model = load_bundle(toy.run / "model")
    with torch.no_grad():
        blind = {key: value * 0.01 for key, value in model.network.state_dict().items()}
    parts = model.config, model.preprocessor, blind
    save_bundle(tmp_path / "blind", *parts, fingerprint=model.fingerprint)
    assert [store.register(name, b) for b in (tmp_path / "blind", toy.run / "model")] == [1, 2]

    def run(job: str, *arguments: str) -> int:
        return main([job, name, *arguments])

    run.name = name  # type: ignore[attr-defined]
    return run


def test_the_first_champion_and_the_next(
    store: Store, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop("promote", "--challenger", "1") == 0
    assert store.aliases(shop.name) == {"champion": 1}
    out = tmp_path / "out"
    requested = ["--challenger", "2", "--out", str(out), *FEW]
    assert shop("promote", *requested, *LENIENT) == 0
    assert store.aliases(shop.name) == {"champion": 2, "previous": 1}
    printed = capsys.readouterr().out
    assert f"promoted: version 2 of {shop.name} is the champion" in printed
    newest, oldest = store.registry.versions(shop.name)
    assert newest.tags["decision"] == "promoted"
    assert newest.tags["decision_against"] == "1"
    assert oldest.tags["decision_reason"] == "first champion"
    assert oldest.tags["decision_against"] == "none"
    result = json.loads((out / "result.json").read_text())
    assert (result["job"], result["decision"]["passed"]) == ("promote", True)
    assert result["evidence"]["tasks"]["click"]["rows"] == result["rows"]["count"] == 123
    assert {path.name for path in out.iterdir()} == {"result.json", "report.html", "report.md"}
    kept = store.folder / "mlartifacts" / newest.run_id / "artifacts/registry" / shop.name / "2"
    (report,) = (kept / "promotion").iterdir()
    assert {path.name for path in report.iterdir()} == {"report.html", "report.md", "report.json"}
    assert (report / "report.md").read_text() == (out / "report.md").read_text()
    assert json.loads((report / "report.json").read_text()) == result
    assert store.registry.model_tags(shop.name) == {}


def test_a_rejection_is_exit_code_3(
    store: Store, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop("promote", "--challenger", "1")
    gate = tmp_path / "gate.yaml"
    gate.write_text("mean: 0.9\nworst: 1.0\ncalibration: 1.0\n")
    assert shop("promote", "--challenger", "2", "--gate", str(gate), *FEW) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"rejected: version 2 of {shop.name}: mean gain ")
    assert last.endswith("is not surely above 0.9")
    assert store.aliases(shop.name) == {"champion": 1}
    tags = store.registry.resolve(f"{shop.name}/2", where="").tags
    assert tags["decision"] == "rejected"
    assert tags["decision_reason"] in last


@pytest.mark.slow
@pytest.mark.parametrize(("rules", "code"), [(LENIENT, 0), (["--set", "mean=0.9"], 3)])
def test_a_dry_run_changes_nothing(store: Store, shop: Any, rules: list[str], code: int) -> None:
    shop("promote", "--challenger", "1")
    before = store.state(shop.name)
    assert shop("promote", "--challenger", "2", "--dry-run", *FEW, *rules) == code
    assert store.state(shop.name) == before


@pytest.mark.slow
def test_rows_of_choice_and_an_alias(store: Store, shop: Any, trained: Any, tmp_path: Path) -> None:
    toy, _ = trained
    shop("promote", "--challenger", "1")
    store.registry.set_alias(shop.name, "tried", 2)
    toy.rows().head(90).write_parquet(tmp_path / "rows.parquet")
    requested = ["--challenger", "@tried", "--input", "rows.parquet", "--data", str(tmp_path)]
    assert shop("promote", *requested, "--out", str(tmp_path / "out"), *FEW, *LENIENT) == 0
    rows = json.loads((tmp_path / "out/result.json").read_text())["rows"]
    assert (rows["count"], rows["told"]) == (90, "all rows of rows.parquet")
    assert store.aliases(shop.name) == {"champion": 2, "previous": 1, "tried": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--challenger", "1"], "version 1 is the champion already"),
        (["--challenger", "champion"], "version 1 is the champion already"),
        (["--challenger", "9"], "has no version 9; expected one of: 1, 2, @champion"),
        (["--challenger", "best"], "has no alias 'best'"),
        (["--challenger", "a b"], "not a registered model"),
        (["--challenger", "2", "--set", "wurst=1"], "wurst: unknown key"),
        (["--challenger", "2", "--set", "tasks.clik.worst=1"], "tasks.clik: the champion has no"),
        (["--challenger", "2", "--gate", "none.yaml"], "none.yaml: no such config file"),
        (["--challenger", "2", "--input", "none.parquet"], "champion, version 1: "),
        (["--challenger", "2", "--tracking-uri", "sqlite:///none.db"], "no such MLflow database"),
    ],
)
def test_wrong_use_is_one_line_and_changes_nothing(
    store: Store, shop: Any, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop("promote", "--challenger", "1")
    before = store.state(shop.name)
    capsys.readouterr()
    assert shop("promote", *arguments, *FEW) == 2
    lines = [ln for ln in capsys.readouterr().err.splitlines() if ln.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert store.state(shop.name) == before


@pytest.mark.slow
def test_a_lock_that_somebody_holds(
    store: Store, shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    store.registry.set_model_tags(shop.name, {"promotion_lock": "somebody"})
    before = store.state(shop.name)
    assert shop("promote", "--challenger", "1") == 2
    assert "held by 'somebody'" in capsys.readouterr().err
    assert store.state(shop.name) == before
    assert shop("promote", "--challenger", "1", "--break-lock") == 0
    assert store.aliases(shop.name) == {"champion": 1}


@pytest.mark.slow
def test_a_model_that_was_exchanged_is_refused(
    store: Store, shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (store.stored(shop.name, 2) / "weights.safetensors").write_bytes(b"other")
    assert shop("promote", "--challenger", "2") == 2
    assert "challenger, version 2: " in capsys.readouterr().err
    assert store.aliases(shop.name) == {}


def test_an_unknown_name(store: Store, shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "shopp", "--challenger", "1"]) == 2
    assert "no registered model 'shopp'" in capsys.readouterr().err


def test_back_and_forth(
    store: Store, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop("promote", "--challenger", "1")
    before = store.state(shop.name)
    assert shop("rollback") == 2
    assert "no previous champion to go back to" in capsys.readouterr().err
    assert store.state(shop.name) == before
    shop("promote", "--challenger", "2", *FEW, *LENIENT)
    assert shop("rollback", "--out", str(tmp_path / "out")) == 0
    assert store.aliases(shop.name) == {"champion": 1, "previous": 2}
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert (result["champion"], result["previous"]) == (1, 2)
    decisions = [version.tags["decision"] for version in store.registry.versions(shop.name)]
    assert decisions == ["rolled back", "promoted"]
    assert shop("rollback") == 0
    assert store.aliases(shop.name) == {"champion": 2, "previous": 1}


@pytest.mark.slow
def test_no_way_back_to_a_model_that_was_exchanged(
    store: Store, shop: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop("promote", "--challenger", "1")
    shop("promote", "--challenger", "2", *FEW, *LENIENT)
    (store.stored(shop.name, 1) / "manifest.json").write_text("{}")
    shutil.rmtree(tmp_path / "cache")
    before = store.state(shop.name)
    assert shop("rollback") == 2
    assert "previous champion, version 1: " in capsys.readouterr().err
    assert store.state(shop.name) == before
