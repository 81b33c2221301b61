"""The output folder of a tuning.

tuning.yaml       what the folder is for
base.yaml         the config that trials change, with what its recipe decided
rows.sha256       the fingerprint of its rows
study.journal     the trials, see `recsys_mtl.tuning.search`
best.yaml         the best trial, for `train`; front/trial-N.yaml with several metrics
ablation.yaml     the best trial but the base against it, on fresh seeds, for `ablate`
report.html, result.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_mtl.ablation.arms import changed
from recsys_mtl.ablation.plan import Ablation, as_overrides
from recsys_mtl.config import Config, dump_config, load_config, yaml_text
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.files import atomic_write, remove_folder
from recsys_mtl.study.plan import changed_keys, held_plan, note_rows, other_rows
from recsys_mtl.tracking.uri import redact_uri
from recsys_mtl.tuning.plan import Tuning
from recsys_mtl.tuning.result import TuningResult
from recsys_mtl.tuning.search import Trial

NOTE, REPORT, BEST, FRONT, COMPARE, BASE = (
    "tuning.yaml", "report.html", "best.yaml", "front", "ablation.yaml", "base.yaml",
)  # fmt: skip
_FRESH = {"first": 1000, "count": 12}
_SAME = ("base", "change", "ready", "space", "metric", "pruner", "seed")


def require_ours(tuning: Tuning, base: Config, rows: str, out: Path) -> None:
    """The folder is new, or of this tuning; trials, minutes and tracking may change.

    Raises:
        UserError: it holds another tuning, or other files.
    """
    begun = out / BASE

    def differences(held: Tuning) -> list[str]:
        keys = changed_keys(_shown(held), _shown(tuning), _SAME)
        edited = not keys and begun.exists() and _untracked(load_config(begun)) != _untracked(base)
        others = [] if keys else other_rows(out, rows)
        return [*keys, *(["content of the base config"] if edited else []), *others]

    held_plan(tuning, out / NOTE, same="the same base, space, metric, pruner and seed",
              differences=differences)  # fmt: skip


def claim(tuning: Tuning, base: Config, rows: str, out: Path) -> None:
    """Note in the folder, which is locked, what it is for.

    Raises:
        UserError: as `require_ours`.
    """
    require_ours(tuning, base, rows, out)
    note = _shown(tuning).model_dump() | {"tracking": _public(tuning)}
    atomic_write(out / NOTE, yaml_text.dump(note))  # first: a folder without it is not ours
    if not (out / BASE).exists():
        atomic_write(out / BASE, dump_config(base))
    note_rows(out, rows)


def without_credentials(config: Config) -> Config:
    """The config, without a tracking URI that holds a password: files and artifacts are read."""
    uri = config.tracking.uri
    if uri is None or redact_uri(uri) == uri:
        return config
    return changed(config, ["tracking.uri=null"], "tracking")


def _shown(tuning: Tuning) -> Tuning:
    return tuning.model_copy(update={"change": tuning.changes})


def _untracked(config: Config) -> str:
    return dump_config(config.model_copy(update={"tracking": TrackingConfig()}))


def _public(tuning: Tuning) -> dict[str, Any]:
    tracking = tuning.tracking.model_dump()
    uri = tuning.tracking.uri
    return tracking if uri is None or redact_uri(uri) == uri else tracking | {"uri": None}


def write_configs(tuning: Tuning, base: Config, result: TuningResult, out: Path) -> list[Path]:
    """The configs of the best trial or of the front, in place of earlier ones; their paths."""
    remove_folder(out / FRONT, missing_ok=True)
    if len(result.objectives) > 1:
        return [
            _config(tuning, base, result.trial(number).params, number,
                    out / FRONT / f"trial-{number}.yaml")
            for number in result.front
        ]  # fmt: skip
    if result.best is None:
        return []
    params = result.trial(result.best).params
    paths = [_config(tuning, base, params, result.best, out / BEST)]
    other = next((trial for trial in result.ranked() if trial.number != result.base), None)
    return paths if other is None else [*paths, _comparison(tuning, other, out)]


def _config(
    tuning: Tuning, base: Config, params: Mapping[str, Any], number: int, path: Path
) -> Path:
    """A trial's config; its name is not the base's, so that `train` keeps the base's run."""
    changes = {**params, "name": f"{base.name}_tuned"}
    config = changed(base, as_overrides(changes), f"trial {number}")
    head = f"# Trial {number} of the tuning {tuning.name}; its keys:\n"
    head += "".join(f"#   {key}: {yaml_text.inline(value)}\n" for key, value in params.items())
    return atomic_write(path, head + dump_config(config))


def _comparison(tuning: Tuning, trial: Trial, out: Path) -> Path:
    """An ablation of the base and the best trial but the base."""
    ablation = Ablation.model_validate(
        {
            "name": f"{tuning.name}_tuned",
            "base": str(out / BASE),
            "seeds": _FRESH,
            "arms": {"base": {}, "tuned": dict(trial.params)},
            "reference": "base",
            "tracking": _public(tuning),
        }
    )
    head = f"# Trial {trial.number} of the tuning {tuning.name}, the best one but the base,\n"
    head += "# against the base on seeds, and splits by them, that are fresh.\n"
    text = yaml_text.dump(ablation.model_dump(exclude_unset=True))
    return atomic_write(out / COMPARE, head + text)
