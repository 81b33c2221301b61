"""Loads a logged model where this package cannot be imported; run as a script, by path only.

In the working folder: `rows.parquet` (raw rows) is read, `predictions.parquet` is written. The
model's URI is the only argument; the tracking URI comes from the environment.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGE = "recsys_mtl"


class OnlyLaterPaths(MetaPathFinder):
    """Finds the package only in folders that came to `sys.path` later: those of the model.

    It hides the repository, an editable install and an installed wheel alike.
    """

    def __init__(self) -> None:
        self._before = list(sys.path)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module of the package from a later path; others are left to other finders."""
        if name.partition(".")[0] != PACKAGE:
            return None
        later = path or [folder for folder in sys.path if folder not in self._before]
        spec = PathFinder.find_spec(name, later)
        if spec is None:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return spec


def main(model_uri: str) -> None:
    """Load the model, prove where its code came from, predict and answer a request."""
    import mlflow
    import polars as pl
    from mlflow.models import convert_input_example_to_serving_input
    from mlflow.pyfunc.scoring_server import CONTENT_TYPE_JSON, invocations

    sys.meta_path.insert(0, OnlyLaterPaths())
    try:
        importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        pass
    else:
        raise RuntimeError(f"{PACKAGE} could be imported before the model was loaded")
    model = mlflow.pyfunc.load_model(model_uri)
    origin = Path(str(importlib.import_module(PACKAGE).__file__)).resolve()
    if not any((folder / "MLmodel").is_file() for folder in origin.parents[2:4]):
        raise RuntimeError(f"{PACKAGE} was not imported from the model but from {origin}")
    rows = pl.read_parquet("rows.parquet").to_pandas()
    pl.from_pandas(model.predict(rows)).write_parquet("predictions.parquet")
    request = convert_input_example_to_serving_input(model.input_example)
    answer = invocations(request, CONTENT_TYPE_JSON, model, model.metadata.get_input_schema())
    if answer.status != 200:
        raise RuntimeError(f"the input example cannot be served: {answer.response}")


if __name__ == "__main__":
    main(sys.argv[1])
