"""Vocabularies in files: which, counted over which rows, and how they travel with a training."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys_mtl.checkpoints import Checkpoints
from recsys_mtl.columns.stored_vocabulary import StoredVocabulary
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config import load_config
from recsys_mtl.data.fitting import Fitting
from recsys_mtl.data.large_vocabularies import DistinctCount
from recsys_mtl.data.prepare import Prepared, prepare
from recsys_mtl.errors import UserError
from recsys_mtl.runs.train import train
from recsys_mtl.scoring.export import export
from recsys_mtl.serving import load_bundle, save_bundle
from recsys_mtl.serving.exported import load_export
from recsys_mtl.wiring.network import build_network
from tests.toy import Toy

FILES = ("features.city.storage=file", "features.seen.storage=file")


def vocabularies(prepared: Prepared) -> list[list[object]]:
    coders = [feature.coder for feature in prepared.preprocessor.features[2:4]]
    return [list(coder.names) for coder in coders]


@pytest.mark.parametrize("sizes", [[], ["features.seen.max_size=5", "features.seen.min_count=2"]])
def test_a_file_is_counted_over_all_rows_and_knows_what_memory_knows(toy: Toy, sizes) -> None:
    """Weights, lists and `null_values` included; the sample of a fit knows less."""
    sizes = [*sizes, "features.city.null_values=[oslo]"]
    memory = prepare(toy.config(*sizes))
    file = prepare(toy.config(*sizes, *FILES))
    sampled = prepare(toy.config(*sizes, *FILES, "data.fit_rows=20"))
    assert vocabularies(memory) == vocabularies(file) == vocabularies(sampled)
    assert vocabularies(prepare(toy.config(*sizes, "data.fit_rows=20"))) != vocabularies(memory)
    for prepared in (file, sampled):
        assert prepared.preprocessor.spec.tables == memory.preprocessor.spec.tables
        for feature, other in zip(
            prepared.preprocessor.features[2:4], memory.preprocessor.features[2:4], strict=True
        ):
            assert isinstance(feature.coder, StoredVocabulary)
            values = other.entries(toy.rows()[other.column])
            assert (feature.coder.codes(values) == other.coder.codes(values)).all()
            assert (feature.unknown_rates(0.25) == other.unknown_rates(0.25)).all()


@pytest.mark.parametrize(
    ("overrides", "stored"),
    [
        ([], [False, True]),
        (["data.fit_rows=20"], [False, True]),
        (["features.seen.storage=memory"], [False, False]),
        (["features.seen.max_size=4"], [False, False]),
        (["features.city.storage=file", "data.fit_rows=20"], [True, True]),
    ],
)
def test_auto_puts_large_ones_in_a_file(toy: Toy, monkeypatch, overrides, stored) -> None:
    monkeypatch.setattr("recsys_mtl.data.large_vocabularies.FILE_FROM", 6)
    prepared = prepare(toy.config(*overrides))
    coders = [feature.coder for feature in prepared.preprocessor.features[2:4]]
    assert [isinstance(coder, StoredVocabulary) for coder in coders] == stored


def test_features_of_one_table_share_the_file(toy: Toy) -> None:
    document = toy.document()
    document["features"]["town"] = {"kind": "categorical", "column": "city", "table": "city"}
    document["features"]["city"]["storage"] = "file"
    path = toy.write(document)
    first, second = (
        f.coder for f in prepare(load_config(path)).preprocessor.features if f.column == "city"
    )
    assert first is second
    assert isinstance(first, StoredVocabulary)


@pytest.mark.parametrize("count", [0, 100, 40_000])
def test_the_number_of_distinct_values_is_estimated(count: int) -> None:
    distinct = DistinctCount()
    for values in np.array_split(np.arange(2 * count) % max(count, 1), 7):
        distinct.update(pl.Series(values))
    assert distinct.estimate() == pytest.approx(count, rel=0.05)
    texts = pl.Series(["a", "b", None], dtype=pl.Categorical)
    distinct.update(texts)


def test_a_checkpoint_has_the_files_and_may_be_deleted(toy: Toy, tmp_path: Path) -> None:
    fitting = prepare(toy.config(*FILES)).fitting
    checkpoints = Checkpoints(tmp_path)
    files = {**fitting.to_files(), **fitting.preprocessor.files}
    checkpoints.write(1, {}, {"training": {}, "run": {}}, files)
    begun = checkpoints.read(1)
    assert not any(name.endswith(".arrow") for name in begun.files)
    again = Fitting.from_files(begun.files, begun.path)
    elsewhere = Fitting.from_files(fitting.to_files())  # another process of the machine
    checkpoints.remove()
    away = {
        name: content.replace(b"/recsys-mtl-", b"/no-")
        for name, content in files.items()
        if isinstance(content, bytes)
    }
    with pytest.raises(UserError, match=r"only processes of one machine; .* set \$TMPDIR"):
        Fitting.from_files(away)
    rows = toy.rows()
    expected = fitting.preprocessor.encode(rows)
    for other in (again, elsewhere):
        batch = other.preprocessor.encode(rows)
        for one, wanted in zip(batch.blocks.values(), expected.blocks.values(), strict=True):
            pairs = zip(one.tensors().values(), wanted.tensors().values(), strict=True)
            assert all(a.equal(b) for a, b in pairs)


def test_a_model_lacks_no_file(toy: Toy, tmp_path: Path) -> None:
    config = toy.config(*FILES)
    preprocessor = prepare(config).preprocessor
    state = build_network(config, preprocessor.spec, backend="plain").state_dict()
    model = tmp_path / "model"
    save_bundle(model, config, preprocessor, state)
    assert load_bundle(model).preprocessor.to_dict() == preprocessor.to_dict()
    path = model / "vocabulary-1-texts.arrow"
    content = path.read_bytes()
    path.write_bytes(content[:-9] + b"?" + content[-8:])
    with pytest.raises(UserError, match=r"1-texts\.arrow: file of the model was changed"):
        load_bundle(model)
    path.unlink()
    with pytest.raises(UserError, match=r"1-texts\.arrow: file of the model is missing"):
        load_bundle(model)
    manifest = model / "manifest.json"
    manifest.write_text(manifest.read_text().replace("vocabulary-1-texts", "vocabulary-7-texts"))
    path.write_bytes(content)
    (model / "vocabulary-7-texts.arrow").write_bytes(content)
    with pytest.raises(UserError, match=r"1-texts\.arrow: file of the model without a checksum"):
        load_bundle(model)


def test_unknown_ids_of_the_validation_rows_are_reported(toy: Toy, caplog) -> None:
    with caplog.at_level(logging.INFO):
        prepared = prepare(toy.config("features.seen.max_size=5", "data.fit_rows=200"))
    values = prepared.preprocessor.features[3].entries(
        pl.concat(prepared.splits.frames("valid", ["seen"]))["seen"]
    )
    coder = prepared.preprocessor.features[3].coder
    assert isinstance(coder, Vocabulary)
    unknown = (coder.codes(values) == 0).mean()
    assert prepared.unknown == {"city": 0.0, "seen": pytest.approx(unknown)}
    assert 0.05 < unknown < 1
    assert (
        f"unknown ids in the validation rows: seen {100 * unknown:.1f} %; count all" in caplog.text
    )


@pytest.mark.slow  # four trainings
def test_a_run_with_files_is_bit_for_bit_one_in_memory(toy: Toy, monkeypatch) -> None:
    """Training, weights, predictions, the reference for drift; the parts that read the folder."""
    memory = train(toy.config(), toy.folder / "memory")
    monkeypatch.setattr("recsys_mtl.data.large_vocabularies.FILE_FROM", 2)
    kept = ["every=3", "unit=steps", "after_end=keep"]
    config = toy.config(*(f"training.checkpoints.{setting}" for setting in kept))
    file = train(config, toy.folder / "file")
    first, *_ = Checkpoints(toy.folder / "file").steps()
    again = train(config, toy.folder / "file", resume=first)
    assert again["tasks"] == file["tasks"]
    assert memory["tasks"] == file["tasks"]
    assert memory["training"]["epochs"][1]["score"] == file["training"]["epochs"][1]["score"]
    models = [toy.folder / name / "model" for name in ("memory", "file")]
    for name in ("weights.safetensors", "reference.json"):
        assert (models[0] / name).read_bytes() == (models[1] / name).read_bytes()
    before, after = (load_bundle(model) for model in models)
    assert after.preprocessor.files
    assert after.predict(toy.rows()).equals(before.predict(toy.rows()))
    pin = export(str(models[1]), output=toy.folder / "exported")["pin"]
    exported = load_export(toy.folder / "exported", pin=pin)
    assert exported.preprocessor.files.keys() == after.preprocessor.files.keys()
    grown = train(
        toy.config(f"training.warm_start.model={models[1]}", "training.epochs=1"),
        toy.folder / "grown",
    )
    assert {counts["new"] for counts in grown["warm_start"]["tables"].values()} == {0}
    assert load_bundle(toy.folder / "grown" / "model").preprocessor.files


@pytest.mark.slow  # millions of values
def test_a_vocabulary_of_millions_takes_no_memory_of_a_process(tmp_path: Path) -> None:
    coder = StoredVocabulary([])
    coder.update(pl.Series(np.arange(2_000_000) * 7))
    coder.finish()
    for name, path in coder.files.items():
        shutil.copyfile(path, tmp_path / name)
    program = f"""
import json, polars as pl, sys
from pathlib import Path
from recsys_mtl.columns.stored_vocabulary import StoredVocabulary
def anonymous():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous"))
from recsys_mtl.columns.vocabulary import Vocabulary
StoredVocabulary.of(Vocabulary([], values=["7", "a"]), 0).codes(pl.Series([1, 7, None]))
before = anonymous()
coder = StoredVocabulary.from_dict(json.loads({json.dumps(json.dumps(coder.to_dict()))}))
coder.open(Path({str(tmp_path)!r}))
codes = coder.codes(pl.Series([0, 7, 13_999_993, 1, None])).tolist()
print(json.dumps([codes, (anonymous() - before) / 1024]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    codes, mib = json.loads(done.stdout)
    expected = coder.codes(pl.Series([0, 7, 13_999_993, 1, None])).tolist()
    assert codes == expected
    assert codes[3:] == [0, 1]
    assert mib < 9, "in memory it takes 400"
