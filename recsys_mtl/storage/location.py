"""From a text to where a file is: a path on a disk, or a URI of a store."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from recsys_mtl.errors import wrong
from recsys_mtl.storage.filesystem import SCHEMES, access_errors
from recsys_mtl.storage.remote_path import RemotePath

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs

Location = Path | RemotePath
OneKind = TypeVar("OneKind", Path, RemotePath, Location)
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://?([^/]*)(.*)", re.DOTALL)
_HERE = ("", "localhost")
_NO_USERS = ("s3", "gs", "gcs", "file")
_KNOWN = ("file", *SCHEMES)
_STREAM_BYTES = 1 << 20


def located(text: str | PurePath | RemotePath, root: Location | None = None) -> Location:
    """Where a text says that something is.

    Args:
        text: a path; `file:///path`; or the URI of a store, `s3://bucket/rows`.
        root: what a path is relative to.

    Raises:
        UserError: a URI of an unknown scheme, or one that holds a password.
    """
    if isinstance(text, RemotePath):
        return text
    if is_uri(text):
        return _from_uri(str(text))
    if isinstance(root, RemotePath):
        return root / str(text)
    return Path(text) if root is None else root / Path(text).expanduser()


def is_uri(text: str | PurePath) -> bool:
    """Whether it has a scheme; `Path` makes one slash of two."""
    slashes = "://" if isinstance(text, str) else ":/"
    return slashes in str(text) and _URI.fullmatch(str(text)) is not None


def relative(path: Location, folder: Location) -> PurePath | None:
    """The part of the path below the folder; None where it is elsewhere."""
    if isinstance(path, RemotePath):
        if isinstance(folder, RemotePath) and path.is_relative_to(folder):
            return path.relative_to(folder)
        return None
    if isinstance(folder, RemotePath) or not path.is_relative_to(folder):
        return None
    return path.relative_to(folder)


def same(one: Location, other: Location) -> bool:
    """Whether both exist and are one file."""
    if isinstance(one, RemotePath) or isinstance(other, RemotePath):
        return one == other
    return one.exists() and one.samefile(other)


def arrow_file(path: Location) -> tuple[Path | str, pafs.FileSystem | None]:
    """A file's name and file system, as the readers of pyarrow take them."""
    return (path.key, path.filesystem) if isinstance(path, RemotePath) else (path, None)


def input_stream(path: Location, compression: str | None) -> pa.NativeFile:
    """The bytes from the start, without their compression."""
    import pyarrow as pa

    if not isinstance(path, RemotePath):
        return pa.input_stream(str(path), compression=compression)
    with access_errors(path):
        return path.filesystem.open_input_stream(
            path.key, compression=compression, buffer_size=_STREAM_BYTES
        )


def _from_uri(text: str) -> Location:
    match = _URI.fullmatch(text)
    assert match is not None
    scheme, authority, path = match[1].lower(), match[2], match[3]
    secret, at, _ = authority.rpartition("@")
    if at and (":" in secret or scheme in _NO_USERS):
        raise wrong(
            f"a {scheme} URI with a user or a password",
            expected=f"{scheme}://NAME/path",
            fix="credentials are the environment's: take them out of the path",
        )
    if scheme == "file":
        if authority not in _HERE:
            fix = "write file:///path"
            raise wrong(f"a file URI of the machine '{authority}'", found=text, fix=fix)
        return Path(unquote(path) or "/")
    if scheme not in SCHEMES:
        raise wrong(
            f"unknown scheme '{scheme}'",
            expected="a path, or a URI of " + ", ".join(f"{name}://" for name in _KNOWN),
            found=text,
            fix="copy the files there, or to a disk",
        )
    if not authority:
        raise wrong("a URI without a name after //", expected=f"{scheme}://NAME/path", found=text)
    return RemotePath(f"{scheme}://{authority}") / path
