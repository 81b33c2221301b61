"""A version of a registered model, and the texts that name one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recsys_mtl.errors import wrong
from recsys_mtl.tracking import mlflow_limits as limits

_MODEL = re.compile(r"(?:models:/)?(?P<name>[^/:]+?)(?:/(?P<number>\d{1,9})|@(?P<alias>[\w-]+))")
_NAME = re.compile(r"\w[\w .-]{0,199}")


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        name: of the registered model.
        number: of the version, from 1.
        run_id: the run that logged the model.
        source: URI of the logged model.
        aliases: that name this version.
        tags: of the version.
        created: when it was registered.
    """

    name: str
    number: int
    run_id: str | None
    source: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created: datetime

    def __str__(self) -> str:
        return f"models:/{self.name}/{self.number}"


def parse(model: str, *, where: str) -> tuple[str, int | None, str | None]:
    """Name and number, or name and alias, of `models:/NAME/3` or `models:/NAME@champion`.

    Args:
        model: with or without `models:/`.
        where: option that the text comes from.

    Raises:
        UserError: malformed.
    """
    match = _MODEL.fullmatch(model)
    if match is None:
        expected = "models:/NAME/3 or models:/NAME@champion"
        raise wrong("not a registered model", where=where, expected=expected, found=model)
    return match["name"], int(match["number"]) if match["number"] else None, match["alias"]


def require_name(name: str) -> None:
    """Raise `UserError` where a model may not be registered under `name`."""
    if _NAME.fullmatch(name) is None:
        raise wrong(
            "not a name for a registered model",
            where="--name",
            expected="at most 200 letters, digits, spaces, `_`, `.` or `-`, the first no sign",
            found=repr(name[:80]),
        )


def tag_texts(tags: Mapping[str, str]) -> dict[str, str]:
    """`tags` as MLflow accepts them."""
    return {k: limits.cut(text, limits.TAG_LENGTH) for k, text in limits.keyed(tags).items()}


def from_mlflow(entry: Any, aliases: Iterable[str]) -> Version:
    """A `mlflow.entities.model_registry.ModelVersion`, which may lack its aliases."""
    return Version(
        name=entry.name,
        number=int(entry.version),
        run_id=entry.run_id or None,
        source=entry.source,
        aliases=tuple(sorted(aliases)),
        tags=dict(entry.tags),
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
    )
