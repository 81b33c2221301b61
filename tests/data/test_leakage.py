from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from recsys_mtl.data import leakage
from recsys_mtl.data.leakage import LabelInfo, find_leaks
from recsys_mtl.data.where import parse

N = 4000
RNG = np.random.default_rng(0)
CLICK = RNG.integers(0, 2, N)
BAND = RNG.integers(0, 4, N)
SPEND = RNG.gamma(2.0, size=N)
NOISE = RNG.standard_normal(N)
TASKS = {
    "click": LabelInfo("binary", "click"),
    "band": LabelInfo("multiclass", "band"),
    "spend": LabelInfo("regression", "spend"),
    "item": LabelInfo("retrieval", "item"),
}
ITEM = RNG.integers(0, 30, N)


def leaks(kind: str, values: object, threshold: float = 0.995, **labels: object) -> list[str]:
    frame = pl.DataFrame(
        {"f": values, "click": CLICK, "band": BAND.astype(str), "spend": SPEND, "item": ITEM}
        | labels,
        strict=False,
    )
    return find_leaks(frame, {"f": kind}, TASKS, threshold)


@pytest.mark.parametrize(
    ("kind", "values", "label"),
    [
        ("numeric", CLICK + 0.1 * NOISE, "click"),
        ("numeric", -3.0 * CLICK + 0.1 * NOISE, "click"),
        ("numeric", BAND * 10.0 + NOISE, "band"),
        ("numeric", np.exp(SPEND), "spend"),
        ("numeric", -SPEND, "spend"),
        ("numeric", ITEM, "item"),
        ("categorical", np.where(CLICK, "a", "b"), "click"),
        ("categorical", (CLICK + 2 * RNG.integers(0, 50, N)).astype(str), "click"),
        ("categorical", BAND * 7, "band"),
        ("categorical", ITEM.astype(str), "item"),
        ("categorical", (SPEND * 20).astype(int), "spend"),
        ("categorical_list", [["x", str(c)] for c in CLICK], "click"),
    ],
)
def test_a_feature_that_determines_a_label_is_named(kind: str, values: object, label: str) -> None:
    threshold = 0.98 if label == "spend" and kind == "categorical" else 0.995
    warnings = leaks(kind, values, threshold)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"feature 'f' alone almost determines label '{label}' (")
    assert "data.ignore" in warnings[0]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("numeric", NOISE),
        ("numeric", CLICK + NOISE),
        ("numeric", np.zeros(N)),
        ("numeric", np.full(N, None)),
        ("categorical", [f"id{i}" for i in range(N)]),
        ("categorical", [f"id{i // 2}" for i in range(N)]),
        ("categorical", RNG.integers(0, 4, N)),
        ("categorical", np.full(N, None)),
        ("categorical_list", [[str(i)] for i in range(N)]),
    ],
)
def test_honest_features_and_ids_are_left_alone(kind: str, values: object) -> None:
    assert leaks(kind, values, 0.9) == []


def test_a_rare_label_and_an_imbalanced_class(tmp_path: object) -> None:
    rare = (np.arange(N) % 100 == 0).astype(int)
    noisy = np.where(RNG.random(N) < 0.5, rare, 0)
    assert leaks("categorical", noisy, click=rare, band=rare.astype(str)) == []
    assert len(leaks("categorical", rare, click=rare, band=rare.astype(str))) == 2


def test_being_null_is_judged_on_its_own() -> None:
    values = np.where(CLICK == 1, NOISE, np.nan)
    warnings = leaks("numeric", values)
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "feature 'f' by being null almost determines label 'click' (AUC 1.000)"
    )
    by_class = [None if b == 2 else 0.5 for b in BAND]
    assert "by being null almost determines label 'band'" in leaks("numeric", by_class)[0]
    spend = np.where(CLICK == 1, SPEND, 0.0)
    warnings = leaks("numeric", values, spend=spend)
    assert any("by being null almost determines label 'spend'" in line for line in warnings)
    scattered = np.where(RNG.random(N) < 0.5, NOISE, np.nan)
    assert leaks("numeric", scattered, 0.9) == []


def test_unlabelled_rows_and_null_values_do_not_count() -> None:
    half = np.arange(N) % 2 == 0
    feature = np.where(half, CLICK + 0.0, NOISE)
    label = [int(c) if h else None for c, h in zip(CLICK, half, strict=True)]
    assert len(leaks("numeric", feature, click=label)) == 1
    text = ["yes" if c else "no" if h else "?" for c, h in zip(CLICK, half, strict=True)]
    frame = pl.DataFrame({"f": feature, "y": text})
    with_null = {"t": LabelInfo("binary", "y", ("yes",), ("?",))}
    assert find_leaks(frame, {"f": "numeric"}, with_null, 0.995) == []
    text = ["?" if not h else "yes" if c else "no" for c, h in zip(CLICK, half, strict=True)]
    frame = pl.DataFrame({"f": feature, "y": text})
    assert len(find_leaks(frame, {"f": "numeric"}, with_null, 0.995)) == 1


@pytest.mark.parametrize("label", [np.zeros(N, dtype=int), np.full(N, None), [1] + [0] * (N - 1)])
def test_an_uninformative_label_gives_no_warning(label: object) -> None:
    assert leaks("numeric", NOISE, click=label) == []


def test_few_rows_give_no_warning() -> None:
    frame = pl.DataFrame({"f": [0.0, 1.0], "y": [0, 1]})
    assert find_leaks(frame, {"f": "numeric"}, {"t": LabelInfo("binary", "y")}, 0.9) == []


def test_a_shared_label_column_is_reported() -> None:
    frame = pl.DataFrame({"f": NOISE, "y": CLICK})
    tasks = {"a": LabelInfo("binary", "y"), "b": LabelInfo("binary", "y")}
    warnings = find_leaks(frame, {"f": "numeric"}, tasks, 0.995)
    assert len(warnings) == 1
    assert warnings[0].startswith("tasks 'a' and 'b' share the label column 'y'")


def test_auc_and_spearman_equal_the_libraries() -> None:
    clicks, spends = (np.round(label + 3 * NOISE, 1) for label in (CLICK, SPEND))
    area = roc_auc_score(CLICK, clicks)
    shown = f"'click' (AUC {np.floor(area * 1000) / 1000:.3f})"
    assert any(shown in warning for warning in leaks("numeric", clicks, 0.0))
    assert any(shown in warning for warning in leaks("numeric", -clicks, 0.0))
    correlation = spearmanr(SPEND, spends).statistic
    shown = f"'spend' (|rank correlation| {np.floor(correlation * 1000) / 1000:.3f})"
    assert any(shown in warning for warning in leaks("numeric", spends, 0.0))


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_rows_outside_the_sample_space_do_not_count(kind: str) -> None:
    """Without a click there is no purchase: in all rows the feature tells it, among clicks not."""
    clicked = np.arange(N) % 50 == 0
    buy = np.where(clicked, RNG.random(N) < 0.9, 0).astype(int)
    frame = pl.DataFrame(
        {"f": np.where(clicked, 1.0 + 0.1 * NOISE, 0.0), "y": buy, "click": clicked}
    )
    everywhere = LabelInfo(kind, "y")
    among = everywhere._replace(only_where=parse("click == 1", "tasks.t.only_where"))
    threshold = 0.9
    assert len(find_leaks(frame, {"f": "numeric"}, {"t": everywhere}, threshold)) == 1
    assert find_leaks(frame, {"f": "numeric"}, {"t": among}, threshold) == []
    both = {"all": everywhere, "clicked": among}
    assert len(find_leaks(frame, {"f": "numeric"}, both, threshold)) == 1, "no shared label"
    same = among._replace(only_where=parse("click==1", "tasks.u.only_where"))
    assert "share the label" in find_leaks(frame, {}, {"t": among, "u": same}, threshold)[0]


@pytest.mark.slow  # many trees
@pytest.mark.parametrize("threshold", [0.5001, 0.8, 0.995])
def test_no_tree_is_missed_by_looking_at_intervals_first(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes by intervals of a number, few or many, with or without noise."""
    rng = np.random.default_rng(7)
    rows, features, labels = 6_000, {}, {}
    for number, (classes, intervals, noise) in enumerate(
        [(2, 2, 0.0), (5, 20, 0.05), (12, 12, 0.3), (28, 28, 0.0), (28, 120, 0.01), (3, 3, 1.0)]
    ):
        feature = rng.lognormal(0, 2, rows) if number % 2 else rng.integers(0, 900, rows)
        edges = np.quantile(feature, np.sort(rng.random(intervals - 1)))
        label = rng.integers(0, classes, intervals)[np.searchsorted(edges, feature)]
        random = rng.random(rows) < noise
        features[f"f{number}"] = feature
        labels[f"y{number}"] = np.where(random, rng.integers(0, classes, rows), label).astype(str)
    frame = pl.DataFrame(features | labels)
    tasks = {name: LabelInfo("multiclass", name) for name in labels}
    grown = []
    usual = leakage._tree_guess
    monkeypatch.setattr(leakage, "_tree_guess", lambda *args: grown.append(1) or usual(*args))
    quick = find_leaks(frame, dict.fromkeys(features, "numeric"), tasks, threshold)
    assert len(grown) < 12
    monkeypatch.setattr(leakage, "SCREEN_ROWS", rows + 1)
    assert find_leaks(frame, dict.fromkeys(features, "numeric"), tasks, threshold) == quick
    assert quick


def test_rare_classes_in_narrow_intervals_are_found() -> None:
    """Thirty rows of 6,000: intervals of many rows would see little of them."""
    number = np.random.default_rng(0).permutation(6_000)
    label = np.full(6_000, "none")
    for start, name in ((500, "a"), (2_007, "b")):
        label[(number >= start) & (number < start + 15)] = name
    frame = pl.DataFrame({"f": number, "y": label})
    (warning,) = find_leaks(frame, {"f": "numeric"}, {"y": LabelInfo("multiclass", "y")}, 0.8)
    assert "'f' alone almost determines label 'y'" in warning


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_auc_by_cells_equals_the_score_of_each_row(kind: str, missing: float) -> None:
    """Rows scored one by one: a number itself, a category by the label's mean in the other half."""
    rng = np.random.default_rng(3)
    rows, fold = 600, np.random.default_rng(0).permutation(600) % 2 == 0
    values = rng.integers(0, 90, rows) + rng.integers(0, 2, rows) * 100
    label = (rng.random(rows) < 0.3 + 0.4 * (values > 99)).astype(float)
    label[rng.random(rows) < missing] = np.nan
    known = ~np.isnan(label)
    score = values.astype(float)
    if kind == "categorical":
        alike = (values[:, None] == values) & (fold[:, None] != fold) & known
        sizes, ones = alike.sum(1), (alike * np.nan_to_num(label)).sum(1)
        score = np.where(sizes > 0, ones / np.maximum(sizes, 1), np.nanmean(label))
    area = roc_auc_score(label[known], score[known])
    frame = pl.DataFrame({"f": values, "y": pl.Series(label).fill_nan(None)})
    tasks = {"a": LabelInfo("binary", "y"), "b": LabelInfo("binary", "y", null_values=("x",))}
    warnings = find_leaks(frame, {"f": kind}, tasks, 0.501, sampled=True)
    shown = f"(AUC {np.floor(area * 1000) / 1000:.3f}) in a sample of 600 training rows: if"
    assert sum(shown in warning for warning in warnings) == 2
    assert "sample" not in "".join(find_leaks(frame, {"f": kind}, tasks, 0.501))
