"""What a tuning's YAML may say; a run's config stands for a tuning with defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys_mtl.ablation.plan import as_overrides, whole_sections
from recsys_mtl.config import load_config, read_text, section_from_yaml, yaml_text
from recsys_mtl.config.explain import Finding
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.config.section import Name, Section
from recsys_mtl.errors import relocated
from recsys_mtl.tuning.ready import READY, USUAL
from recsys_mtl.tuning.space import ParameterConfig, findings, known_keys


class Tuning(Section):
    """A search for the settings of one config."""

    name: Name = Field(description="parent run in MLflow; tunings/NAME is the default folder")
    base: str = Field(description="the config that trials change")
    change: dict[str, Any] = Field(
        {}, description="for all trials: config path -> value, such as training.epochs: 5"
    )
    ready: list[str] = Field(
        [], description="ready-made spaces: rates, regularization, batch, size, members"
    )
    space: dict[Annotated[str, Field(min_length=1)], ParameterConfig] = Field(
        {}, description="config path -> its range; replaces the same key of a ready-made space"
    )
    metric: str | list[str] | None = Field(
        None,
        description="loss or TASK/METRIC, of the validation rows; several, or per_task (the main "
        "metric of each task), for a Pareto front; null: that of early stopping",
    )
    trials: PositiveInt = Field(40, description="how many, those of earlier calls included")
    minutes: PositiveFloat | None = Field(
        None, description="no trial begins after so many, those of earlier calls included"
    )
    pruner: Literal["median", "halving", "none"] = Field(
        "median", description="what ends trials early that fall behind; not with several metrics"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="of the search; trials train with the seed of the base"
    )
    tracking: TrackingConfig = TrackingConfig()

    @property
    def changes(self) -> dict[str, Any]:
        """`change` but for where runs are tracked: that may hold a password."""
        return {key: value for key, value in self.change.items() if not _tracks(key)}

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the ready-made spaces in use."""
        return tuple(self.ready) if self.ready or self.space else USUAL


def load_tuning(
    path: Path, overrides: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> Tuning:
    """Read a tuning's file, or make a tuning of a run's config.

    Args:
        path: the YAML file; without a key `base` it is a run's config.
        overrides: `a.b=c` assignments of the keys of that file.
        options: keys of the tuning that are set last.

    Raises:
        UserError: lists all problems.
    """
    options = dict(options or {})
    text, chosen = read_text(path), as_overrides(options)

    def named(where: str) -> str:
        """Options are no overrides to those who gave them."""
        for key, word in zip(options, chosen, strict=True):
            if where.startswith(f"--set {word}"):
                return "--space" if key == "ready" else f"--{key}"
        return where

    with relocated(named):
        return _tuning(path, text, overrides, chosen)


def _tuning(path: Path, text: str, overrides: Sequence[str], chosen: Sequence[str]) -> Tuning:
    document = yaml_text.parse(text, str(path))
    if not isinstance(document.data, dict) or "base" in document.data:
        words = [*overrides, *chosen]
        return section_from_yaml(
            Tuning, text, where=str(path), overrides=words, check=_contradictions
        )
    config = load_config(path, overrides)
    change = dict(map(_assigned, overrides))
    values = {
        "name": config.name,
        "base": str(path),
        "change": {key: value for key, value in change.items() if not _tracks(key)},
        "tracking": config.tracking.model_dump(),
    }
    return section_from_yaml(
        Tuning, yaml_text.dump(values), where="tune", overrides=chosen, check=_contradictions
    )


def _assigned(override: str) -> tuple[str, Any]:
    name, _, value = override.partition("=")
    return name.strip(), yaml_text.parse(value, override).data


def _tracks(key: str) -> bool:
    return key.strip().startswith("tracking.")


def _contradictions(tuning: Tuning) -> Iterator[Finding]:
    yield from known_keys(tuning.ready, tuple(READY), "ready")
    yield from whole_sections(("change",), tuning.change)
    for key, one in tuning.space.items():
        yield from findings(("space", key), key, one)
        if key in tuning.change:
            yield Finding(("space", key), "the same key is in change")
    if isinstance(tuning.metric, list) and len(set(tuning.metric)) < max(2, len(tuning.metric)):
        yield Finding(("metric",), "a list of different metrics", "two or more, each once")
