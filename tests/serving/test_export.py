from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml

from recsys_mtl.config.load import config_from_yaml, dump_config
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from recsys_mtl.serving import Predictor, load_bundle, save_bundle
from recsys_mtl.serving.export import ExportError, save_export
from recsys_mtl.serving.exported import Exported, inputs_of, load_export, pickled
from recsys_mtl.wiring.network import build_network

traced = pytest.mark.slow
"""Marks what waits for torch to trace a network."""

FILES = {"network.pt2", "preprocessor.json", "config.yaml", "manifest.json"}


def pin_of(folder: Path) -> str:
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def export(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "network"
    save_export(bundle, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(export: Path) -> Exported:
    return load_export(export, pin=pin_of(export))


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """The files of an export around a program that nobody shall load."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("preprocessor.json", "config.yaml"):
        shutil.copyfile(bundle / name, folder / name)
    pack(folder, {})
    return folder


def pack(folder: Path, changes: dict[str, bytes]) -> None:
    """Write a program with these members, and a manifest that fits."""
    weights = {"config": {"w": PAYLOAD | {"use_pickle": False}}}
    members = {
        "models/model.json": b"{}",
        "data/weights/model_weights_config.json": json.dumps(weights).encode(),
        "data/constants/model_constants_config.json": b'{"config": {}}',
        "data/sample_inputs/model.pt": b"",
    }
    with zipfile.ZipFile(folder / "network.pt2", "w") as archive:
        for name, content in (members | changes).items():
            archive.writestr(f"network/{name}", content)
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(FILES - {"manifest.json"})
    }
    (folder / "manifest.json").write_text(json.dumps({"format": "torch-1", "files": files}))


PAYLOAD = {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}
OBJECT = PAYLOAD | {"path_name": "opaque_obj_0", "use_pickle": False}


def same(exported: Exported, predictor: Predictor, rows: pl.DataFrame) -> None:
    batch = predictor.preprocessor.encode(rows, labels=False)
    outputs = exported.run(batch)
    for task, expected in predictor.raw_outputs(batch).items():
        torch.testing.assert_close(outputs[task], expected, rtol=1e-6, atol=1e-6)


@traced
@pytest.mark.parametrize("count", [1, 2, 19, 300])
def test_predicts_the_same_as_the_predictor(loaded: Exported, trained: Any, count: int) -> None:
    same(loaded, trained.predictor, trained.rows.tail(count))


@traced
def test_rows_without_any_list_entry(loaded: Exported, trained: Any) -> None:
    empty = pl.lit([], pl.List(pl.Int64)).alias("visited"), pl.lit(None).alias("bought")
    same(loaded, trained.predictor, trained.rows.head(4).with_columns(empty))


@traced
def test_the_best_items_of_a_retrieval_task(loaded: Exported, trained: Any) -> None:
    outputs = loaded.run(loaded.preprocessor.encode(trained.rows, labels=False))
    frame = trained.predictor.predict(trained.rows)
    named = loaded.preprocessor.labels["next"].name_items(  # type: ignore[attr-defined]
        outputs["next.items"], outputs["next.scores"]
    )
    assert outputs["next.items"].shape == (300, 3)
    assert named["next"].to_list() == frame["next"].to_list()
    assert named["next_scores"].explode().to_list() == pytest.approx(
        frame["next_scores"].explode().to_list(), abs=1e-6
    )


@traced
def test_the_manifest_describes_its_call(export: Path, bundle: Path) -> None:
    assert {file.name for file in export.iterdir()} == FILES
    manifest = json.loads((export / "manifest.json").read_text())
    assert manifest["bundle_sha256"] == pin_of(bundle)
    assert manifest["columns"] == {
        "ids": ["city", "customer", "member"],
        "list_lengths": ["visited", "bought", "tags"],
    }
    assert [(i["name"], i["shape"], i["dtype"]) for i in manifest["inputs"]] == [
        ("numeric", ["rows", 7], "float32"),
        ("ids", ["rows", 3], "int64"),
        ("list_lengths", ["rows", 3], "int64"),
        ("list_ids.visited", ["entries"], "int64"),
        ("list_ids.bought", ["entries"], "int64"),
        ("list_ids.tags", ["entries"], "int64"),
    ]
    assert [(o["name"], o["shape"][1:]) for o in manifest["outputs"]] == [
        ("click", [1]),
        ("plan", [3]),
        ("spend", [1]),
        ("next", [7]),
        ("next.items", [3]),
        ("next.scores", [3]),
    ]
    assert manifest["checked"]["largest_difference"] <= 1e-6
    assert {1, 2} < set(manifest["checked"]["rows"])
    for name in ("preprocessor.json", "config.yaml"):
        assert (export / name).read_bytes() == (bundle / name).read_bytes()


@traced
def test_neither_credentials_nor_paths_nor_pickles_are_written(export: Path) -> None:
    written = b"".join(file.read_bytes() for file in export.iterdir())
    assert b"s3cret" not in written
    assert str(Path(__file__).parents[2]).encode() not in written
    assert pickled((export / "network.pt2").read_bytes()) == []


SHAPES: dict[str, dict[str, Any]] = {
    "only numbers": {"features": ["age", "history"]},
    "only one list": {"features": ["visited"], "pooling": "mean"},
    "mixed experts, two levels": {
        "model": {
            "levels": 2,
            "shared_experts": [
                {"kind": "mlp", "hidden": [9, 6]},
                {"kind": "cross", "layers": 2, "width": 6},
                {"kind": "fm", "fields": 3, "width": 6},
            ],
            "logit_transfer": [{"source": "click", "target": "spend"}],
        }
    },
    "shared bottom": {"model": {"architecture": "shared_bottom"}},
    "aitm": {"model": {"architecture": {"name": "aitm"}}},
    "pepnet": {
        "model": {
            "architecture": {"name": "pepnet", "domain": ["age"]},
            "task_experts": [{"kind": "mlp", "hidden": [6, 5]}],
        }
    },
    "members": {"model": {"members": 2}},
    "home": {"model": {"architecture": "home", "members": 2}},
    "stem": {"model": {"architecture": "stem", "members": 3}},
}


@traced
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_network(shape: str, trained: Any, tmp_path: Path) -> None:
    document = yaml.safe_load(dump_config(trained.config))
    change = SHAPES[shape]
    kept = change.get("features", list(document["features"]))
    document["features"] = {name: document["features"][name] for name in kept}
    document["model"] |= change.get("model", {})
    if document["model"]["architecture"] == "shared_bottom":
        del document["model"]["task_experts"]
    if "pooling" in change:
        document["features"]["visited"]["pooling"] = change["pooling"]
    config = config_from_yaml(yaml.safe_dump(document), where="shape.yaml")
    fitted = Preprocessor.fit(
        [trained.rows], config.features, config.tasks, weight=None, default_dim=4
    )
    save_bundle(tmp_path / "m", config, fitted, build_network(config, fitted.spec).state_dict())
    save_export(tmp_path / "m", tmp_path / "e")
    exported = load_export(tmp_path / "e", pin=pin_of(tmp_path / "e"))
    for count in (1, 30):
        same(exported, load_bundle(tmp_path / "m"), trained.rows.head(count))


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_a_changed_or_missing_file_is_refused_unread(
    copy: Path, name: str, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("it was loaded"))
    pin, content = pin_of(copy), (copy / name).read_bytes()
    (copy / name).unlink()
    if spoil == "change":
        (copy / name).write_bytes(content.replace(b"e", b"f", 1))
    with pytest.raises(UserError, match=name):
        load_export(copy, pin=pin)


def test_a_new_manifest_for_a_changed_program_is_refused(copy: Path) -> None:
    pin = pin_of(copy)
    pack(copy, {"models/model.json": b"[]"})
    with pytest.raises(UserError, match=r"manifest\.json: not the exported file; expected the pin"):
        load_export(copy, pin=pin)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("data/sample_inputs/model.pt", b"a pickle"),
        ("data/weights/model.pt", b"an old format's pickle"),
        ("data/weights/model_weights_config.json", json.dumps({"config": {"w": PAYLOAD}}).encode()),
        (
            "data/constants/model_constants_config.json",
            json.dumps({"config": {"c": OBJECT}}).encode(),
        ),
    ],
)
def test_a_pickle_is_refused_even_where_it_is_pinned(
    copy: Path, member: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("it was loaded"))
    pack(copy, {member: content})
    with pytest.raises(UserError, match=rf"holds a pickle.*; found {member}"):
        load_export(copy, pin=pin_of(copy))


def test_an_unknown_format_is_refused(copy: Path) -> None:
    (copy / "manifest.json").write_text('{"format": "torch-99"}')
    with pytest.raises(UserError, match="expected torch-1; found torch-99"):
        load_export(copy, pin=pin_of(copy))


def test_a_program_that_takes_bins_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("it was loaded"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["inputs"] = [{"name": "numeric", "shape": ["rows", 8], "dtype": "float32"}]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="expected 7 encoded numbers a row; found 8 -> export"):
        load_export(copy, pin=pin_of(copy))


def test_nothing_is_overwritten(bundle: Path, copy: Path) -> None:
    before = pin_of(copy)
    with pytest.raises(UserError, match="there is something already"):
        save_export(bundle, copy)
    assert pin_of(copy) == before


@traced
def test_an_export_that_differs_is_not_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Predictor.raw_outputs

    def other(self: Predictor, batch: Any) -> dict[str, torch.Tensor]:
        return {task: values + 1e-4 for task, values in usual(self, batch).items()}

    monkeypatch.setattr(Predictor, "raw_outputs", other)
    with pytest.raises(ExportError, match="differ by"):
        save_export(bundle, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []


@traced
def test_a_full_disk_leaves_nothing(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_export(bundle, tmp_path / "e")
    assert list(tmp_path.iterdir()) == []


@traced
def test_inputs_are_in_the_manifest_s_order(loaded: Exported, trained: Any) -> None:
    batch = loaded.preprocessor.encode(trained.rows.head(3), labels=False)
    for tensor, described in zip(inputs_of(batch), loaded.manifest["inputs"], strict=True):
        assert str(tensor.dtype) == f"torch.{described['dtype']}"
        assert list(tensor.shape[1:]) == described["shape"][1:]
