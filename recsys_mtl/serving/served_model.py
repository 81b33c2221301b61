"""The model in MLflow: a pyfunc from code, whose weights are the artifact `bundle`.

MLflow runs this file to load the model; the package that it imports is logged with the model.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

if (package := Path(__file__).parent / "code" / "recsys_mtl.zip").exists():  # of a logged model
    sys.path.insert(0, str(package))

from recsys_mtl.data.few_rows import FEW_ROWS
from recsys_mtl.errors import UserError
from recsys_mtl.serving.bundle import load_bundle
from recsys_mtl.serving.http_answers import guard, refusal
from recsys_mtl.serving.pandas_rows import few_values, to_pandas, to_polars


class ServedModel(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """Raw rows in, `Predictor.predict`'s columns out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle; where MLflow's scoring server loads it, see `guard`."""
        guard()
        self._predictor = load_bundle(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
    ) -> pd.DataFrame:
        """Predict raw rows.

        Raises:
            MlflowException: the rows do not fit; a server answers with status 400.
        """
        try:
            rows = partial(to_polars, model_input, self._predictor.schema())
            if 0 < len(model_input) <= FEW_ROWS and model_input.columns.is_unique:
                few = few_values(model_input)
                return pd.DataFrame(self._predictor.predict_few(few, len(model_input), rows))
            return to_pandas(self._predictor.predict(rows()))
        except UserError as error:
            raise refusal(str(error)) from error


set_model(ServedModel())
