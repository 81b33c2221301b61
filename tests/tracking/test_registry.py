from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from recsys_mtl.errors import UserError
from recsys_mtl.tracking.bundle_cache import prune
from recsys_mtl.tracking.registry import CHAMPION, Registry, Version

pytestmark = pytest.mark.slow  # a store of MLflow takes seconds to make

NUMBERS = count()


class Store:
    """A SQLite store with one run; logs models that hold a bundle and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.folder = folder
        self.client = MlflowClient(self.uri)
        artifacts = (folder / "mlartifacts").as_uri()
        self.experiment = self.client.create_experiment("e", artifact_location=artifacts)
        self.run = self.client.create_run(self.experiment).info.run_id

    def log(self, weights: str = "some") -> tuple[str, str]:
        """URI of a new logged model, and the hash of its bundle's manifest."""
        bundle = self.folder / f"bundle{next(NUMBERS)}" / "toy"
        bundle.mkdir(parents=True)
        (bundle / "weights").write_text(weights)
        text = json.dumps({"files": {"weights": hashlib.sha256(weights.encode()).hexdigest()}})
        (bundle / "manifest.json").write_text(text)
        model = self.client.create_logged_model(self.experiment, "toy", self.run)
        (bundle.parent / "artifacts").mkdir()
        bundle.rename(bundle.parent / "artifacts" / "toy")
        self.client.log_model_artifacts(model.model_id, str(bundle.parent))
        return model.model_uri, hashlib.sha256(text.encode()).hexdigest()

    def stored(self, version: Version) -> Path:
        """Where the store keeps the version's bundle."""
        model = self.client.get_logged_model(version.source.removeprefix("models:/"))
        return Path(model.artifact_location.removeprefix("file://")) / "artifacts" / "toy"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def registry(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(tmp_path / "cache"))
    before = os.environ.get("MLFLOW_TRACKING_URI"), mlflow.get_tracking_uri()
    yield Registry(store.uri)
    assert (os.environ.get("MLFLOW_TRACKING_URI"), mlflow.get_tracking_uri()) == before


@pytest.fixture
def name() -> str:
    return f"model {next(NUMBERS)}"


def register(store: Store, registry: Registry, name: str, weights: str = "some") -> Version:
    uri, pin = store.log(weights)
    tags = {"bundle_sha256": pin, "metric/visit/auc": "0.7"}
    return registry.create(name, model_uri=uri, run_id=store.run, tags=tags, description="a card")


def test_a_version_has_its_origin(store: Store, registry: Registry, name: str) -> None:
    uri, _ = store.log()
    made = registry.create(
        name, model_uri=uri, run_id=store.run, tags={"a": "b" * 6000}, description="x" * 5001
    )
    assert (made.name, made.number, made.run_id, made.source) == (name, 1, store.run, uri)
    (version,) = registry.versions(name)
    assert version == made
    assert len(version.tags["a"]) == 5000
    entry = store.client.get_model_version(name, "1")
    assert len(entry.description) == 5000
    model = store.client.get_logged_model(uri.removeprefix("models:/"))
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": name, "version": 1}]
    assert registry.names().count(name) == 1
    assert version in registry.all_versions()


def test_versions_come_newest_first(store: Store, registry: Registry, name: str) -> None:
    for _ in range(3):
        register(store, registry, name)
    assert [version.number for version in registry.versions(name)] == [3, 2, 1]


def test_a_logged_model_is_registered_once(store: Store, registry: Registry, name: str) -> None:
    version = register(store, registry, name)
    with pytest.raises(UserError, match="registered already, as version 1"):
        registry.create(name, model_uri=version.source, run_id=store.run, tags={}, description="")
    other = f"{name} too"
    made = registry.create(
        other, model_uri=version.source, run_id=store.run, tags={}, description=""
    )
    assert (made.name, made.number) == (other, 1)
    assert len(registry.versions(name)) == 1


def test_the_later_of_two_at_once_goes_back(
    store: Store, registry: Registry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(store, registry, name)
    really = registry.require_new

    def blind_at_first(name: str, model_uri: str, before: int | None = None) -> None:
        if before is not None:
            really(name, model_uri, before)

    monkeypatch.setattr(registry, "require_new", blind_at_first)
    with pytest.raises(UserError, match="as version 1"):
        registry.create(name, model_uri=version.source, run_id=store.run, tags={}, description="")
    assert [v.number for v in registry.versions(name)] == [1]


def create_elsewhere(uri: str, name: str, model_uri: str, run_id: str) -> int:
    registry = Registry(uri)
    return registry.create(name, model_uri=model_uri, run_id=run_id, tags={}, description="").number


@pytest.mark.slow  # processes of their own
def test_two_registrations_at_once(store: Store, name: str) -> None:
    uris = [store.log()[0] for _ in range(2)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        made = [pool.submit(create_elsewhere, store.uri, name, uri, store.run) for uri in uris]
        assert sorted(future.result() for future in made) == [1, 2]


@pytest.mark.parametrize(
    "name", ["", "a/b", "a:b", "..", " a", "-a", "a\nb", "x" * 201, "a'b", "models:/a"]
)
def test_names_that_are_not_allowed(store: Store, registry: Registry, name: str) -> None:
    before = registry.names()
    with pytest.raises(UserError, match="not a name"):
        registry.create(name, model_uri="models:/m-1", run_id=store.run, tags={}, description="")
    assert registry.names() == before


@pytest.mark.parametrize("form", ["models:/{}/2", "{}/2", "models:/{}@champion", "{}@champion"])
def test_names_of_versions(store: Store, registry: Registry, name: str, form: str) -> None:
    for _ in range(3):
        register(store, registry, name)
    registry.set_alias(name, CHAMPION, 2)
    version = registry.resolve(form.format(name), where="--model")
    assert (version.number, version.aliases) == (2, ("champion",))
    assert str(version) == f"models:/{name}/2"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("{}", "expected models:/NAME/3"),
        ("{}/4", "no version 4; expected one of: 1, @champion"),
        ("{}@previous", "no alias 'previous'; expected one of: 1, @champion"),
        ("{}x/1", "did you mean '{}'"),
        ("models:/m-1", "not a registered model"),
        ("{}/1/2", "not a registered model"),
    ],
)
def test_what_is_not_there(
    store: Store, registry: Registry, name: str, form: str, message: str
) -> None:
    name = name.replace(" ", "_of_a_kind_")
    register(store, registry, name)
    registry.set_alias(name, CHAMPION, 1)
    with pytest.raises(UserError) as caught:
        registry.resolve(form.format(name), where="--model")
    assert message.format(name) in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_an_alias_moves(store: Store, registry: Registry, name: str) -> None:
    for _ in range(2):
        register(store, registry, name)
    assert registry.alias(name, CHAMPION) is None
    registry.set_alias(name, CHAMPION, 1)
    registry.set_alias(name, CHAMPION, 2)
    version = registry.alias(name, CHAMPION)
    assert version is not None
    assert version.number == 2
    assert registry.versions(name)[1].aliases == ()
    registry.delete_alias(name, CHAMPION)
    registry.delete_alias(name, CHAMPION)
    assert registry.alias(name, CHAMPION) is None
    with pytest.raises(UserError, match="cannot set the alias"):
        registry.set_alias(name, CHAMPION, 7)


def test_tags_are_added(store: Store, registry: Registry, name: str) -> None:
    register(store, registry, name)
    registry.set_tags(name, 1, {"decision": "rejected"})
    registry.set_tags(name, 1, {"decision": "promoted", "decision_by": "me@here"})
    tags = registry.versions(name)[0].tags
    assert (tags["decision"], tags["decision_by"]) == ("promoted", "me@here")
    assert tags["metric/visit/auc"] == "0.7"
    registry.set_model_tags(name, {"owner": "us"})
    assert registry.model_tags(name) == {"owner": "us"}


def test_a_text_goes_to_the_run(store: Store, registry: Registry, name: str) -> None:
    version = register(store, registry, name)
    registry.log_text(version, "decision.md", "promoted")
    path = f"registry/{name}/1/decision.md"
    assert Path(store.client.download_artifacts(store.run, path)).read_text() == "promoted"
    with pytest.raises(UserError, match="no run"):
        registry.log_text(replace(version, run_id=None), "decision.md", "")


def test_a_bundle_is_fetched_once(store: Store, registry: Registry, name: str) -> None:
    version = register(store, registry, name, f"weights of {name}")
    folder = registry.download(version)
    assert (folder / "weights").read_text() == f"weights of {name}"
    shutil.rmtree(store.stored(version))
    assert registry.download(version) == folder
    assert [path.name for path in folder.parent.iterdir()] == [version.tags["bundle_sha256"]]


def test_a_damaged_cache_is_fetched_again(
    store: Store, registry: Registry, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    version = register(store, registry, name)
    folder = registry.download(version)
    (folder / "weights").write_text("others")
    assert registry.download(version) == folder
    assert (folder / "weights").read_text() == "some"
    assert "fetched again" in caplog.text


def test_a_bundle_goes_where_it_is_wanted(
    store: Store, registry: Registry, name: str, tmp_path: Path
) -> None:
    version = register(store, registry, name)
    assert registry.download(version, tmp_path / "here") == tmp_path / "here"
    assert {p.name for p in (tmp_path / "here").iterdir()} == {"weights", "manifest.json"}
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("manifest_too", [False, True])
def test_an_exchanged_bundle_is_refused(
    store: Store, registry: Registry, name: str, manifest_too: bool, tmp_path: Path
) -> None:
    version = register(store, registry, name)
    stored = store.stored(version)
    (stored / "weights").write_text("others")
    if manifest_too:
        text = json.dumps({"files": {"weights": hashlib.sha256(b"others").hexdigest()}})
        (stored / "manifest.json").write_text(text)
    changed = "manifest.json" if manifest_too else "weights"
    with pytest.raises(UserError, match=f"{changed} is not the file that was registered"):
        registry.download(version)
    assert list((tmp_path / "cache" / "bundles").iterdir()) == []


def test_a_version_without_pin_or_bundle_is_refused(
    store: Store, registry: Registry, name: str
) -> None:
    version = register(store, registry, name)
    with pytest.raises(UserError, match="no tag bundle_sha256"):
        registry.download(replace(version, tags={}))
    shutil.rmtree(store.stored(version))
    with pytest.raises(UserError):
        registry.download(version)


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such MLflow database"):
        Registry(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry("http://user:s3cret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"refused.*--tracking-uri") as caught:
        registry.versions("a")
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_bundles_that_nobody_asked_for_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last three stay, whatever their age."""
    monkeypatch.setenv("RECSYS_MTL_CACHE", str(tmp_path))
    prune()
    now = time.time()
    for hours in (1, 30, 40, 50, 60):
        folder = tmp_path / "bundles" / str(hours)
        folder.mkdir(parents=True)
        (folder / "manifest.json").touch()
        os.utime(folder, (now - 3600 * hours,) * 2)
    prune(most=4)
    assert {f.name for f in (tmp_path / "bundles").iterdir()} == {"1", "30", "40", "50"}
    prune()
    assert {f.name for f in (tmp_path / "bundles").iterdir()} == {"1", "30", "40"}
    prune(most=1)
    assert {f.name for f in (tmp_path / "bundles").iterdir()} == {"1"}
