from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from data_synth import Plan, Truth, synthesize
from data_synth.targets import ClassTarget
from recsys_mtl.errors import UserError

ROWS = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, plan_of: Callable[..., Plan]) -> Path:
    out = tmp_path_factory.mktemp("data")
    synthesize(plan_of("kinds"), out, rows=ROWS, processes=1)
    return out


@pytest.fixture
def spoiled(folder: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    shutil.copytree(folder, tmp_path / "data")
    return tmp_path / "data"


def rows(folder: Path) -> pl.DataFrame:
    files = sorted((folder / "rows").glob("*/*.parquet"))
    return pl.read_parquet(files, hive_partitioning=False)


def test_targets_come_back_equal(folder: Path, world_of: Any) -> None:
    truth, world = Truth.open(folder), world_of("kinds")
    assert list(truth.targets) == list(world.plan.tasks)
    f = np.linspace(-2, 2, 9)
    for name, target in world.targets.items():
        again = truth.targets[name]
        assert again.kind == target.kind
        np.testing.assert_array_equal(again.linear(f), target.linear(f))
        eta = target.linear(f)
        np.testing.assert_array_equal(again.predict(eta), target.predict(eta))
        np.testing.assert_array_equal(again.constant(), target.constant())


def test_truth_json(folder: Path, world_of: Any) -> None:
    content = json.loads((folder / "truth.json").read_text())
    plan, frame = world_of("kinds").plan, rows(folder)
    assert (content["format"], content["name"], content["seed"]) == (1, "kinds", 3)
    assert content["rows"] == ROWS
    for name, task in content["tasks"].items():
        assert task["labelled"] == frame[name].count(), name
        assert 0 < task["observable"] < 1
        assert task["oracle"].keys() == task["constant"].keys()
        better = {"auc", "pr_auc", "accuracy", "r2", "mrr"} & task["oracle"].keys()
        assert better
        for metric in better:
            assert task["oracle"][metric] > task["constant"][metric], (name, metric)
    relation = content["relation"]
    assert relation["tasks"] == list(plan.scored)
    planned, measured = np.array(relation["planned"]), np.array(relation["measured"])
    np.testing.assert_array_equal(planned, np.where(np.eye(len(planned)) == 1, 1.0, 0.2))
    # Scores are skewed: the standard error of their correlation is within twice that of normals.
    assert np.abs(planned - measured).max() < 4.5 * 2 / np.sqrt(ROWS)


def test_relation_with_complements(folder: Path) -> None:
    relation = Truth.open(folder).relation()
    assert list(relation) == list(Truth.open(folder).targets)
    assert relation["kept"]["click"] == relation["click"]["kept"] == -1.0
    assert relation["kept"]["normal"] == -0.2
    assert relation["kept"]["kept_noisy"] == relation["click"]["click_noisy"] == 0.2
    assert all(relation[name][name] == 1.0 for name in relation)


def test_noise_lowers_what_can_be_reached(folder: Path) -> None:
    tasks = Truth.open(folder).content["tasks"]
    for clean, metric in (
        ("click", "auc"), ("segment", "accuracy"), ("lognormal", "r2"), ("unit", "r2"),
        ("normal", "r2"), ("merchant", "mrr"), ("kept", "auc"),
    ):  # fmt: skip
        assert tasks[f"{clean}_noisy"]["oracle"][metric] < tasks[clean]["oracle"][metric]


def test_nothing_of_the_state_is_observable_where_nothing_is_revealed(
    tmp_path: Path, plan_of: Callable[..., Plan]
) -> None:
    synthesize(plan_of("small", "features.revealed=0.0"), tmp_path, rows=100, processes=1)
    for task in Truth.open(tmp_path).content["tasks"].values():
        assert task["observable"] == pytest.approx(0.2 + 0.05, abs=1e-6)  # items and time


def test_a_task_without_labels_has_no_metrics(tmp_path: Path, plan_of: Callable[..., Plan]) -> None:
    synthesize(plan_of("scarce"), tmp_path, rows=3, processes=1)
    truth = Truth.open(tmp_path)
    bare = [task for task in truth.content["tasks"].values() if task["labelled"] == 0]
    assert bare
    assert not any("oracle" in task for task in bare)


def test_linear_by_row_in_any_order(folder: Path) -> None:
    truth = Truth.open(folder)
    ids = np.array([2999, 0, 17, 17, 1234])
    linear = truth.linear(ids, ["click", "normal"])
    frame = pl.read_parquet(
        sorted((folder / "truth").glob("*/*.parquet")), hive_partitioning=False
    ).sort("row_id")
    for name in ("click", "normal"):
        np.testing.assert_array_equal(linear[name], frame[name].to_numpy()[ids])
    assert linear["click"].dtype == np.float32


@pytest.mark.parametrize("ids", [[3000], [0, -1], [10**12]])
def test_rows_without_a_truth(ids: list[int], folder: Path) -> None:
    with pytest.raises(UserError, match=r"rows without a truth; .*-> give rows of this data set"):
        Truth.open(folder).linear(np.array(ids), ["click"])


def test_label_index(folder: Path, world_of: Any) -> None:
    truth, frame = Truth.open(folder), rows(folder)
    for name in truth.targets:
        labels = truth.label_index(name, frame[name].to_arrow())
        assert labels.dtype == np.float64
        np.testing.assert_array_equal(np.isnan(labels), frame[name].is_null().to_numpy())
        if name != "segment" and name != "segment_noisy":
            np.testing.assert_array_equal(labels, frame[name].cast(pl.Float64).to_numpy())
    names = pa.chunked_array([pa.array(["class_002", None]), pa.array(["class_000", "other"])])
    np.testing.assert_array_equal(truth.label_index("segment", names), [2, np.nan, 0, np.nan])
    assert isinstance(truth.targets["segment"], ClassTarget)


def test_the_truth_of_rows(folder: Path, tmp_path: Path) -> None:
    [part, *_] = sorted((folder / "rows").glob("*/*.parquet"))
    for path in (part, part.parent, folder / "rows"):
        truth = Truth.of_rows(path)
        assert truth is not None
        assert truth.folder == folder
    assert Truth.of_rows(folder / "truth" / "x.parquet") is None
    assert Truth.of_rows(tmp_path / "rows" / "x.parquet") is None


def test_no_truth_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no synthetic data set there; .*found none -> give the"):
        Truth.open(tmp_path)
    with pytest.raises(UserError, match=r"found no such folder -> give the --out folder"):
        Truth.open(tmp_path / "gone")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"found no such folder -> give the --out folder"):
        Truth.open(tmp_path / "file")
    (tmp_path / "_work").mkdir()
    with pytest.raises(UserError, match=r"found none -> run the same synthesize command again"):
        Truth.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not the truth of a data set; found JSONDecodeError.* -> synthesize the data again"),
        ("[]", "not the truth of a data set; found TypeError"),
        ("{}", "not the truth of a data set; found KeyError.'format'"),
        ('{"format": 1, "tasks": {"a": {"target": {"kind": "x"}}}}', "found KeyError.'x'"),
        ('{"format": 1, "tasks": {"a": {"target": {"kind": "binary"}}}}', "found TypeError"),
        ('{"format": 9}', "data of another version; expected format 1; found 9 -> synthesize them"),
        ("\udcff", "not the truth of a data set; found UnicodeDecodeError"),
    ],
)
def test_a_damaged_truth(text: str, expected: str, spoiled: Path) -> None:
    (spoiled / "truth.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=expected) as caught:
        Truth.open(spoiled)
    assert str(spoiled / "truth.json") in str(caught.value)


def test_damaged_scores(spoiled: Path) -> None:
    truth = Truth.open(spoiled)
    [part, *_] = sorted((spoiled / "truth").glob("*/*.parquet"))
    part.write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"cannot read the true scores.* -> synthesize"):
        truth.linear(np.array([0]), ["click"])
    shutil.rmtree(spoiled / "truth")
    with pytest.raises(UserError, match=r"cannot read the true scores.* -> synthesize"):
        truth.linear(np.array([0]), ["click"])
