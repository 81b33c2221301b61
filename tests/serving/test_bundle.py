from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import torch
from polars.testing import assert_frame_equal

from recsys_mtl.config.load import config_from_yaml
from recsys_mtl.errors import UserError
from recsys_mtl.serving import load_bundle, save_bundle
from recsys_mtl.serving.bundle import PACKAGES

FILES = {"config.yaml", "preprocessor.json", "weights.safetensors", "manifest.json"}


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_loads_equal(trained: Any, bundle: Path) -> None:
    assert {file.name for file in bundle.iterdir()} == FILES
    loaded = load_bundle(bundle)
    expected = trained.predictor.predict(trained.rows)
    assert_frame_equal(loaded.predict(trained.rows), expected, check_exact=True)
    assert loaded.columns == trained.predictor.columns
    assert loaded.output_schema() == trained.predictor.output_schema()


def test_manifest_describes_the_content(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["tasks"]["plan"] == "multiclass"
    assert manifest["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert set(manifest["files"]) == FILES - {"manifest.json"}


def test_config_is_complete_but_without_credentials(trained: Any, bundle: Path) -> None:
    text = (bundle / "config.yaml").read_text()
    assert "s3cret" not in text
    stored = config_from_yaml(text, where="config.yaml")
    assert stored.model == trained.config.model
    assert stored.features == trained.config.features


def test_the_fingerprint_of_the_data_is_kept(trained: Any, bundle: Path, tmp_path: Path) -> None:
    assert load_bundle(bundle).fingerprint == ""
    state = trained.network.state_dict()
    save_bundle(tmp_path / "m", trained.config, trained.preprocessor, state, fingerprint="abc")
    assert load_bundle(tmp_path / "m").fingerprint == "abc"


@pytest.mark.parametrize("name", sorted(FILES))
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(UserError, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("name", sorted(FILES - {"manifest.json"}))
def test_changed_file_is_named(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: file of the model was changed"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a saved model"),
        ("[]", "not a saved model"),
        ("[" * 100_000, "not a saved model"),
        ("{}", "unknown model format"),
        ('{"format": 1, "files": null}', "not a saved model"),
        ('{"format": 1, "files": ["weights.safetensors"]}', "not a saved model"),
        (
            '{"format": 1, "files": {"config.yaml": 1}}',
            "config.yaml: file of the model was changed",
        ),
        ('{"format": 99}', "expected format 1; found 99"),
    ],
)
def test_unknown_manifest(copy: Path, text: str, message: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load_bundle(copy)


DAMAGED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "no config": ("config.yaml", lambda content: b"{}", "config.yaml: name: missing key"),
    "no text": ("config.yaml", lambda content: b"\xff", "config.yaml: not a text file"),
    "no statistics": ("preprocessor.json", lambda content: b"{}", "KeyError: 'weight'"),
    "a list": ("preprocessor.json", lambda content: b"[]", "preprocessor.json: file of the model"),
    "cut statistics": ("preprocessor.json", lambda content: content[:-9], "cannot be read"),
    "deep statistics": ("preprocessor.json", lambda content: b"[" * 100_000, "RecursionError"),
    "bytes": ("preprocessor.json", lambda content: b"\xff", "UnicodeDecodeError"),
    "NaN": (
        "preprocessor.json",
        lambda content: re.sub(rb'"mean": [^,]+', b'"mean": NaN', content),
        "NaN is not JSON",
    ),
    "an unknown kind": (
        "preprocessor.json",
        lambda content: content.replace(b'"numeric"', b'"number"'),
        "KeyError: 'number'",
    ),
    "cut weights": ("weights.safetensors", lambda content: content[:-50], "weights do not fit"),
    "no weights": ("weights.safetensors", lambda content: b"", "weights do not fit"),
    "a long header": ("weights.safetensors", lambda c: b"\xff" * 8 + c[8:], "weights do not fit"),
    "NaN weights": (
        "weights.safetensors",
        lambda content: content[:-4] + struct.pack("f", float("nan")),
        "weights that are not finite",
    ),
    "infinite weights": (
        "weights.safetensors",
        lambda content: content[:-4] + struct.pack("f", float("inf")),
        "weights that are not finite",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_broken_file_with_its_checksum_is_one_line(copy: Path, case: str) -> None:
    name, damage, message = DAMAGED[case]
    (copy / name).write_bytes(damage((copy / name).read_bytes()))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256((copy / name).read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message) as caught:
        load_bundle(copy)
    assert all(len(str(problem)) < 500 for problem in caught.value.problems)


def test_saving_again_replaces(trained: Any, copy: Path) -> None:
    state = {name: torch.zeros_like(value) for name, value in trained.network.state_dict().items()}
    save_bundle(copy, trained.config, trained.preprocessor, state)
    assert load_bundle(copy).predict(trained.rows)["click"].unique().len() == 1
    assert [file.name for file in copy.parent.iterdir()] == ["copy"]


def test_views_of_one_storage_are_saved(trained: Any, tmp_path: Path) -> None:
    state = trained.network.state_dict()
    names = [name for name in state if name.startswith("embedding")]
    storage = torch.cat([state[name].flatten() for name in names])
    views = torch.split(storage, [state[name].numel() for name in names])
    state |= {name: view.view_as(state[name]) for name, view in zip(names, views, strict=True)}
    save_bundle(tmp_path / "m", trained.config, trained.preprocessor, state)
    expected = trained.predictor.predict(trained.rows)
    assert_frame_equal(load_bundle(tmp_path / "m").predict(trained.rows), expected)


def test_weights_of_another_model(trained: Any, tmp_path: Path) -> None:
    state = dict(trained.network.state_dict())
    state.popitem()
    save_bundle(tmp_path / "m", trained.config, trained.preprocessor, state)
    with pytest.raises(UserError, match="the weights do not fit the config"):
        load_bundle(tmp_path / "m")


def test_a_failed_save_leaves_the_old_model(
    trained: Any, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recsys_mtl.tensor_file.save_file", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_bundle(copy, trained.config, trained.preprocessor, {})
    assert [file.name for file in copy.parent.iterdir()] == ["copy"]
    assert load_bundle(copy).columns == trained.predictor.columns


def test_unwritable_folder(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the model"):
        save_bundle(tmp_path / "file" / "m", trained.config, trained.preprocessor, {})


@pytest.mark.slow  # a fresh process
def test_inference_imports_only_its_requirements(bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from recsys_mtl.serving import load_bundle;"
        f"load_bundle(Path({str(bundle)!r})).output_schema();"
        "ours = [m for name, m in sys.modules.items() if name.startswith('recsys_mtl')];"
        "print(*(m.__file__ for m in ours if m.__file__), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    imported = {name for file in done.stdout.splitlines() for name in imports(Path(file))}
    distributions = packages_distributions()
    outside = imported - set(sys.stdlib_module_names) - {"recsys_mtl"}
    needed = {distributions[name][0].lower() for name in outside}
    implied = {"pyarrow"}  # polars to pandas
    assert needed | implied == {package.lower() for package in PACKAGES}


def imports(file: Path) -> set[str]:
    """Top packages that a module imports when it is itself imported."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names
