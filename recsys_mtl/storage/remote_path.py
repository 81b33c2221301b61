"""`RemotePath`: a file or folder of an object store or of HDFS."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, Self

from recsys_mtl.storage.filesystem import WHOLE_AT_CLOSE, access_errors, filesystem_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs


class Size(NamedTuple):
    """What `stat` says."""

    st_size: int


@dataclass(frozen=True, order=True)
class RemotePath:
    """What the code needs of `pathlib.Path`, for objects; a folder is a common prefix of names.

    Attributes:
        store: scheme and authority, `s3://bucket`.
        parts: names below it.
        info: what a listing said about it.

    Raises:
        UserError: the store cannot be reached or refuses; any method.
    """

    store: str
    parts: tuple[str, ...] = ()
    info: pafs.FileInfo | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return "/".join((self.store, *self.parts))

    def __truediv__(self, other: str | PurePosixPath) -> Self:
        return type(self)(self.store, (*self.parts, *_names(str(other))))

    def joinpath(self, *names: str) -> Self:
        """Below it."""
        return self / "/".join(names)

    @property
    def name(self) -> str:
        """The last part; empty for the store itself."""
        return self.parts[-1] if self.parts else ""

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Of the name."""
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        """Of the name."""
        return PurePosixPath(self.name).suffixes

    @property
    def parent(self) -> Self:
        """The folder around it; the store is its own."""
        return type(self)(self.store, self.parts[:-1])

    @property
    def parents(self) -> list[Self]:
        """All folders around it, the nearest first."""
        return [type(self)(self.store, self.parts[:n]) for n in reversed(range(len(self.parts)))]

    def with_name(self, name: str) -> Self:
        """In the same folder."""
        return self.parent / name

    def resolve(self) -> Self:
        """Itself: nothing is relative."""
        return self

    def is_relative_to(self, other: object) -> bool:
        """Whether it is `other` or below it."""
        return (
            isinstance(other, RemotePath)
            and self.store == other.store
            and self.parts[: len(other.parts)] == other.parts
        )

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """The parts below `other`."""
        assert self.is_relative_to(other)
        return PurePosixPath(*self.parts[len(other.parts) :])

    @property
    def filesystem(self) -> pafs.FileSystem:
        """Where it is."""
        return filesystem_of(self.store)[0]

    @property
    def key(self) -> str:
        """What the file system calls it."""
        return "/".join((filesystem_of(self.store)[1], *self.parts))

    def store_exists(self) -> bool:
        """Whether its bucket is there."""
        return type(self)(self.store).exists()

    def exists(self) -> bool:
        """Whether it is a file or a folder."""
        return bool(self._found().type.name != "NotFound")

    def is_file(self) -> bool:
        """Whether it is a file."""
        return bool(self._found().is_file)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return bool(self._found().type.name == "Directory")

    def stat(self) -> Size:
        """Its size in bytes."""
        found = self._found()
        if not found.is_file:
            raise FileNotFoundError(str(self))
        return Size(int(found.size))

    def iterdir(self) -> Iterator[Self]:
        """What is in the folder, sorted."""
        return iter(self._listed(recursive=False))

    def rglob(self, pattern: str) -> Iterator[Self]:
        """What is anywhere below and has such a name, sorted."""
        return (p for p in self._listed(recursive=True) if fnmatch.fnmatchcase(p.name, pattern))

    def glob(self, pattern: str) -> Iterator[Self]:
        """What is below and matches, sorted; `**` is any depth; `*` leaves hidden names out."""
        wanted = _names(pattern)
        below = self._listed(recursive=len(wanted) > 1 or "**" in wanted)
        return (p for p in below if matches(p.parts[len(self.parts) :], wanted))

    def open(self, mode: str = "rb") -> pa.NativeFile:
        """The bytes, for random access."""
        assert mode == "rb"
        with access_errors(self):
            return self.filesystem.open_input_file(self.key)

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of it."""
        with self.open() as file, access_errors(self):
            return str(file.read(), encoding)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the file."""
        try:
            with access_errors(self):
                self.filesystem.delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def delete_folder(self) -> None:
        """Delete all that is below, if anything is."""
        with suppress(FileNotFoundError), access_errors(self):
            self.filesystem.delete_dir(self.key)

    def upload(self, file: Path) -> None:
        """Take the content of a local file: it is there as a whole or not at all."""
        with access_errors(self):
            if self.store.startswith(tuple(f"{scheme}://" for scheme in WHOLE_AT_CLOSE)):
                _copy(file, self)
                return
            temporary = self.with_name(f"_{self.name}.tmp-{os.urandom(4).hex()}")
            self.filesystem.create_dir(self.parent.key)
            _copy(file, temporary)
            self.filesystem.move(temporary.key, self.key)

    def _listed(self, *, recursive: bool) -> list[Self]:
        """What is in the folder; nothing where there is none."""
        from pyarrow.fs import FileSelector

        with access_errors(self):
            start = len(self.key.rstrip("/")) + 1
            found = self.filesystem.get_file_info(
                FileSelector(self.key, allow_not_found=True, recursive=recursive)
            )
        below = ((_names(info.path[start:]), info) for info in found)
        return sorted(
            type(self)(self.store, (*self.parts, *names), info) for names, info in below if names
        )

    def _found(self) -> pafs.FileInfo:
        if self.info is not None:
            return self.info
        with access_errors(self):
            return self.filesystem.get_file_info(self.key)


def _names(text: str) -> list[str]:
    """Between the slashes."""
    return [name for name in text.split("/") if name not in ("", ".")]


def matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a path's names match those of a glob, as `glob` does it."""
    if not patterns:
        return not names
    first, *others = patterns
    if first == "**":
        hidden = (index for index, name in enumerate(names) if name.startswith("."))
        deepest = next(hidden, len(names))
        if not others:
            return deepest == len(names)
        return any(matches(names[depth:], others) for depth in range(deepest + 1))
    if not names or (names[0].startswith(".") and not first.startswith(".")):
        return False
    return fnmatch.fnmatchcase(names[0], first) and matches(names[1:], others)


def _copy(file: Path, path: RemotePath) -> None:
    """In one call without Python in it: an interrupt cannot end it in its middle."""
    from pyarrow.fs import LocalFileSystem, copy_files

    copy_files(
        str(file),
        path.key,
        source_filesystem=LocalFileSystem(),
        destination_filesystem=path.filesystem,
    )
