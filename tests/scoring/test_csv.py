"""A model that was trained on one spelling of CSV scores the same rows in any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys_mtl.cli.main import main

pytestmark = pytest.mark.slow

CONFIG = """
name: spelt
data: {path: german.csv, split: {kind: group, column: uid},
  csv: {delimiter: ";", decimal: ",", encoding: cp1252, null_values: ["?"]}}
features:
  amount: {kind: numeric, null_values: [-999, unknown]}
  "hot_*": {kind: numeric}
  city: {kind: categorical}
  size: {kind: categorical}
  size_number: {kind: numeric, column: size}
tasks: {click: {kind: binary, positive: [ja, vielleicht]}}
model: {shared_experts: [{kind: mlp, hidden: [8]}], task_experts: [{kind: mlp, hidden: [8]}]}
training: {epochs: 1}
tracking: {enabled: false}
"""


def _rows() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = 400
    amounts = [f"{number:.3f}" for number in rng.normal(0, 2, rows)]
    return pl.DataFrame(
        {
            "amount": [["unknown", "-999", None, a][i % 4] for i, a in enumerate(amounts)],
            "hot_1": rng.random(rows) < 0.5,
            "hot_2": rng.random(rows) < 0.5,
            "city": rng.choice(["Köln", " Köln", "Ulm", " ", "Bonn"], rows),
            "size": rng.choice([0.5, 1.0, 2.25], rows),
            "uid": [f"{i // 4:03d}" if i < 380 else f"X{i}" for i in range(rows)],
            "click": rng.choice(["ja", "nein", "vielleicht"], rows),
        }
    )


def test_predictions_do_not_depend_on_the_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = _rows()
    rows.write_parquet("rows.parquet")
    rows.with_row_index("").write_csv("plain.csv")
    rows.write_csv("bare.txt", separator="\t", include_header=False)
    pointless = pl.col("amount", "size").cast(pl.String).str.replace(".", ",", literal=True)
    text = rows.with_columns(pointless).fill_null("?").write_csv(separator=";")
    Path("german.csv").write_bytes(text.encode("cp1252"))
    Path("spelt.yaml").write_text(CONFIG)
    assert main(["train", "spelt.yaml", "--out", "run"]) == 0
    plain = ["--csv", "delimiter=,", "--csv", "decimal=.", "--csv", "encoding=utf-8"]
    bare = ["--csv", "header=false", "--csv", f"columns=[{', '.join(rows.columns)}]"]
    inputs = {
        "german.csv": [],
        "rows.parquet": [],
        "plain.csv": plain,
        "bare.txt": [*plain, *bare, "--csv", "delimiter=tab"],
    }
    scores = {}
    for name, settings in inputs.items():
        assert main(["predict", "run", "--input", name, "--output", "p.parquet", *settings]) == 0
        scores[name] = pl.read_parquet("p.parquet")["click"].to_numpy()
    assert np.std(scores["german.csv"]) > 0
    for name in inputs:
        np.testing.assert_array_equal(scores[name], scores["german.csv"], name)
    assert main(["evaluate", "run", "--input", "plain.csv", *plain]) == 0
    assert main(["evaluate", "run"]) == 0
    capsys.readouterr()
    assert main(["predict", "run", "--input", "plain.csv", "--output", "p.parquet"]) == 2
    assert "set data.csv.delimiter: ','" in capsys.readouterr().err
