from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys_mtl.data.splits import SPLITS
from recsys_mtl.errors import UserError
from recsys_mtl.vision.celeba.lists import read_lists
from tests.vision.fake_celeba import ATTRIBUTES, write_celeba

TEXT = "4\nMale Young Smiling \na.jpg -1  1 -1\nb.jpg  1 -1  1\nc.jpg 1 1 1\nd.jpg -1 -1 -1 \n"
PARTS = "a.jpg 0\nb.jpg 1\nc.jpg 2\nd.jpg 0\n"
CSV = "image_id,Male,Young\na.jpg,-1,1\nb.jpg,1,-1\nc.jpg,1,1\n"
CSV_PARTS = "image_id,partition\na.jpg,0\nb.jpg,1\nc.jpg,2\n"


def write(root: Path, text: str = TEXT, parts: str = PARTS, suffix: str = "txt") -> Path:
    (root / f"list_attr_celeba.{suffix}").write_text(text, encoding="utf-8")
    (root / f"list_eval_partition.{suffix}").write_text(parts, encoding="utf-8")
    return root


def refused(root: Path, *attributes: str) -> str:
    with pytest.raises(UserError) as error:
        read_lists(root, attributes or ("Male",))
    return str(error.value)


def test_names_and_classes_of_the_requested_attributes_in_the_requested_order(
    tmp_path: Path,
) -> None:
    listed = read_lists(write(tmp_path), ("Smiling", "Male"))
    assert list(listed) == list(SPLITS)
    assert listed["train"].names == ("a.jpg", "d.jpg")
    assert listed["train"].labels.tolist() == [[0, 0], [0, 0]]
    assert listed["valid"].labels.tolist() == [[1, 1]]
    young = read_lists(tmp_path, ("Young",))
    assert [young[split].labels.tolist() for split in SPLITS] == [[[1], [0]], [[0]], [[1]]]


@pytest.mark.parametrize("end", ["\r\n", "\n\n", "  \n"])
def test_line_ends_blank_lines_and_a_mark_do_not_matter(tmp_path: Path, end: str) -> None:
    write(tmp_path, "\ufeff" + TEXT.replace("\n", end), PARTS.replace("\n", end))
    assert read_lists(tmp_path, ("Young",))["train"].labels.tolist() == [[1], [0]]


@pytest.mark.parametrize("head", ["Male Young Smiling ", "image_id Male Young Smiling"])
@pytest.mark.parametrize("count", ["", "4\n"])
@pytest.mark.parametrize("parts", [PARTS, "image_id partition\n" + PARTS])
def test_the_count_line_and_names_of_columns_may_be_there(
    tmp_path: Path, count: str, head: str, parts: str
) -> None:
    rows = TEXT.split("\n", 2)[2]
    listed = read_lists(write(tmp_path, f"{count}{head}\n{rows}", parts), ("Young", "Male"))
    assert listed["train"].names == ("a.jpg", "d.jpg")
    assert listed["train"].labels.tolist() == [[1, 0], [0, 0]]


def test_a_csv_partition_needs_no_names_of_columns(tmp_path: Path) -> None:
    write(tmp_path, CSV, CSV_PARTS.split("\n", 1)[1], "csv")
    assert read_lists(tmp_path, ("Male",))["train"].names == ("a.jpg",)


def test_the_csv_variant_is_equal(tmp_path: Path) -> None:
    for csv in (False, True):
        write_celeba(tmp_path / str(csv), csv=csv)
    text, csv_ = (read_lists(tmp_path / name, ATTRIBUTES[1:4]) for name in ("False", "True"))
    for split in SPLITS:
        assert text[split].names == csv_[split].names
        assert np.array_equal(text[split].labels, csv_[split].labels)


def test_quoted_csv(tmp_path: Path) -> None:
    quoted = "\n".join(
        ",".join(f'"{field}"' for field in line.split(",")) for line in CSV.splitlines()
    )
    listed = read_lists(write(tmp_path, quoted, CSV_PARTS, "csv"), ("Young",))
    assert [listed[split].labels.item() for split in SPLITS] == [1, 0, 1]


def test_the_order_of_the_lists_does_not_matter(tmp_path: Path) -> None:
    backwards = "\n".join(reversed(PARTS.splitlines()))
    assert read_lists(write(tmp_path, parts=backwards), ("Male",))["train"].names == (
        "a.jpg",
        "d.jpg",
    )


def test_unknown_attributes_are_reported_together(tmp_path: Path) -> None:
    lines = refused(write(tmp_path), "Yuong", "Male", "Hat", "Male").splitlines()
    assert len(lines) == 3
    assert "unknown attribute 'Yuong'" in lines[0]
    assert "did you mean 'Young'?" in lines[0]
    assert "use one of: Male, Smiling, Young" in lines[1]
    assert "'Male' is requested twice" in lines[2]
    with pytest.raises(UserError, match="no attribute"):
        read_lists(tmp_path, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "malformed head; expected a line with the distinct names of the attributes"),
        ("a.jpg -1 1\n", "malformed head; expected a line with the distinct names of the attrib"),
        ("x\nMale Young\na.jpg -1 1\n", "unknown attribute 'Male' -> use one of: x"),
        ("4\n", "malformed head"),
        ("4\na.jpg -1 1\n", "malformed head"),
        ("4\nMale Male\na.jpg -1 1\n", "distinct names"),
        (TEXT.replace("4\n", "5\n"), "incomplete list; expected 5 images"),
        (TEXT.replace("b.jpg  1", "b.jpg"), "line 4: malformed line; found 3 fields instead of 4"),
        (TEXT.replace("b.jpg  1", "b.jpg 0"), "line 4: no value of an attribute of b.jpg"),
        (TEXT.replace("d.jpg", "a.jpg"), "line 6: a duplicate image; found a.jpg"),
        (TEXT.replace("d.jpg", "../d.jpg"), "line 6: not the name of a file"),
        (TEXT.replace("d.jpg", "e.jpg"), "images without attributes; found 1, such as d.jpg"),
    ],
)
def test_broken_attributes_are_one_line(tmp_path: Path, text: str, expected: str) -> None:
    message = refused(write(tmp_path, text))
    assert expected in message
    assert "\n" not in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("", "images without a split; found 4, such as a.jpg, b.jpg"),
        (PARTS.replace("b.jpg 1", "b.jpg 3"), "line 2: no split of b.jpg; expected 0 (train)"),
        (PARTS.replace("b.jpg 1", "b.jpg"), "line 2: malformed line"),
        (PARTS.replace("b.jpg 1\n", ""), "images without a split; found 1, such as b.jpg"),
        (PARTS + "a.jpg 1\n", "line 5: a duplicate image; found a.jpg"),
        (PARTS + "z.jpg 1\n", "images without attributes; found 1, such as z.jpg"),
        (PARTS.replace("b.jpg 1", "b.jpg 2"), "no images in valid"),
    ],
)
def test_a_broken_partition_is_one_line(tmp_path: Path, parts: str, expected: str) -> None:
    message = refused(write(tmp_path, parts=parts))
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "parts", "expected"),
    [
        ("", CSV_PARTS, "malformed head; expected a line with the distinct names"),
        (CSV.split("\n", 1)[1], CSV_PARTS, "malformed head"),
        (CSV, CSV_PARTS.replace("0", "train"), "line 2: no split of a.jpg"),
        (CSV, "", "images without a split; found 3"),
        (CSV.replace("b.jpg,1,-1", "b.jpg,,-1"), CSV_PARTS, "line 3: no value of an attribute"),
        (CSV.replace(",", ";"), CSV_PARTS, "malformed head"),
    ],
)
def test_broken_csv_files(tmp_path: Path, text: str, parts: str, expected: str) -> None:
    assert expected in refused(write(tmp_path, text, parts, "csv"))


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_bytes(b"PK\x03\x04\xff\xfe")
    assert "cannot read the list" in refused(tmp_path)
