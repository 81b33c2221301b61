"""Logs a bundle to MLflow as a pyfunc from code, and proves that it works in another process.

The signature calls text `string` and everything else `any`, because each of MLflow's own types
breaks an ordinary input: `double` refuses int64 columns, `long` refuses missing values, `boolean`
turns null into true or false, and an array of `string` that holds a null is cut to first letters
in silence. The preprocessing checks such columns itself. Lists may be null or absent.

Integers beyond 2^53 have to be sent as text: next to a missing value, pandas makes them floats.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.serving.bundle import FORMAT, PACKAGES, installed_versions, load_bundle
from recsys_mtl.serving.pandas_rows import to_pandas
from recsys_mtl.serving.predictor import Predictor
from recsys_mtl.tracking.run import PackagedModel, Run
from recsys_mtl.tracking.uri import redact

log = logging.getLogger(__name__)
Verify = Callable[[str, str, pl.DataFrame, pl.DataFrame], float]
EXAMPLE_ROWS = 5
PACKAGE_FILE = "recsys_mtl.zip"
"""The package in the folder `code` of a logged model; `served_model` imports from it."""

_LARGEST_DIFFERENCE = 1e-6
_HERE = Path(__file__).parent
_TIMEOUT_SECONDS = 600
_EXACT = 2**53  # larger integers are not exact as floats
_ABOVE = frozenset(
    ("ablation", "cli", "estimator", "lifecycle", "reports", "runs", "scoring", "service", "study")
) | {"synthetic", "tuning", "vision", "__main__.py"}
"""The packages above this one in the import contract: no model can need them."""


def log_model(
    run: Run, bundle: Path, example: pl.DataFrame, *, name: str = "model", step: int = 0
) -> str | None:
    """Log a bundle with signature, input example and pinned requirements.

    Args:
        run: an open run.
        bundle: folder that `save_bundle` wrote.
        example: raw rows; the first ones become the input example.
        name: name of the logged model.
        step: the epoch of its weights; MLflow shows the metrics of that step with the model.

    Returns:
        The model's URI; None where nothing is tracked or the server failed.

    Raises:
        UserError: the bundle is damaged, or the example lacks a column.
    """
    if run.id is None:
        return None
    predictor = load_bundle(bundle)
    predictor.predict(example.head(EXAMPLE_ROWS))  # unpredictable rows must not be logged
    example = _portable(example[predictor.columns])
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / PACKAGE_FILE
        pack_package(package)
        model = PackagedModel(
            code=_HERE / "served_model.py",
            bundle=bundle,
            package=package,
            signature=signature(predictor, example),
            example=to_pandas(example.head(EXAMPLE_ROWS)),
            requirements=requirements(),
            metadata={
                "bundle_format": FORMAT,
                "tasks": {task.name: task.kind for task in predictor.tasks},
                "inputs": {column: str(dtype) for column, dtype in predictor.schema().items()},
            },
            step=step,
        )
        return run.model(name, model)


def pack_package(to: Path) -> None:
    """Write the package as models carry it: Python files alone, of the packages up to this one.

    One file that Python imports from, as a store takes hundreds of files one after the other.
    """
    package = _HERE.parent
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*.py")):
            if path.relative_to(package).parts[0] not in _ABOVE:
                member = zipfile.ZipInfo(path.relative_to(package.parent).as_posix())
                archive.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED)


def signature(predictor: Predictor, example: pl.DataFrame) -> object:
    """The `mlflow.models.ModelSignature` of a predictor, its inputs as `example` holds them."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

    inputs = []
    for name, understood in predictor.schema().items():
        own = DataType.string if _is_text(example[name]) else AnyType()
        taken = Array(AnyType()) if example[name].dtype.is_nested() else own
        inputs.append(ColSpec(taken, name, required=not isinstance(understood, pl.List)))
    mlflow_types = {
        pl.String(): DataType.string,
        pl.Float64(): DataType.double,
        pl.List(pl.String()): Array(DataType.string),
        pl.List(pl.Float64()): Array(DataType.double),
    }
    outputs = [ColSpec(mlflow_types[t], name) for name, t in predictor.output_schema().items()]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def requirements() -> tuple[str, ...]:
    """The packages that inference needs, pinned to the installed public versions."""
    packages = ("mlflow", *PACKAGES)
    return tuple(f"{name}=={v}" for name, v in installed_versions(packages).items())


def verify_model(
    model_uri: str, tracking_uri: str, example: pl.DataFrame, expected: pl.DataFrame
) -> float:
    """Predict `example` with the logged model in a fresh process that cannot see this package.

    The process runs in an empty folder, without PYTHONPATH, and finds the package only among the
    model's artifacts; there the model also answers its input example as a serving request.

    Args:
        model_uri: the logged model.
        tracking_uri: where it is logged.
        example: raw rows.
        expected: this process's predictions of them.

    Returns:
        Largest difference of any number, absolute up to 1 and relative above (a value in large
        units has fewer decimal digits in float32); infinite where any text differs.

    Raises:
        RuntimeError: the model could not be loaded or predict there.
    """
    hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"MLFLOW_TRACKING_URI": tracking_uri, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        _portable(example).write_parquet(Path(folder) / "rows.parquet")
        command = [sys.executable, "-P", str(_HERE / "fresh_process.py"), model_uri]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"the logged model does not answer: {error}") from error
        if done.returncode != 0:
            errors = redact(done.stderr[-4000:])
            raise RuntimeError(f"the logged model fails in a fresh process:\n{errors}")
        return _difference(pl.read_parquet(Path(folder) / "predictions.parquet"), expected)


def prove_model(
    model_uri: str,
    tracking_uri: str,
    example: pl.DataFrame,
    expected: pl.DataFrame,
    *,
    verify: Verify = verify_model,
    out: Path | None = None,
) -> float:
    """Require of the logged model that it predicts the same in a fresh process.

    Args:
        model_uri: the logged model.
        tracking_uri: where it is logged.
        example: raw rows.
        expected: this process's predictions of them.
        verify: measures the difference; see `verify_model`.
        out: folder of the run that logged it; gets verify.log on failure.

    Returns:
        The largest difference.

    Raises:
        UserError: the model does not load there, or predicts something else.
    """
    try:
        difference = verify(model_uri, tracking_uri, example, expected)
    except RuntimeError as error:
        reason, difference = str(error), float("inf")
    else:
        reason = f"predictions that differ by {difference}"
    if difference <= _LARGEST_DIFFERENCE:
        log.info("the logged model predicts the same in a fresh process (within %.1e)", difference)
        return difference
    log.debug("%s", reason)
    fix = ""
    if out is not None:
        path = atomic_write(out / "verify.log", reason + "\n")
        fix = f"see {path}; the model in {out / 'model'} is complete"
    raise wrong(
        "the logged model does not work in a fresh process",
        where=model_uri,
        expected=f"the predictions of its bundle within {_LARGEST_DIFFERENCE}",
        found=reason.strip().rpartition("\n")[2],
        fix=fix,
    )


def _difference(actual: pl.DataFrame, expected: pl.DataFrame) -> float:
    """Largest difference of numbers, relative above 1; infinite where anything else differs."""
    if actual.columns != expected.columns or actual.height != expected.height:
        return float("inf")
    worst = 0.0
    for name in expected.columns:
        wanted, got = _flat(expected[name]), _flat(actual[name])
        if len(wanted) != len(got):
            return float("inf")
        if wanted.dtype == pl.String:
            worst = worst if wanted.equals(got.cast(pl.String)) else float("inf")
        else:
            apart = np.abs(wanted.to_numpy() - got.to_numpy())
            apart = apart / np.maximum(1.0, np.abs(wanted.to_numpy()))
            worst = max(worst, float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)))
    return worst


def _flat(column: pl.Series) -> pl.Series:
    return column.explode() if column.dtype.is_nested() else column


def _is_text(column: pl.Series) -> bool:
    """Whether a column can only be text: it is, and some value does not read as a number."""
    if column.dtype != pl.String:
        return False
    values = column.drop_nulls()
    return values.cast(pl.Float64, strict=False).null_count() > 0


def _portable(frame: pl.DataFrame) -> pl.DataFrame:
    """Integers that a float cannot hold, and lists of them, as text: the same categories."""
    casts: list[pl.Series] = []
    for column in frame:
        values = column.explode() if column.dtype.is_nested() else column
        low, high = (values.min(), values.max()) if values.dtype.is_integer() else (None, None)
        if isinstance(low, int) and isinstance(high, int) and (low < -_EXACT or high > _EXACT):
            text = pl.List(pl.String) if column.dtype.is_nested() else pl.String
            casts.append(column.cast(text))
    return frame.with_columns(casts)
