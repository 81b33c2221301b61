from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_mtl.data.source import Source
from recsys_mtl.errors import UserError


def write(path: Path, columns: dict[str, object], **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)


def open_(root: Path, paths: str | list[str], **options: object) -> Source:
    return Source.open(paths, root=root, where="c.yaml: data.path", **options)


def read(source: Source, columns: list[str], **options: int) -> pl.DataFrame:
    return pl.concat([frame for _, frame in source.frames(columns, **options)])


def message(root: Path, paths: str | list[str], **options: object) -> str:
    def read_all() -> None:
        source = open_(root, paths, **options)
        read(source, list(source.columns))

    with pytest.raises(UserError) as error:
        read_all()
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("c.yaml: data.path")
    return str(error.value)


# --- rows and order


def test_frames_keep_the_order_whatever_the_chunks_and_formats(tmp_path: Path) -> None:
    rows = np.arange(1000)
    write(tmp_path / "p/b.parquet", {"x": rows[600:], "s": rows[600:].astype(str)})
    write(
        tmp_path / "p/a.parquet", {"x": rows[:600], "s": rows[:600].astype(str)}, row_group_size=70
    )
    pl.DataFrame({"x": rows, "s": rows.astype(str)}).write_csv(tmp_path / "c.csv")
    for path in ("p", "c.csv"):
        source = open_(tmp_path, path, text_columns={"s"})
        assert source.num_rows == 1000
        for chunk_rows in (1, 37, 100_000):
            position = 0
            for first, frame in source.frames(["s", "x"], chunk_rows=chunk_rows):
                assert first == position
                assert 0 < frame.height <= chunk_rows
                assert frame.columns == ["s", "x"]
                assert frame["x"].to_list() == list(range(first, first + frame.height))
                assert frame["s"].to_list() == [str(i) for i in frame["x"]]
                position += frame.height
            assert position == 1000


@pytest.mark.parametrize("skip", [0, 1, 69, 70, 71, 599, 600, 601, 999, 1000, 2000])
def test_a_later_start_gives_the_same_rows(tmp_path: Path, skip: int) -> None:
    rows = np.arange(1000)
    write(tmp_path / "p/a.parquet", {"x": rows[:600]}, row_group_size=70)
    write(tmp_path / "p/b.parquet", {"x": rows[600:]})
    (tmp_path / "c").mkdir()
    pl.DataFrame({"x": rows[:600]}).write_csv(tmp_path / "c/a.csv")
    pl.DataFrame({"x": rows[600:]}).write_csv(tmp_path / "c/b.csv")
    for path in ("p", "c"):
        frames = list(open_(tmp_path, path).frames(["x"], chunk_rows=50, skip_rows=skip))
        got = [(first, frame["x"].to_list()) for first, frame in frames]
        assert [x for _, part in got for x in part] == list(range(skip, 1000))
        assert all(part[0] == first for first, part in got)


def test_hive_partitions_become_columns(tmp_path: Path) -> None:
    write(tmp_path / "d/month=01/shop=a/f.parquet", {"x": [1.0, 2.0]})
    write(tmp_path / "d/month=02/shop=__HIVE_DEFAULT_PARTITION__/f.parquet", {"x": [3.0]})
    source = open_(tmp_path, "d")
    assert source.columns == {"x": pa.float64(), "month": pa.int64(), "shop": pa.large_string()}
    assert read(source, ["month", "shop", "x"]).rows() == [
        (1, "a", 1.0),
        (1, "a", 2.0),
        (2, None, 3.0),
    ]
    assert read(source, ["month"])["month"].to_list() == [1, 1, 2], "no stored column asked for"


def test_a_column_of_the_file_wins_over_its_partition(tmp_path: Path) -> None:
    write(tmp_path / "d/x=1/f.parquet", {"x": [7.5]})
    assert read(open_(tmp_path, "d"), ["x"])["x"].to_list() == [7.5]


# --- types


def test_encoded_text_comes_out_as_text(tmp_path: Path) -> None:
    text = pa.array(["u", None, "w"])
    lists = pa.array([["u"], [], ["w", "u"]])
    categories = pl.Series(["u", None, "w"], dtype=pl.Categorical).to_arrow()
    columns = {"d": text.dictionary_encode(), "v": text.cast(pa.string_view()), "c": categories}
    write(
        tmp_path / "a.parquet", columns | {"l": lists, "n": pa.array([3, 4, 3]).dictionary_encode()}
    )
    source = open_(tmp_path, "a.parquet")
    assert source.columns["d"] == source.columns["v"] == pa.large_string()
    frame = read(source, ["d", "v", "c", "l", "n"])
    assert frame.schema["d"] == frame.schema["v"] == frame.schema["c"] == pl.String
    assert frame.schema["l"] == pl.List(pl.String)
    assert frame["d"].to_list() == frame["v"].to_list() == frame["c"].to_list() == ["u", None, "w"]
    assert frame["n"].to_list() == [3, 4, 3]


def test_harmless_differences_between_files_are_unified(tmp_path: Path) -> None:
    text = pa.array(["a"])
    moment = pa.array([datetime(2024, 1, 1)])
    write(
        tmp_path / "d/1.parquet",
        {
            "i": pa.array([1], pa.int32()),
            "f": pa.array([1.0], pa.float32()),
            "s": text,
            "z": pa.nulls(1),
            "l": pa.array([[1]], pa.list_(pa.int32())),
            "t": moment.cast(pa.timestamp("ms")),
        },
    )
    write(
        tmp_path / "d/2.parquet",
        {
            "t": moment.cast(pa.timestamp("us")),
            "s": text.dictionary_encode(),
            "f": pa.array([2.0], pa.float64()),
            "i": pa.array([2], pa.int64()),
            "z": pa.array([2.0]),
            "l": pa.array([[2]], pa.large_list(pa.int64())),
        },
    )
    write(
        tmp_path / "d/3.parquet",
        {
            "i": pa.array([3], pa.int16()),
            "f": pa.array([3.0], pa.float32()),
            "s": text.cast(pa.large_string()),
            "z": pa.array([3.0]),
            "l": pa.array([[3]], pa.list_(pa.int64())),
            "t": moment.cast(pa.timestamp("ms")),
        },
    )
    source = open_(tmp_path, "d")
    assert source.columns["i"] == pa.int64()
    assert source.columns["f"] == pa.float64()
    frame = read(source, ["i", "f", "s", "z", "l", "t"])
    assert frame["i"].to_list() == [1, 2, 3]
    assert frame["s"].to_list() == ["a", "a", "a"]
    assert frame["z"].to_list() == [None, 2.0, 3.0]
    assert frame["l"].to_list() == [[1], [2], [3]]
    assert frame["t"].n_unique() == 1


def test_csv_types_declared_and_inferred(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'id,zip,x,day,ok,note\n1,01234,1,2024-01-02,true,"a\nb"\n2,,NA,2024-01-03,false,NA\n'
    )
    source = open_(tmp_path, "a.csv", text_columns={"zip", "note", "absent"}, number_columns={"x"})
    assert source.columns["x"] == pa.float64()
    frame = read(source, list(source.columns))
    assert frame["zip"].to_list() == ["01234", None], "an empty field is null"
    assert frame["note"].to_list() == ["a\nb", "NA"], "NA is text (Namibia)"
    assert frame["x"].to_list() == [1.0, None]
    assert frame.schema["day"] == pl.Date
    assert frame.schema["ok"] == pl.Boolean
    assert frame.schema["id"] == pl.Int64


def test_types_inferred_from_several_csv_files_are_merged(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,z\n1,1,\n")
    (tmp_path / "b.csv").write_text("x,y,z\n1.5,u,3\n")
    frame = read(open_(tmp_path, "*.csv"), ["x", "y", "z"])
    assert frame.rows() == [(1.0, "1", None), (1.5, "u", "3")]


# --- mistakes


def test_broken_parquet_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "d/good.parquet", {"x": np.arange(10_000.0)})
    content = (tmp_path / "d/good.parquet").read_bytes()
    for broken in (content[:-100], b"", b"no parquet at all", content[:8] + content[-8:]):
        (tmp_path / "d/bad.parquet").write_bytes(broken)
        text = message(tmp_path, "d")
        assert "bad.parquet" in text
        assert "expected a whole Parquet file" in text


def test_a_page_damaged_inside_is_detected_while_streaming(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"x": np.random.default_rng(0).integers(0, 9, 10_000)})
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[10:300] = b"\xff" * 290
    (tmp_path / "a.parquet").write_bytes(content)
    assert "cannot read" in message(tmp_path, "a.parquet")


def test_columns_that_differ_are_named_with_both_files(tmp_path: Path) -> None:
    write(tmp_path / "d/1.parquet", {"x": [1], "y": ["a"], "same": [1.0]})
    write(tmp_path / "d/2.parquet", {"x": ["b"], "same": [1.0], "more": [1]})
    text = message(tmp_path, "d")
    folder = tmp_path / "d"
    assert f"'x' (int64 in '{folder}/1.parquet', large_string in '{folder}/2.parquet')" in text
    assert f"'y' (large_string in '{folder}/1.parquet', missing in '{folder}/2.parquet')" in text
    assert f"'more' (int64 in '{folder}/2.parquet', missing in '{folder}/1.parquet')" in text
    assert "same'" not in text
    assert read(open_(tmp_path, "d"), ["same"])["same"].to_list() == [1.0, 1.0], "nobody reads them"


def test_a_partition_that_only_some_files_have_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "d/k=1/1.parquet", {"x": [1]})
    write(tmp_path / "d/z/2.parquet", {"x": [1]})
    assert "'k' (int64 in " in message(tmp_path, "d")


def test_duplicate_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table([[1], [2], [3]], names=["a", "b", "a"]), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("b,a,c,b\n1,2,3,4\n")
    assert "duplicate column name" in message(tmp_path, "a.parquet")
    assert "found 'b'" in message(tmp_path, "a.csv")


def test_a_column_without_a_name_cannot_be_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"": [1, 2], "a": [3, 4]}), tmp_path / "rows.parquet")
    source = Source.open("rows.parquet", root=tmp_path)
    assert source.unread == {"": "it has no name"}
    ((_, frame),) = source.frames(["a"])
    assert frame["a"].to_list() == [3, 4]
    with pytest.raises(UserError, match="'' \\(it has no name\\)"):
        source.frames([""])


def test_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"x": pa.array([], pa.int64())})
    (tmp_path / "a.csv").write_text("x,y\n")
    (tmp_path / "b.csv").write_text("")
    for name in ("a.parquet", "a.csv"):
        assert "no rows in" in message(tmp_path, name)
    assert "b.csv" in message(tmp_path, "b.csv")
    write(tmp_path / "b.parquet", {"x": [1]})
    assert open_(tmp_path, "*.parquet").num_rows == 1, "one empty file among others is fine"


@pytest.mark.parametrize("rows", [10, 1_000_000])
def test_a_csv_value_that_is_no_number_is_named(tmp_path: Path, rows: int) -> None:
    lines = ["a,b,x", *["1,2,3.5"] * rows, "1,2,3 EUR"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    text = message(tmp_path, "a.csv", number_columns={"x"})
    assert "column 'x' of" in text
    assert "a.csv" in text
    assert "found '3 EUR'" in text
    assert "expected a number" in text


def test_the_named_csv_column_is_right_when_few_are_read(tmp_path: Path) -> None:
    lines = ["a,b,x", *["1,2,3.5"] * 600_000, "1,2,bad"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    source = open_(tmp_path, "a.csv", number_columns={"x"})
    with pytest.raises(UserError, match="column 'x' of"):
        list(source.frames(["x"]))


def test_malformed_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3\n")
    (tmp_path / "b.csv").write_bytes(b"a,b\n1,\xff\xfe\n")
    assert "Expected 2 columns, got 3" in message(tmp_path, "a.csv")
    assert "column 'b' of" in message(tmp_path, "b.csv")


def test_an_unknown_column_is_reported_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"click": [1]})
    with pytest.raises(UserError, match="did you mean 'click'"):
        open_(tmp_path, "a.parquet").frames(["clik"])


# --- memory


def test_streaming_takes_little_of_a_big_row_group(tmp_path: Path) -> None:
    rows = 400_000
    rng = np.random.default_rng(0)
    columns = {f"x{i}": rng.standard_normal(rows) for i in range(20)}
    write(tmp_path / "a.parquet", columns, row_group_size=rows, use_dictionary=False)
    source = open_(tmp_path, "a.parquet")
    del columns
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        frames = source.frames(list(source.columns), chunk_rows=10_000)
        total = sum(frame.estimated_size() for _, frame in frames)
    finally:
        pa.set_memory_pool(usual)
    assert total == rows * 20 * 8
    assert 0 < pool.max_memory() < total / 3
