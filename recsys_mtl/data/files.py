"""From the paths of a config to a sorted list of data files, and their fingerprint."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Literal
from urllib.parse import unquote

from recsys_mtl.errors import UserError, did_you_mean, prefixed, wrong
from recsys_mtl.storage.location import Location, is_uri, located, relative
from recsys_mtl.storage.remote_path import RemotePath, matches
from recsys_mtl.text import is_utf8

_PACKED = (".gz", ".bz2", ".zst")
Format = Literal["parquet", "csv"]
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq", ".parq"),
    "csv": tuple(kind + packed for kind in (".csv", ".tsv") for packed in ("", *_PACKED)),
}
BY_NAME = tuple(".txt" + packed for packed in ("", *_PACKED)) + _PACKED
"""Suffixes of CSV files that may be others' too: in a folder they count with `format: csv`."""
WHOLE_BYTES = 64 << 20
EDGE_BYTES = 1 << 20
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class DataFile:
    """One file: where it is, its name relative to the root, its format and its partition values."""

    path: Location
    name: str
    format: Format
    partitions: dict[str, str | None] = field(default_factory=dict)


def find_files(
    paths: str | list[str], *, root: Location, fmt: Literal["auto", "parquet", "csv"], where: str
) -> tuple[DataFile, ...]:
    """The data files of files, folders and globs, each once, sorted by path.

    In folders and globs, names that start with `_` or `.` are skipped, and so are files of other
    suffixes (with an explicit format, files without a suffix are included). Folders `key=value`
    below the root (or anywhere in a path outside of it) are partition values.

    Args:
        paths: file, folder, glob (`**` for any depth), or a list of those; paths or URIs.
        root: folder that relative ones start from.
        fmt: format of the files; auto uses the suffix; an unknown one means Parquet.
        where: the path in the config, for messages.

    Raises:
        UserError: a path matches nothing, Parquet and CSV are mixed, or a store refuses.
    """
    files: dict[Location, None] = {}
    for text in [paths] if isinstance(paths, str) else paths:
        files.update(dict.fromkeys(_expand(text, root=root, fmt=fmt, where=where)))
    if odd := [str(path) for path in files if not is_utf8(str(path))]:
        raise wrong("a name that is not UTF-8", where=where, found=odd[0], fix="rename it")
    if not files:
        raise wrong("no path given", where=where, expected="a file, folder or glob")
    formats = {path: _format(path) if fmt == "auto" else fmt for path in files}
    by_format = {kind: path for path, kind in formats.items()}
    if len(by_format) > 1:
        names = " and ".join(f"'{path}'" for path in sorted(by_format.values()))
        raise wrong(f"Parquet and CSV files together: {names}", where=where, fix="give one kind")
    ordered = sorted(files, key=lambda path: (isinstance(path, RemotePath), path))
    return tuple(_data_file(path, root, formats[path]) for path in ordered)


def would_find(
    paths: str, file: Location, *, root: Location, fmt: Literal["auto", "parquet", "csv"]
) -> bool:
    """Whether `find_files` would find a file of that name, were it there."""
    path = located(paths, root)
    base, patterns = (path, ()) if path.exists() else _fixed(paths, root)
    file, base = file.resolve(), base.resolve()
    below = relative(file, base)
    if below is None or not _visible(file, base):
        return False
    if patterns and matches(below.parts, patterns):
        return True
    folders = [below.parts[:depth] for depth in range(len(below.parts))]
    return _is_data(file, fmt) and any(matches(names, patterns) for names in folders)


def fingerprint(files: Iterable[DataFile]) -> str:
    """Hex SHA-256 over the names, sizes and content of the files.

    Up to 64 MiB in all, the full content; beyond, the first and the last MiB of every file, with
    the full Parquet footer, whose sizes and statistics of columns seldom survive a change. A large
    CSV changed in its middle without a change of size keeps its fingerprint.
    """
    sizes = [(file, file.path.stat().st_size) for file in files]
    complete = sum(size for _, size in sizes) <= WHOLE_BYTES
    digest = hashlib.sha256()
    for file, size in sizes:
        digest.update(f"{file.name}\0{size}\0".encode())
        with file.path.open("rb") as stream:
            if complete:
                digest.update(stream.read())
                continue
            digest.update(stream.read(EDGE_BYTES))
            stream.seek(max(size - 8, 0))
            footer = int.from_bytes(stream.read(4), "little") if file.format == "parquet" else 0
            stream.seek(max(size - max(EDGE_BYTES, footer + 8), 0))
            digest.update(stream.read())
    return digest.hexdigest()


def _expand(text: str, *, root: Location, fmt: str, where: str) -> list[Location]:
    """The files that one path means; at least one."""
    with prefixed(where):
        path = located(text, root)
        there = path.exists()
        matches = [path] if there else _glob(text, root) if glob.has_magic(text) else []
        files = [file for match in matches for file in _files_of(match, fmt)]
        if not (there or glob.has_magic(text)):
            raise _missing(path, root)
    if not files:
        raise wrong(
            f"no data files at '{path}'",
            where=where,
            expected="files ending in " + ", ".join(_suffixes(fmt)),
            fix="names that start with _ or . are skipped; .txt and .gz need data.format: csv; "
            "relative paths start at data.root",
        )
    return files


def _glob(text: str, root: Location) -> list[Location]:
    """The visible files and folders that match a glob."""
    base, names = _fixed(text, root)
    if isinstance(base, RemotePath):
        found: list[Location] = [*base.glob("/".join(names))]
    else:
        pattern = Path(glob.escape(str(base)), *names)
        found = [Path(match) for match in glob.glob(str(pattern), recursive=True)]
    return [path for path in found if _visible(path, base)]


def _fixed(text: str, root: Location) -> tuple[Location, tuple[str, ...]]:
    """The part of a path before the first glob, and the names from there on."""
    start = located(text, root)
    if isinstance(start, RemotePath):
        root, names = RemotePath(start.store), start.parts
    else:
        names = (start if is_uri(text) else Path(text).expanduser()).parts
    fixed = list(takewhile(lambda part: not glob.has_magic(part), names))
    return root.joinpath(*fixed), names[len(fixed) :]


def _files_of(path: Location, fmt: str) -> list[Location]:
    return [path] if path.is_file() else _folder(path, fmt)


def _folder(folder: Location, fmt: str) -> list[Location]:
    """The visible data files below a folder."""
    return [
        path
        for path in folder.rglob("*")
        if _is_data(path, fmt) and path.is_file() and _visible(path, folder)
    ]


def _is_data(path: Location, fmt: str) -> bool:
    """Whether a name counts in a folder."""
    return path.name.lower().endswith(_suffixes(fmt)) or (fmt != "auto" and not path.suffix)


def _suffixes(fmt: str) -> tuple[str, ...]:
    known = tuple(s for kind, group in SUFFIXES.items() if fmt in ("auto", kind) for s in group)
    return known + (BY_NAME if fmt == "csv" else ())


def _visible(path: Location, base: Location) -> bool:
    below = relative(path, base)
    assert below is not None
    return not any(part.startswith(("_", ".")) for part in below.parts)


def _format(path: Location) -> Format:
    return "csv" if path.name.lower().endswith(SUFFIXES["csv"] + BY_NAME) else "parquet"


def _data_file(path: Location, root: Location, fmt: Format) -> DataFile:
    inside = relative(path, root)
    below = PurePath(*path.parts) if inside is None else inside
    pairs = [part.split("=", 1) for part in below.parent.parts if re.match(r"[^=]+=", part)]
    values = {unquote(key): unquote(value) for key, value in pairs}
    partitions = {k: None if v == _NULL_PARTITION else v for k, v in values.items()}
    return DataFile(path, path.name if inside is None else inside.as_posix(), fmt, partitions)


def _missing(path: Location, root: Location) -> UserError:
    """The error for a path that does not exist, with the nearest existing name."""
    first, hint = path, ""
    if isinstance(path, RemotePath):
        if not path.store_exists():
            return wrong(f"no such bucket: '{path.store}'", fix="correct its name, or make it")
    else:
        hint = f"(relative paths start at '{root}': name another folder with --data or "
        hint += "RECSYS_MTL_DATA)"
    while not first.parent.exists():
        first = first.parent
    names = [near.name for near in first.parent.iterdir()] if first.parent.is_dir() else []
    known = [name for name in names if not name.startswith((".", "_"))]
    return wrong(
        f"no such file or folder: '{path}'",
        found=f"nothing named '{first.name}' in '{first.parent}'",
        fix=f"{did_you_mean(first.name, known)} {hint}".strip(),
    )
