"""Vocabulary, hash buckets and integer ids: what every coder promises, and what each does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_mtl.columns.coder import Coder
from recsys_mtl.columns.hashed import HashBuckets
from recsys_mtl.columns.ids import IntegerIds
from recsys_mtl.columns.stored_vocabulary import StoredVocabulary
from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.errors import UserError

_TEXT = st.text(max_size=3).filter(lambda text: text.strip().lower() != "nan")  # missing
_TEXTS = st.lists(st.one_of(st.none(), _TEXT), min_size=1)


def _fitted(coder: Coder, *chunks: pl.Series) -> Coder:
    for chunk in chunks:
        coder.update(chunk)
    coder.finish()
    return coder


@pytest.mark.parametrize(
    "make",
    [
        lambda: Vocabulary(["?"], 2, 3),
        lambda: HashBuckets(["?"], 7, True),
        lambda: _uncounted(["?"], 7),
    ],
)
@given(train=_TEXTS, later=_TEXTS)
def test_codes_are_always_within_the_table(make, train, later):
    coder = _fitted(make(), pl.Series(train, dtype=pl.String))
    codes = coder.codes(pl.Series(later, dtype=pl.String))
    assert ((codes >= 0) & (codes < coder.rows)).all()
    texts = pl.Series(later, dtype=pl.String).str.strip_chars()
    assert ((codes == 1) == [v in (None, "", "?") for v in texts]).all()


@pytest.mark.parametrize(
    "make", [lambda: Vocabulary(["?"]), lambda: HashBuckets(["?"], 50, one_spelling=True)]
)
def test_spaces_around_do_not_count_and_a_blank_is_null(make):
    """In training as in scoring, whatever the file's format."""
    values = pl.Series([" a", "a ", "b", "", " ", None, " ? ", " 3.0", "3", "\ttrue"])
    coder = _fitted(make(), values)
    codes = dict(zip(values, coder.codes(values).tolist(), strict=True))
    assert codes[" a"] == codes["a "] == coder.codes(pl.Series(["a"]))[0] > 1
    assert {codes[v] for v in ("", " ", None, " ? ")} == {1}
    assert codes[" 3.0"] == codes["3"] == coder.codes(pl.Series([3]))[0] > 1
    assert codes["\ttrue"] == coder.codes(pl.Series([True]))[0] > 1
    assert isinstance(coder, HashBuckets) or coder.values == ["3", "a", "b", "true"]


def _uncounted(nulls: list[str], ids: int) -> IntegerIds:
    """Ids whose fit refuses nothing."""
    coder = IntegerIds(nulls, ids)
    coder.update = lambda values: None
    return coder


def _row_of_id(value: object, ids: int) -> int:
    """Slowly, one value at a time."""
    text = "" if value is None else str(value).strip()
    if text in ("", "-9", "-9.0", "nan"):
        return 1
    number = float(text) if re.fullmatch(r"-?\d+(\.\d*)?(e\d+)?", text) else -1.0
    return int(number) + 2 if number.is_integer() and 0 <= number < ids else 0


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([0, 4, 5, -1, -9, None, 2**62, 3]),
        pl.Series([0, 4, 5, None, 255], dtype=pl.UInt8),
        pl.Series([2**64 - 1, 4, None], dtype=pl.UInt64),
        pl.Series([0.0, 4.0, 4.5, float("nan"), None, 1e300, -9.0, -0.0]),
        pl.Series(["0", " 4 ", "04", "3.0", "2e0", "x", "", None, "-9", "1.5", str(10**30), "-1"]),
    ],
)
def test_an_id_is_its_row_and_all_else_is_unknown(values):
    coder = IntegerIds(["-9"], ids=5)
    expected = [_row_of_id(value, 5) for value in values]
    assert coder.codes(values).tolist() == expected
    assert Coder.from_dict(json.loads(json.dumps(coder.to_dict()))) == coder
    assert coder.rows == 7


def test_ids_out_of_range_are_warned_of_and_a_table_of_none_is_refused():
    coder = _fitted(IntegerIds([], ids=4), pl.Series([0, 1, 2, None]), pl.Series([3, 0, 7, 0, 1]))
    expected = "12 % of the ids are unknown: no integers from 0 to 3, such as 7"
    assert coder.warning() == expected
    coder.finish()
    assert coder.warning() == "", "once a table"
    with pytest.raises(UserError, match="no id with a row; expected integers from 0 to 3"):
        _fitted(IntegerIds([], ids=4), pl.Series(["a", "b", None]))
    assert _fitted(IntegerIds([], ids=4), pl.Series([None, None])).rows == 6


def test_ids_of_two_tables_are_matched_by_the_id():
    small, large = IntegerIds([], ids=2), IntegerIds([], ids=4)
    assert small.same_rows(large).tolist() == [0, 1, 2, 3]
    assert large.same_rows(small).tolist() == [0, 1, 2, 3, -1, -1]
    with pytest.raises(ValueError, match="cannot be matched"):
        small.same_rows(Vocabulary([]))


def test_an_older_vocabulary_keeps_its_padded_categories():
    older = Vocabulary([], values=[" a", "a", ""])
    assert older.codes(pl.Series([" a", "a", "", "b"])).tolist() == [2, 3, 4, 0]


@pytest.mark.parametrize("make", [lambda: Vocabulary(["0"]), lambda: HashBuckets(["0"], 5)])
def test_null_values_also_match_numbers(make):
    coder = _fitted(make(), pl.Series([0, 1]))
    assert coder.codes(pl.Series([0])).tolist() == [1]
    assert coder.codes(pl.Series([0.0])).tolist() == [1]
    assert coder.codes(pl.Series([1])).tolist() != [1]


def test_vocabulary_keeps_frequent_values_ties_by_text():
    values = pl.Series(["c", "b", "b", "a", "a", "d", "d", "d", None, None])
    assert _fitted(Vocabulary([]), values).values == ["d", "a", "b", "c"]
    assert _fitted(Vocabulary([], min_count=2), values).values == ["d", "a", "b"]
    coder = _fitted(Vocabulary([], max_size=2), values)
    assert coder.values == ["d", "a"]
    assert coder.rows == 4
    assert coder.codes(values.unique(maintain_order=True)).tolist() == [0, 0, 3, 2, 1]


def test_weights_order_a_vocabulary_but_min_count_counts_rows():
    coder = Vocabulary([], min_count=2)
    coder.update(pl.Series(["a", "b", "b"]), np.array([100.0, 1.0, 1.0]))
    coder.update(pl.Series(["c", "c", None]), np.array([0.5, 2.0, 9.0]))
    coder.finish()
    assert coder.values == ["c", "b"]


@pytest.mark.parametrize(
    ("once", "others", "chosen"), [(1, 99, 2), (1, 100, 1), (0, 5, 1), (3, 0, 2), (0, 0, 1)]
)
def test_min_count_by_the_share_of_rows_seen_once(once, others, chosen):
    values = [*(f"v{n}" for n in range(once)), *["many"] * others, None, None]
    coder = _fitted(Vocabulary([], min_count=0), pl.Series(values, dtype=pl.String))
    assert coder.min_count == chosen
    assert len(coder.values) == (others > 0) + once * (chosen == 1)
    assert Coder.from_dict(json.loads(json.dumps(coder.to_dict()))) == coder


def test_unknown_rates_count_rows_whatever_their_weight():
    coder = Vocabulary(["?"])
    coder.update(pl.Series(["a", "b", "b", None]), np.array([9.0, 1.0, 1.0, 1.0]))
    coder.update(pl.Series(["b", "c", "?"]), np.array([1.0, 2.0, 1.0]))
    coder.finish()
    assert coder.values == ["a", "b", "c"]
    expected = [0, 0, 0.25 / 1.25, 0.25 / 3.25, 0.25 / 1.25]
    np.testing.assert_allclose(coder.unknown_rates(0.25), expected, rtol=1e-6)
    assert Coder.from_dict(coder.to_dict()) == coder


def test_vocabulary_of_nothing_but_null():
    coder = _fitted(Vocabulary([]), pl.Series([None, None]))
    assert coder.rows == 2
    assert coder.codes(pl.Series(["a", None])).tolist() == [0, 1]


_ODD = ["1.50", "1.5", "a", "b", "true", "1e3", "7", "-3", str(10**20), "2024-01-31 10:00", " a"]
_ODD += ["nan", "04", "-0", "3.0", "?", "5", None, *["7", "b"] * 3]
_READ = st.one_of(st.none(), _TEXT, st.sampled_from(["1.500", "15e-1", "1000", "TRUE", "5.0"]))
_LATER = [
    pl.Series([*_ODD, "1.500", "15e-1", "1000", "TRUE", "2024-01-31T10:00:00.0", "5.0", "x", "05"]),
    pl.Series([1, 5, 7, -3, 1000, 0, None, 2**62, -(2**63)]),
    pl.Series([7, 5, 255, None], dtype=pl.UInt8),
    pl.Series([2**64 - 1, 7, 10], dtype=pl.UInt64),
    pl.Series([1.5, 1000.0, float("nan"), None, -0.0]),
    pl.Series([True, False, None]),
    pl.Series(["b", "x", None], dtype=pl.Categorical),
    pl.Series([None, None]),
    pl.Series([], dtype=pl.Int64),
    pl.Series([], dtype=pl.String),
]


@pytest.mark.parametrize(
    ("nulls", "settings", "spilled_from"),
    [(["?"], (1, None), 10**6), (["5e0", "5", "1"], (0, None), 16), (["5"], (2, 3), 10**6)],
)
def test_a_vocabulary_in_a_file_is_the_one_in_memory(nulls, settings, spilled_from, monkeypatch):
    """Ids, counts, growth and matched rows, of any spelling and type."""
    monkeypatch.setattr("recsys_mtl.columns.spilled_counts._SPILLED_FROM", spilled_from)
    memory, stored = Vocabulary(nulls, *settings), StoredVocabulary(nulls, *settings)
    for coder in (memory, stored):
        _fitted(coder, pl.Series(_ODD), pl.Series([7, 8, 8, None]), pl.Series([8.0, 1e300]))
    older = Vocabulary(nulls, values=["a", "zz", "8"])
    for grow in (False, True):
        if grow:
            memory.grow(older)
            stored.grow(StoredVocabulary.of(older, 1))
        assert stored.texts().to_list() == list(stored.names) == memory.values
        assert stored.min_count == memory.min_count
        assert stored.row_counts().tolist() == memory.counts
        for values in _LATER:
            assert stored.codes(values).tolist() == memory.codes(values).tolist(), values
    for one, other in [(older, memory), (memory, older), (older, stored), (stored, older)]:
        expected = (memory if one is stored else one).same_rows(
            memory if other is stored else other
        )
        assert one.same_rows(other).tolist() == expected.tolist()


@given(train=st.lists(_READ, max_size=9), later=st.lists(_READ, max_size=9))
@settings(max_examples=10)
def test_any_texts_have_the_codes_of_memory(train, later):
    memory = _fitted(Vocabulary(["?"]), pl.Series(train, dtype=pl.String))
    values = pl.Series(later, dtype=pl.String)
    assert StoredVocabulary.of(memory, 0).codes(values).tolist() == memory.codes(values).tolist()


def test_texts_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(texts: pl.Series) -> Any:
        return np.zeros(len(texts), np.uint64)

    for module in ("sorted_keys", "stored_vocabulary"):
        monkeypatch.setattr(f"recsys_mtl.columns.{module}.hashed", same)
    coder = StoredVocabulary.of(Vocabulary([], values=["a", "b", "c"]), 0)
    assert coder.codes(pl.Series(["c", "x", "a", "b", "c", None])).tolist() == [4, 0, 2, 3, 4, 1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "-texts.arrow: file of a vocabulary is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:99]), "-texts.arrow: .* cannot be read"),
        (lambda path: path.write_bytes(b"PAR1" * 99), "-texts.arrow: .* cannot be read"),
        (
            lambda path: path.write_bytes(
                path.with_name("vocabulary-0-integers.arrow").read_bytes()
            ),
            "-texts.arrow: .* cannot be read; found other columns",
        ),
    ],
)
def test_a_damaged_file_of_a_vocabulary_is_one_line(tmp_path, damage, message):
    coder = StoredVocabulary.of(Vocabulary([], values=["a", "7"]), 0)
    for name, path in coder.files.items():
        (tmp_path / name).write_bytes(path.read_bytes())
    other = Coder.from_dict(json.loads(json.dumps(coder.to_dict())))
    other.open(tmp_path)
    assert other == coder
    other.size = 3
    with pytest.raises(UserError, match="file of another vocabulary; expected 3 values; found 2"):
        other.open(tmp_path)
    damage(tmp_path / "vocabulary-0-texts.arrow")
    with pytest.raises(UserError, match=message):
        other.open(tmp_path)


@pytest.mark.slow  # a million values
def test_vocabulary_of_a_million_values_is_stored_and_restored_in_seconds():
    ids = np.arange(1_000_000) * 7 + 10**12
    coder = _fitted(Vocabulary([]), pl.Series(ids))
    restored = Coder.from_dict(json.loads(json.dumps(coder.to_dict())))
    assert restored == coder
    assert sorted(restored.codes(pl.Series(ids)).tolist()) == list(range(2, 1_000_002))


@pytest.mark.slow  # a fresh process
def test_hash_is_the_same_for_every_type_and_in_another_process():
    coder = HashBuckets([], 1000)
    codes = coder.codes(pl.Series([3, 40])).tolist()
    assert coder.codes(pl.Series(["3", "40"])).tolist() == codes
    assert coder.codes(pl.Series([3.0, 40.0])).tolist() == codes
    program = (
        "import polars as pl; from recsys_mtl.columns.hashed import HashBuckets as H;"
        "print(H([], 1000).codes(pl.Series(['3', '40'])).tolist())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(other.stdout) == codes == [611, 749]


def test_state_of_another_class_is_refused():
    with pytest.raises(TypeError, match="Vocabulary"):
        Vocabulary.from_dict(HashBuckets([], 3).to_dict())
