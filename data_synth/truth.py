"""The known truth of a data set: truth.json, written next to the rows and read back by jobs.

format, plan, name, seed, rows, version    identity of the data
tasks.NAME.target      kind and parameters of the label, given its true linear predictor
tasks.NAME.labelled    labelled rows
tasks.NAME.oracle      expected metrics of the true linear predictors
tasks.NAME.constant    … of the best constant prediction
tasks.NAME.observable  share of the score's variance that the columns determine (upper bound)
relation               planned and measured correlations of the true scores, the groups, and which
                       task is the complement of which
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from data_synth.load import plan_hash
from data_synth.statistics import Statistics
from data_synth.targets import TARGETS, Complement, Target
from data_synth.world import World
from recsys_mtl.errors import wrong

FORMAT = 1
_FILE = "truth.json"


def describe_truth(world: World, statistics: Statistics) -> dict[str, Any]:
    """The content of truth.json.

    Args:
        world: the plan's world.
        statistics: counts over all rows.
    """
    plan, shape = world.plan, world.geometry
    observable = dict(zip(shape.tasks, world.observable(), strict=True))
    tasks = {}
    for name, task in plan.tasks.items():
        own = task.of if isinstance(task, Complement) else name
        labelled = int(statistics.counts[name].sum())
        measured = world.targets[name].metrics(statistics.counts[name]) if labelled else {}
        tasks[name] = {
            "target": _to_json(world.targets[name]),
            "labelled": labelled,
            **{who: _rounded(metrics) for who, metrics in measured.items()},
            "observable": round(float(observable[own]), 6),
        }
    return {
        "format": FORMAT,
        "plan": plan_hash(plan),
        "name": plan.name,
        "seed": plan.seed,
        "rows": statistics.rows,
        "numpy": np.__version__,
        "tasks": tasks,
        "relation": {
            "tasks": list(shape.tasks),
            "planned": shape.relation.round(6).tolist(),
            "measured": statistics.correlation.round(6).tolist(),
            "groups": {name: group.tasks for name, group in plan.relations.groups.items()},
            "complements": {
                name: task.of for name, task in plan.tasks.items() if isinstance(task, Complement)
            },
        },
    }


def _rounded(metrics: dict[str, float]) -> dict[str, float | None]:
    """JSON numbers; values that are not finite (a rate of few rows) are null."""
    return {k: round(float(v), 6) if np.isfinite(v) else None for k, v in metrics.items()}


def _to_json(target: Target) -> dict[str, Any]:
    names = [field.name for field in fields(type(target))]  # type: ignore[arg-type]
    values = {name: getattr(target, name) for name in names}
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
    return {"kind": target.kind} | plain


def _from_json(data: dict[str, Any]) -> Target:
    known: Any = TARGETS[data["kind"]]
    names = {field.name for field in fields(known)}
    target: Target = known(
        **{k: np.array(v) if isinstance(v, list) else v for k, v in data.items() if k in names}
    )
    return target


@dataclass(frozen=True)
class Truth:
    """The truth of one data set.

    Attributes:
        folder: the data set's.
        content: truth.json; see the module's docstring.
        targets: by task, what its label is given its true linear predictor.
    """

    folder: Path
    content: dict[str, Any]
    targets: dict[str, Target]

    @classmethod
    def open(cls, folder: Path) -> Truth:
        """Read a data set's truth.

        Raises:
            UserError: the folder has no truth, or one of another version.
        """
        path = folder / _FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise wrong(
                    "data of another version", where=str(path), expected=f"format {FORMAT}",
                    found=content["format"], fix="synthesize them again",
                )  # fmt: skip
            targets = {name: _from_json(task["target"]) for name, task in content["tasks"].items()}
        except (FileNotFoundError, NotADirectoryError) as error:
            raise wrong(
                "no synthetic data set there",
                where=str(folder),
                expected=f"a folder that `recsys-mtl synthesize` has finished, with {_FILE}",
                found="none" if folder.is_dir() else "no such folder",
                fix="run the same synthesize command again: it resumes where it stopped"
                if (folder / "_work").is_dir()
                else "give the --out folder of synthesize",
            ) from error
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise wrong(
                "not the truth of a data set",
                where=str(path),
                found=repr(error),
                fix="synthesize the data again",
            ) from error
        return cls(folder, content, targets)

    @classmethod
    def of_rows(cls, path: Path) -> Truth | None:
        """The truth of the data set that a file or folder of rows belongs to, if it is one."""
        for folder in (path, *path.parents):
            if folder.name == "rows" and (folder.parent / _FILE).is_file():
                return cls.open(folder.parent)
        return None

    def relation(self) -> dict[str, dict[str, float]]:
        """Planned correlation of any two tasks' true scores, complements included."""
        stored = self.content["relation"]
        row = {name: index for index, name in enumerate(stored["tasks"])}
        of = {name: (1.0, name) for name in row}
        of |= {name: (-1.0, task) for name, task in stored["complements"].items()}
        planned = stored["planned"]
        return {
            a: {
                b: of[a][0] * of[b][0] * planned[row[of[a][1]]][row[of[b][1]]] for b in self.targets
            }
            for a in self.targets
        }

    def linear(self, row_ids: NDArray[np.int64], tasks: list[str]) -> dict[str, NDArray[Any]]:
        """True linear predictors of rows.

        Args:
            row_ids: (R,) in any order.
            tasks: names.

        Returns:
            By task (R,) float32.

        Raises:
            UserError: rows that the data set does not have.
        """
        try:
            table = ds.dataset(self.folder / "truth", format="parquet").to_table(
                columns=["row_id", *tasks],
                filter=pc.field("row_id").isin(pa.array(row_ids)),
            )
        except (OSError, pa.ArrowInvalid) as error:
            raise wrong(
                "cannot read the true scores",
                where=str(self.folder / "truth"),
                found=str(error),
                fix="synthesize the data again",
            ) from error
        known = table["row_id"].to_numpy()
        order = np.argsort(known)
        position = np.searchsorted(known, row_ids, sorter=order)
        if len(known) == 0 or (known[order[np.minimum(position, len(known) - 1)]] != row_ids).any():
            raise wrong(
                "rows without a truth", where=str(self.folder), expected="row_id of its rows",
                fix="give rows of this data set",
            )  # fmt: skip
        return {name: table[name].to_numpy()[order[position]] for name in tasks}

    def label_index(self, task: str, values: Any) -> NDArray[np.float64]:
        """Labels as the target draws them, float64, NaN where null; (R,) from a pyarrow array."""
        index = self.targets[task].index(values)
        numbers: NDArray[np.float64] = index.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return numbers
