"""Random tables and configs: ordinary ones mixed with everything that users' files hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from hypothesis import strategies as st

Draw = Any
Document = dict[str, Any]

ODD_NUMBERS = [0.0, -0.0, 1e-300, 1e38, -999999, 2.0**53, np.nan, np.inf, -np.inf, -1e39, 1e300]
FINITE = 7
ODD_TEXTS = [
    "",
    " ",
    "nan",
    "NULL",
    "[/b]x",
    "<b>",
    "0.50",
    "1e5",
    "é",
    "\t",
    "a\nb",
    "'",
    '"',
    "`",
]
ODD_TEXTS += ["True", "2024-01-31T10:00:00Z", "9" * 40, "-", "a,b", "a|b", "𝒳", "\u202e", "1,5"]
EPOCH = datetime(2024, 1, 1)
NAMES = ["x", "y z", "[/b]", "1", "ünï", "a.b", "a`b", "a'b", 'a"b', "label", "kind", "*", "a=b"]
NAMES += [
    "__row__",
    "count",
    "prediction",
    "y_probability_a",
    "tmp_1",
    "<script>",
    "x" * 60,
    " s ",
]


def _texts(rng: np.random.Generator, rows: int) -> list[Any]:
    words = [*ODD_TEXTS, *"abcdef"] if rng.random() < 0.3 else list("abcdef")
    return [words[i] for i in rng.integers(0, len(words), rows)]


def _numbers(rng: np.random.Generator, rows: int) -> list[Any]:
    numbers = rng.normal(size=rows) * 10.0 ** rng.integers(-3, 6)
    if rng.random() < 0.2:
        odd = rng.random(rows) < 0.2
        finite = len(ODD_NUMBERS) if rng.random() < 0.3 else FINITE
        numbers[odd] = rng.choice(ODD_NUMBERS[:finite], int(odd.sum()))
    return [float(number) for number in numbers]


KINDS: dict[str, Any] = {
    "float": _numbers,
    "text": _texts,
    "int": lambda rng, rows: rng.integers(-5, 20, rows).tolist(),
    "id": lambda rng, rows: rng.integers(0, 2**62, rows).tolist(),
    "bool": lambda rng, rows: (rng.random(rows) < 0.4).tolist(),
    "bit": lambda rng, rows: rng.integers(0, 2, rows).tolist(),
    "day": lambda rng, rows: [
        date(2024, 1, 1) + timedelta(int(d)) for d in rng.integers(0, 60, rows)
    ],
    "moment": lambda rng, rows: [EPOCH + timedelta(hours=float(h)) for h in rng.random(rows) * 900],
    "zoned": lambda rng, rows: [
        datetime(2024, 1, int(d), tzinfo=UTC) for d in rng.integers(1, 9, rows)
    ],
    "decimal": lambda rng, rows: [Decimal(int(c)) / 4 for c in rng.integers(-9, 99, rows)],
    "words": lambda rng, rows: [_texts(rng, n) for n in rng.integers(0, 4, rows)],
    "ids": lambda rng, rows: [rng.integers(0, 9, n).tolist() for n in rng.integers(0, 4, rows)],
    "struct": lambda rng, rows: [{"a": int(a)} for a in rng.integers(0, 9, rows)],
    "duration": lambda rng, rows: [timedelta(int(s)) for s in rng.integers(0, 9, rows)],
    "nothing": lambda rng, rows: [None] * rows,
    "plain": lambda rng, rows: rng.random(rows).tolist(),
    "constant": lambda rng, rows: [7] * rows,
}
"""Values of a column by its kind."""
LIKELY = {"float": "regression", "int": "multiclass", "bool": "binary", "bit": "binary"}
LIKELY |= {"decimal": "regression", "plain": "count", "text": "retrieval"}
NESTED = ("words", "ids", "struct", "duration")
ARCHITECTURES = (
    *("ple", "mmoe", "shared_bottom", "single_task"),
    *("aitm", "pepnet", "home", "stem"),
)
ROLES = ("feature", "feature", "feature", "label", "label", "ignored", "ignored", "weight")


@dataclass(frozen=True)
class Case:
    """A table, how it is stored, and a config of it."""

    columns: dict[str, tuple[str, float]]
    rows: int
    seed: int
    suffix: str
    parts: int
    document: Document

    @property
    def path(self) -> str:
        """The data, relative to the folder."""
        return f"*.{self.suffix}"

    def write(self, folder: Path) -> Path:
        """Write the data and the config; the config's path."""
        rng = np.random.default_rng(self.seed)
        series = []
        for name, (kind, missing) in self.columns.items():
            values = KINDS[kind](rng, self.rows)
            gaps = rng.random(self.rows) < missing
            some = [None if gap else value for value, gap in zip(values, gaps, strict=True)]
            series.append(pl.Series(name, some, strict=False))
        table = pl.DataFrame(series)
        if self.suffix == "csv":
            table.write_csv(folder / "rows.csv")
        else:
            first = self.rows if self.parts == 1 else self.rows // 2
            table.head(first).write_parquet(folder / "rows.parquet")
        if self.suffix == "parquet" and self.parts > 1:
            second = table.slice(first)
            _otherwise(second, rng).write_parquet(folder / "rows.2.parquet")
        path = folder / "config.yaml"
        self.document["data"] |= {"root": str(folder), "path": self.path}
        path.write_text(yaml.safe_dump(self.document, allow_unicode=True, sort_keys=False))
        return path


def _otherwise(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The table as another writer might store it: some columns in other types, or missing."""
    columns = []
    for values in table:
        chosen = rng.integers(0, 12)
        if chosen == 0:
            continue
        types = {1: pl.Float64, 2: pl.String, 3: pl.Null, 4: pl.Categorical, 5: pl.Float16}
        try:
            columns.append(values.cast(types.get(int(chosen), values.dtype)))
        except pl.exceptions.PolarsError:
            columns.append(values)
    return pl.DataFrame(columns)


def _some(draw: Draw, options: dict[str, st.SearchStrategy[Any]], chance: int = 4) -> Document:
    """A few of the options, each drawn with a chance of one in `chance`."""
    return {n: draw(s) for n, s in options.items() if draw(st.integers(1, chance)) == 1}


def _feature(draw: Draw, values: str) -> Document:
    likely = "categorical_list" if values in ("words", "ids") else "categorical"
    likely = "numeric" if values in ("float", "int", "bool", "decimal") else likely
    kind = draw(st.sampled_from([likely] * 6 + ["categorical", "numeric", "categorical_list"]))
    if kind == "numeric":
        transforms = ["standardize", "log1p", "quantile", "piecewise", "none"]
        names = st.sampled_from(transforms)
        return {"kind": kind} | _some(draw, {"transform": names}, 2)
    options = {
        "min_count": st.integers(1, 9) | st.just("auto"),
        "max_size": st.integers(1, 9),
        "dim": st.integers(1, 9) | st.just("auto"),
        "unknown_dropout": st.floats(0, 9),
        "null_values": st.lists(st.sampled_from(ODD_TEXTS), max_size=3),
    }
    feature = {"kind": kind} | _some(draw, options)
    if draw(st.integers(1, 4)) == 1:
        feature |= {"encoding": "hash", "buckets": draw(st.integers(1, 50))}
    if kind == "categorical_list":
        separators = st.sampled_from(["|", ",", "", " "])
        feature |= _some(draw, {"separator": separators, "max_length": st.integers(1, 3)}, 2)
    return feature


def _task(draw: Draw, label: str, values: str, columns: list[str]) -> Document:
    kinds = ["binary", "multiclass", "regression", "retrieval", "count", "customer_value"]
    likely = LIKELY.get(values, "retrieval")
    kind = draw(st.sampled_from([likely] * 6 + kinds))
    conditions = st.builds(
        "`{}` {}".format,
        st.sampled_from(columns),
        st.sampled_from(
            ["== 1", "!= 'a'", "> 0", "is null", "in (1, 'a', nan)", "between 0 and 1e9"]
        ),
    )
    options: dict[str, st.SearchStrategy[Any]] = {
        "only_where": conditions,
        "weight": st.sampled_from([0.5, 3.0, 1e-6]),
        "null_values": st.lists(st.sampled_from(ODD_TEXTS), max_size=2),
    }
    own: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "binary": {"positive": st.sampled_from(["a", "1", "true", "0.50", "[/b]x"])},
        "multiclass": {"classes": st.just(["a", "b", "c"])},
        "regression": {"transform": st.sampled_from(["standardize", "log1p", "none"])},
        "retrieval": {"dim": st.integers(1, 8), "max_items": st.integers(1, 9)},
    }
    return {"kind": kind, "label": label} | _some(draw, options | own.get(kind, {}))


def _split(draw: Draw, columns: list[str]) -> Document:
    kind = draw(st.sampled_from(["fraction", "fraction", "fraction", "group", "time"]))
    share = st.sampled_from([0.1, 0.2, 0.4])
    split = {"kind": kind, "valid": draw(share), "test": draw(share)}
    if kind != "fraction":
        split["column"] = draw(st.sampled_from(columns))
    if kind == "time":
        borders = st.sampled_from([0, 3.5, "2024-01-09", "x"])
        gap = st.sampled_from([0, 1, 1e9])
        split |= _some(draw, {"valid_from": borders, "test_from": borders, "gap": gap})
    return split


@st.composite
def cases(draw: Draw) -> Case:
    """Cases, of which some are right."""
    used = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    suffix = draw(st.sampled_from(["parquet", "parquet", "csv"]))
    kinds = st.sampled_from([kind for kind in KINDS if suffix == "parquet" or kind not in NESTED])
    missing = st.sampled_from([0.0, 0.0, 0.0, 0.2, 0.9])
    columns = {name: (draw(kinds), draw(missing)) for name in used}
    columns |= {"click": ("bit", draw(missing)), "age": ("plain", 0.0)}
    roles = {name: draw(st.sampled_from(ROLES)) for name in used}
    plain = {
        name: ("plain", 0.0) for name in used if roles[name] == "weight" and draw(st.booleans())
    }
    columns |= plain
    features = {name: _feature(draw, columns[name][0]) for name in used if roles[name] == "feature"}
    features["age"] = {"kind": "numeric"} | _some(draw, {"transform": st.just("piecewise")})
    labels = [name for name in used if roles[name] == "label"]
    tasks = {
        f"t{n}": _task(draw, name, columns[name][0], list(columns)) for n, name in enumerate(labels)
    }
    tasks["click"] = {"kind": "binary"}
    data: Document = {"ignore": [n for n in used if roles[n] not in ("feature", "label", "weight")]}
    weights = [name for name in used if roles[name] == "weight"]
    data |= {"weight": weights[0]} if weights else {}
    data |= _some(draw, {"loading": st.sampled_from(["memory", "stream"])})
    data |= _some(draw, {"fit_rows": st.just(9)}, 8)
    if draw(st.booleans()):
        data["split"] = _split(draw, list(columns))
    document: Document = {
        "name": "fuzz",
        "seed": draw(st.integers(0, 3)),
        "data": data,
        "features": features,
        "tasks": tasks,
        "model": {
            "architecture": draw(st.sampled_from(ARCHITECTURES)),
            "embedding": {"dim": 2, "backend": "plain"},
            "tower": {"hidden": [3]},
        },
        "training": {"epochs": 1, "batch_size": 32, "device": "cpu", "threads": 1},
        "tracking": {"enabled": False},
    }
    rows = draw(st.sampled_from([120, 120, 120, 40, 300, 1]))
    return Case(
        columns,
        rows,
        draw(st.integers(0, 2**16)),
        suffix,
        draw(st.sampled_from([1, 1, 2])),
        document,
    )
