"""A training that is over, read from its output folder or from MLflow, and its main metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_mtl.config.flat import flat
from recsys_mtl.config.yaml_text import parse
from recsys_mtl.errors import wrong

if TYPE_CHECKING:
    from recsys_mtl.tracking.stored_runs import StoredRuns

_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Trained:
    """What a training left.

    Attributes:
        label: name of its folder, or of its run in MLflow.
        result: its result.json.
        config: the effective config, its sections as `section.key`.
        folder: its output folder; None where it was read from MLflow.
        uri: of the store of its run; without credentials where it comes from result.json.
    """

    label: str
    result: Mapping[str, Any]
    config: Mapping[str, Any]
    folder: Path | None
    uri: str | None

    def metric(self, task: str, name: str) -> float | None:
        """A metric on the test rows; None where it is undefined or not there."""
        entry = self.result["tasks"].get(task, {}).get("metrics", {}).get(name, {})
        value: float | None = entry.get("value")
        return value

    def interval(self, task: str, name: str) -> tuple[float, float] | None:
        """The 95 % interval of a metric on the test rows; None where there is none."""
        entry = self.result["tasks"].get(task, {}).get("metrics", {}).get(name, {})
        low, high = entry.get("low"), entry.get("high")
        return None if low is None or high is None else (low, high)

    def test_rows(self) -> tuple[object, ...]:
        """Equal for runs that were measured on the same rows."""
        data = self.result["data"]
        split = {key: value for key, value in self.config.items() if key.startswith("data.split.")}
        drawn = split.get("data.split.kind") in ("fraction", "group")
        seed = self.result["seed"] if drawn else None
        return data["fingerprint"], data["rows"].get("test"), seed, *sorted(map(str, split.items()))


def read_trained(run: str, uri: str | None) -> Trained:
    """Read a training by its output folder or its MLflow run id.

    Args:
        run: folder or id.
        uri: where an id is looked up.

    Raises:
        UserError: it is neither, or not of a training.
    """
    folder = Path(run)
    if folder.is_dir():
        return _from_folder(folder)
    if _RUN_ID.fullmatch(run):
        from recsys_mtl.tracking.stored_runs import StoredRuns  # folders need no MLflow

        return _from_mlflow(run, StoredRuns(uri))
    raise wrong("no such run", where=run, expected="folder of a training, or an MLflow run id")


def _from_folder(folder: Path) -> Trained:
    texts = []
    for name in ("result.json", "config.yaml"):
        try:
            texts.append((folder / name).read_text(encoding="utf-8"))
        except (OSError, UnicodeError) as error:
            what = f"no {name} of a finished training"
            raise wrong(what, where=str(folder), fix="give its --out folder") from error
    result = _training(texts[0], str(folder / "result.json"))
    config = flat(parse(texts[1], str(folder / "config.yaml")).data)
    uri = (result.get("mlflow") or {}).get("tracking_uri")
    return Trained(folder.resolve().name, result, config, folder, uri)


def _from_mlflow(run_id: str, runs: StoredRuns) -> Trained:
    run = runs.get(run_id)
    result, config = (runs.read(run_id, name) for name in ("result.json", "config.yaml"))
    if result is None or config is None:
        what = "the run has no result.json and config.yaml of a training"
        raise wrong(what, where=f"{run_id} in {runs.shown}", found=f"a run that is {run.status}")
    sections = flat(parse(config, f"config.yaml of {run_id}").data)
    read = _training(result, f"result.json of {run_id}")
    return Trained(run.name, read, sections, None, runs.uri)


def _training(text: str, where: str) -> dict[str, Any]:
    """The result, if it is that of a training."""
    try:
        result = json.loads(text)
    except ValueError as error:
        raise wrong("not JSON", where=where, found=error) from error
    job = result.get("job") if isinstance(result, dict) else None
    if job != "train":
        raise wrong("not the result of a training", where=where, expected="job train", found=job)
    assert isinstance(result, dict)
    return result
