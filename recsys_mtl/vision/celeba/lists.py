"""The two lists of CelebA: the attributes of each image, and its split.

Shapes: N images, T requested attributes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys_mtl.data.splits import SPLITS, SplitName
from recsys_mtl.errors import Problem, UserError, did_you_mean, wrong
from recsys_mtl.vision.celeba.layout import find_list

Labels = NDArray[np.int8]
_CLASSES = {"-1": 0, "1": 1}
_PARTS: dict[str, SplitName] = {str(number): split for number, split in enumerate(SPLITS)}


@dataclass(frozen=True)
class Listed:
    """The images of a split in the lists.

    Attributes:
        names: of the N files, sorted.
        labels: (N, T) 0 no, 1 yes.
    """

    names: tuple[str, ...]
    labels: Labels

    def first(self, count: int | None) -> Listed:
        """At most that many of the images, by name; None: all."""
        return Listed(self.names[:count], self.labels[:count])

    def present(self, files: Container[str]) -> Listed:
        """The images that are among the files."""
        rows = [row for row, name in enumerate(self.names) if name in files]
        return Listed(tuple(self.names[row] for row in rows), self.labels[rows])


def read_lists(
    root: Path, attributes: Sequence[str], splits: Sequence[SplitName] = SPLITS
) -> dict[SplitName, Listed]:
    """The images of each of the splits with the requested attributes.

    Raises:
        UserError: a list is missing or broken, an attribute is not in it, the lists name other
            images, or a split has none.
    """
    labels = _labels(find_list(root, "list_attr_celeba"), attributes)
    partition = find_list(root, "list_eval_partition")
    parts = _parts(partition)
    for what, absent in (
        ("attributes", parts.keys() - labels.keys()),
        ("a split", labels.keys() - parts.keys()),
    ):
        if absent:
            examples = f"{len(absent)}, such as {', '.join(sorted(absent)[:5])}"
            raise wrong(f"images without {what}", where=str(root), found=examples)
    listed = {}
    for split in splits:
        names = tuple(sorted(name for name, part in parts.items() if part == split))
        if not names:
            raise wrong(f"no images in {split}", where=str(partition))
        listed[split] = Listed(names, np.array([labels[name] for name in names], dtype=np.int8))
    return listed


def _labels(path: Path, attributes: Sequence[str]) -> dict[str, list[int]]:
    """Classes of the requested attributes, by image."""
    rows = _rows(path)
    known, count = _head(path, rows)
    columns = [known.index(name) + 1 for name in _checked(path, attributes, known)]
    labels: dict[str, list[int]] = {}
    for number, fields in rows:
        _check_row(path, number, fields, 1 + len(known), labels)
        try:
            labels[fields[0]] = [_CLASSES[fields[column]] for column in columns]
        except KeyError as error:
            raise wrong(
                f"no value of an attribute of {fields[0]}",
                where=f"{path}: line {number}",
                expected="-1 or 1",
                found=f"'{error.args[0]}'",
            ) from error
    if count is not None and count != len(labels):
        raise wrong(
            "incomplete list",
            where=str(path),
            expected=f"{count} images, as in its first line",
            found=f"{len(labels)} images",
            fix="download it again",
        )
    return labels


def _parts(path: Path) -> dict[str, SplitName]:
    """The split of each image."""
    parts: dict[str, SplitName] = {}
    for number, fields in _rows(path):
        if number == 1 and not _is_image(fields[0]):
            continue  # names of the columns
        _check_row(path, number, fields, 2, parts)
        if fields[1] not in _PARTS:
            raise wrong(
                f"no split of {fields[0]}",
                where=f"{path}: line {number}",
                expected="0 (train), 1 (valid) or 2 (test)",
                found=f"'{fields[1]}'",
            )
        parts[fields[0]] = _PARTS[fields[1]]
    return parts


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong("cannot read the list", where=str(path), found=error) from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if path.suffix == ".csv":
            yield number, [field.strip().strip('"') for field in line.split(",")]
        else:
            yield number, line.split()


def _head(path: Path, rows: Iterator[tuple[int, list[str]]]) -> tuple[list[str], int | None]:
    """Names of the attributes, and the number of images where the first line has it."""
    head = [next(rows, (0, [""]))[1]]
    counted = len(head[0]) == 1 and head[0][0].isdecimal()
    if counted:
        head.append(next(rows, (0, [""]))[1])
    first, *others = head[-1]
    labelled = path.suffix == ".csv" or first == "image_id"
    names = others if labelled else [first, *others]
    is_row = any(_is_image(name) for name in head[-1])
    if not any(names) or is_row or len(set(names)) < len(names):
        raise wrong(
            "malformed head",
            where=str(path),
            expected="a line with the distinct names of the attributes, after the number of images "
            "or in the first line",
            found=" / ".join(" ".join(fields)[:60] for fields in head).strip(" /") or "nothing",
        )
    return names, int(head[0][0]) if counted else None


def _is_image(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg", ".png"))


def _checked(path: Path, attributes: Sequence[str], known: list[str]) -> Sequence[str]:
    """The same attributes, where the list has each of them and none is requested twice."""
    if not attributes:
        raise wrong("no attribute", where=str(path), expected="at least one requested attribute")
    problems = [
        Problem(f"unknown attribute '{name}'", str(path), fix=did_you_mean(name, known))
        for name in attributes
        if name not in known
    ]
    twice = sorted({name for name in attributes if list(attributes).count(name) > 1})
    problems += [Problem(f"attribute '{name}' is requested twice", str(path)) for name in twice]
    if problems:
        raise UserError(*problems)
    return attributes


def _check_row(
    path: Path, number: int, fields: list[str], width: int, before: Container[str]
) -> None:
    name = fields[0]
    if len(fields) != width:
        what, value = "malformed line", f"{len(fields)} fields instead of {width}"
    elif not name or "/" in name or "\\" in name:
        what, value = "not the name of a file", f"'{name}'"
    elif name in before:
        what, value = "a duplicate image", name
    else:
        return
    raise wrong(what, where=f"{path}: line {number}", found=value)
