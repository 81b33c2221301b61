from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import convert_input_example_to_serving_input
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server import CONTENT_TYPE_JSON, invocations
from polars.testing import assert_frame_equal

from recsys_mtl.serving.mlflow_model import (
    _portable,
    log_model,
    requirements,
    signature,
    verify_model,
)
from recsys_mtl.serving.pandas_rows import to_pandas
from recsys_mtl.tracking import NullRun, open_run
from recsys_mtl.tracking.run import PackagedModel

pytestmark = pytest.mark.slow  # a store of MLflow takes seconds to make


@dataclass(frozen=True)
class Logged:
    """A logged model, where, and what logging it left on disk."""

    uri: str
    tracking_uri: str
    run_id: str
    folder: Path
    warnings: list[str]


@pytest.fixture(scope="module")
def logged(trained: Any, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    store = tmp_path_factory.mktemp("store")
    tracking_uri = f"sqlite:///{store}/mlflow.db"
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mlflow").addHandler(handler)
    before = dict(os.environ), list(sys.path)
    with open_run(True, tracking_uri, "e", "n") as run:
        uri = log_model(run, bundle, trained.rows)
    logging.getLogger("mlflow").removeHandler(handler)
    changed = {key for key in before[0] | os.environ if before[0].get(key) != os.getenv(key)}
    assert changed <= {"_MLFLOW_TELEMETRY_SESSION_ID"}  # mlflow's own mark
    assert sys.path == before[1]
    assert uri is not None
    folder = next((store / "mlartifacts" / "models").iterdir()) / "artifacts"
    return Logged(uri, tracking_uri, str(run.id), folder, warnings)


@pytest.fixture
def loaded(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return mlflow.pyfunc.load_model(str(logged.folder))


def test_an_untracked_run_logs_nothing(bundle: Path) -> None:
    assert log_model(NullRun(), bundle, pl.DataFrame()) is None


def test_the_run_holds_the_model_and_ends_once(logged: Logged) -> None:
    client = mlflow.MlflowClient(logged.tracking_uri)
    run = client.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert [f"models:/{m.model_id}" for m in run.outputs.model_outputs] == [logged.uri]
    model = client.get_logged_model(logged.uri.removeprefix("models:/"))
    assert model.name == "model"
    assert model.status == "READY"
    assert logged.warnings == []


def test_what_is_logged(logged: Logged, bundle: Path) -> None:
    described = yaml.safe_load((logged.folder / "MLmodel").read_text())
    assert described["metadata"]["tasks"]["next"] == "retrieval"
    files = [f.relative_to(logged.folder).as_posix() for f in logged.folder.rglob("*")]
    assert {"served_model.py", "input_example.json"} < set(files)
    assert [name for name in files if name.startswith("code/")] == ["code/recsys_mtl.zip"]
    with zipfile.ZipFile(logged.folder / "code" / "recsys_mtl.zip") as archive:
        packages = {name.split("/")[1] for name in archive.namelist()}
    assert {"serving", "model", "data", "features", "tasks"} < packages
    assert packages & {"vision", "cli", "ablation", "lifecycle", "scoring", "synthetic"} == set()
    pinned = (logged.folder / "requirements.txt").read_text().split()
    assert set(requirements()) <= set(pinned)
    assert all("==" in line and "+" not in line for line in pinned)
    names = {line.partition("==")[0] for line in pinned}
    assert {"mlflow", "torch", "polars"} < names
    assert not any("torchrec" in name or "fbgemm" in name for name in names)
    stored = next(logged.folder.rglob("weights.safetensors"))
    assert stored.read_bytes() == (bundle / "weights.safetensors").read_bytes()


def test_signature(trained: Any) -> None:
    described = signature(trained.predictor, trained.rows)
    inputs = {c.name: (str(c.type), c.required) for c in described.inputs}  # type: ignore[attr-defined]
    assert inputs == {
        "city": ("DataType.string", True),
        "customer": ("Any", True),
        "member": ("Any", True),
        "visited": ("Array(Any)", False),
        "bought": ("Array(Any)", False),
        "tags": ("DataType.string", False),
        "age": ("Any", True),
        "history": ("Any", True),
    }
    outputs = {c.name: str(c.type) for c in described.outputs}  # type: ignore[attr-defined]
    assert outputs["plan"] == "DataType.string"
    assert outputs["plan_probability_pro 2"] == "DataType.double"
    assert outputs["next"] == "Array(string)"
    assert outputs["next_scores"] == "Array(double)"


def test_text_that_reads_as_numbers_may_be_numbers(trained: Any) -> None:
    rows = trained.rows.with_columns(city=pl.Series([str(i) for i in range(300)]))
    described = signature(trained.predictor, rows)
    assert str(next(iter(described.inputs)).type) == "Any"  # type: ignore[attr-defined]


def check(trained: Any, answer: pd.DataFrame, rows: pl.DataFrame) -> None:
    expected = trained.predictor.predict(rows)
    answered = pl.DataFrame(answer.to_dict("list"), schema=expected.schema)
    assert_frame_equal(answered, expected, abs_tol=1e-6)


def test_large_integers_travel_as_text() -> None:
    large = 2**53 + 1
    frame = pl.DataFrame(
        {"a": [large, None], "b": [[-large, None], []], "c": [2**53, None], "d": [[1], [2]]}
    )
    text = {"a": [str(large), None], "b": [[str(-large), None], []]}
    assert _portable(frame).to_dict(as_series=False) == frame.to_dict(as_series=False) | text


def serve(loaded: Any, payload: str) -> pd.DataFrame:
    """What MLflow's scoring server answers."""
    schema = loaded.metadata.get_input_schema()
    answer = invocations(payload, CONTENT_TYPE_JSON, loaded, schema)
    assert answer.status == 200, answer.response
    return pd.DataFrame(json.loads(answer.response)["predictions"])


def features(trained: Any) -> pl.DataFrame:
    return trained.rows.select(trained.predictor.columns)


def test_pandas_rows_predict_the_same(trained: Any, loaded: Any) -> None:
    rows = features(trained).with_columns(pl.col("customer").cast(pl.String))
    check(trained, loaded.predict(to_pandas(rows)), rows)
    check(trained, loaded.predict(rows.to_pandas()), rows)


def test_integer_columns_without_missing_values_are_accepted(trained: Any, loaded: Any) -> None:
    rows = features(trained).drop_nulls()
    frame = rows.to_pandas()
    assert frame["age"].dtype == np.int64
    assert frame["customer"].dtype == np.int64
    check(trained, loaded.predict(frame), rows)


@pytest.mark.parametrize("orient", ["dataframe_split", "dataframe_records"])
def test_serving_payloads_with_lists_and_nulls(trained: Any, loaded: Any, orient: str) -> None:
    rows = features(trained).with_columns(pl.col("customer").cast(pl.String))
    records = rows.to_dicts()
    split = {"columns": rows.columns, "data": [list(row.values()) for row in records]}
    payload = {orient: split if orient == "dataframe_split" else records}
    check(trained, serve(loaded, json.dumps(payload)), rows)


def test_all_values_missing(trained: Any, loaded: Any) -> None:
    rows = features(trained).clear(1)
    frame = pd.DataFrame([dict.fromkeys(rows.columns)])
    check(trained, loaded.predict(frame), rows)
    check(trained, loaded.predict(frame.drop(columns=["visited", "bought", "tags"])), rows)
    check(trained, serve(loaded, json.dumps({"dataframe_records": rows.to_dicts()})), rows)


def test_the_input_example_can_be_served(trained: Any, loaded: Any) -> None:
    payload = convert_input_example_to_serving_input(loaded.input_example)
    check(trained, serve(loaded, payload), features(trained).head(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"city": [3.5]}, "city"), ({"age": ["old"]}, "age"), ({"visited": [3]}, "list")],
)
def test_wrong_types_are_refused(
    trained: Any, loaded: Any, change: dict[str, Any], message: str
) -> None:
    frame = to_pandas(features(trained).head(1)).assign(**change)
    with pytest.raises((MlflowException, ValueError), match=message):
        loaded.predict(frame)


ROW: dict[str, Any] = {
    "city": "Bern", "customer": "7", "member": True, "visited": [3], "bought": ["tea"],
    "tags": "a|b", "age": 41, "history": 0.5,
}  # fmt: skip
CSV = "city,customer,member,tags,age,history\nBern,7,true,a|b,41,0.5\n"
DEEP = "[" * 100_000 + "]" * 100_000


def response_to(
    loaded: Any, body: str | bytes, kind: str | None = CONTENT_TYPE_JSON
) -> tuple[int, str]:
    """Status and text of the answer to a request, as MLflow's server sends them."""
    try:
        schema = loaded.metadata.get_input_schema()
        answer = scoring_server.invocations(body, kind, loaded, schema)
    except MlflowException as error:
        return error.get_http_status_code(), error.serialize_as_json()
    return answer.status, answer.response


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name not in names}


def one_row(change: dict[str, Any] | str) -> str:
    """A request of one row with columns changed, or with a text of JSON as the column `age`."""
    if isinstance(change, str):
        text = json.dumps({"dataframe_records": [ROW | {"age": "HERE"}]})
        return text.replace('"HERE"', change)
    return json.dumps({"dataframe_records": [ROW | change]})


WRONG: list[tuple[str | bytes, str]] = [
    (one_row({"age": "old"}), "column 'age': not a number; found 'old' in row 0"),
    (one_row({"age": ""}), "column 'age': not a number; found ''"),
    (one_row({"age": [1]}), "column 'age': not a number; found [1]"),
    (one_row({"age": {"a": 1}}), "column 'age': not a number; found {'a': 1}"),
    (one_row("1" + "0" * 400), "column 'age': not a number; found 1000"),
    (one_row("1" + "0" * 5000), "the rows cannot be predicted (ValueError)"),
    (one_row("1e999"), "column 'age': infinite value"),
    (one_row("-Infinity"), "column 'age': infinite value"),
    (one_row({"city": ["a"]}), "column 'city': not a single value; found ['a']"),
    (one_row({"city": {"a": 1}}), "column 'city': not a single value; found {'a': 1}"),
    (one_row({"member": [True]}), "column 'member': not a single value; found [True]"),
    (one_row({"visited": 3}), "column visited"),
    (one_row({"visited": "a"}), "column visited"),
    (one_row({"visited": [[3]]}), "column 'visited': not a list of single values"),
    (one_row({"visited": [{"a": 1}]}), "column 'visited': not a list of single values"),
    (one_row({"tags": 3}), "column 'tags': not a list; found 3"),
    (one_row({"tags": {"a": 1}}), "column 'tags': not a list; found {'a': 1}"),
    (one_row({"tags": [["a"]]}), "column 'tags': not a list of single values"),
    (json.dumps({"dataframe_records": [{"city": "Bern"}]}), "'age', 'history']"),
    (json.dumps({"dataframe_records": []}), "'age', 'history']"),
    (json.dumps({"dataframe_records": [1]}), "'age', 'history']"),
    (json.dumps({"dataframe_records": ROW}), "must be a list of records"),
    (json.dumps({"dataframe_split": {"columns": ["age"]}}), "must have 'data' field"),
    (
        json.dumps({"dataframe_split": {"columns": [*ROW, "age"], "data": [[*ROW.values(), 1]]}}),
        "the columns do not fit the model's; is one of them there twice?",
    ),
    (json.dumps({"instances": [ROW]}), "column 'city': not a single value"),
    (json.dumps({"rows": [ROW]}), "exactly one of the input fields"),
    (one_row(DEEP), "nested too deeply"),
    (one_row("[" * 900 + "]" * 900), ""),
    ('{"a":' * 9000 + "1" + "}" * 9000, "nested too deeply"),
    (DEEP, "nested too deeply"),
    ("{", "valid JSON"),
    (b"\xff\xfe", "valid JSON"),
    ("", "valid JSON"),
]


@pytest.mark.parametrize(("body", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_requests_get_one_line(loaded: Any, body: str | bytes, message: str) -> None:
    status, answer = response_to(loaded, body)
    assert status == 400
    assert message in json.loads(answer)["message"]
    assert "\n" not in json.loads(answer)["message"]
    assert not any(word in answer for word in ("Traceback", "stack_trace", "recsys_mtl/", ".py"))


def test_absent_lists_are_empty_ones(loaded: Any) -> None:
    absent = without("visited", "bought", "tags")
    empty = ROW | {"visited": [], "bought": [], "tags": ""}
    answers = [
        response_to(loaded, json.dumps({"dataframe_records": [row]})) for row in (absent, empty)
    ]
    assert answers[0][0] == 200
    assert answers[0] == answers[1]


def test_csv_is_read(loaded: Any) -> None:
    row = without("visited", "bought")
    expected = response_to(loaded, json.dumps({"dataframe_records": [row]}))
    for body in (CSV, CSV.encode(), b"\xef\xbb\xbf" + CSV.encode(), CSV.replace("\n", "\r\n")):
        assert response_to(loaded, body, "text/csv; charset=utf-8") == expected
    missing = {"dataframe_records": [row | {"age": None, "city": None}]}
    gaps = CSV.replace("41", "").replace("Bern", "")
    assert response_to(loaded, gaps, "text/csv") == response_to(loaded, json.dumps(missing))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "an empty CSV"),
        (CSV.replace("41", "old"), "column 'age': not a number; found 'old' in row 0"),
        (CSV.replace("41", "inf"), "column 'age': infinite value"),
        (CSV + "1,2\n", "row 1 (counted from 0): a row of another length; expected 6 fields"),
        (CSV.replace("city", "age"), "two columns of one name; found age"),
        ("age\n1\n", "missing inputs ['city'"),
        (CSV.replace("tags", "visited"), "column visited"),
        ('age\n"x\n', "not valid CSV"),
        (b"\xff\xfe", "not valid CSV"),
    ],
)
def test_wrong_csv_gets_one_line(loaded: Any, body: str | bytes, message: str) -> None:
    status, answer = response_to(loaded, body, "text/csv")
    assert (status, message in json.loads(answer)["message"]) == (400, True), answer
    assert "Traceback" not in answer


def test_a_request_without_a_type_gets_one_line(loaded: Any) -> None:
    status, answer = response_to(loaded, one_row({}), None)
    assert (status, "no Content-Type" in answer) == (400, True)
    assert response_to(loaded, one_row({}), "text/plain")[0] == 415


def test_missing_column_is_refused(trained: Any, loaded: Any) -> None:
    with pytest.raises(MlflowException, match="age"):
        loaded.predict(to_pandas(features(trained).head(1)).drop(columns="age"))


def test_a_fresh_process_predicts_the_same(
    trained: Any, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained.predictor.predict(trained.rows)
    uri = f"runs:/{logged.run_id}/model"
    assert verify_model(uri, logged.tracking_uri, trained.rows, expected) <= 1e-6

    def predicts_that(command: list[str], *, cwd: str, **_: Any) -> Any:
        expected.write_parquet(Path(cwd) / "predictions.parquet")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", predicts_that)
    wrong = expected.with_columns(pl.col("spend") + 1.0)
    difference = verify_model(logged.uri, logged.tracking_uri, trained.rows, wrong)
    smallest = wrong["spend"].abs().min()
    assert isinstance(smallest, float)
    assert difference == pytest.approx(1.0 / max(1.0, smallest))  # relative above 1
    wrong = expected.with_columns(plan=pl.lit("none"))
    difference = verify_model(logged.uri, logged.tracking_uri, trained.rows, wrong)
    assert difference == float("inf")


@pytest.mark.slow
def test_a_model_without_its_code_fails_in_a_fresh_process(
    trained: Any, bundle: Path, tmp_path: Path
) -> None:
    class Codeless:
        """Logs a model, but an empty package."""

        def __init__(self, run: Any) -> None:
            self.id, self.run = run.id, run

        def model(self, name: str, model: PackagedModel) -> str | None:
            with zipfile.ZipFile(model.package, "w") as package:
                package.writestr("recsys_mtl/__init__.py", "")
            return str(self.run.model(name, model))

    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"
    with open_run(True, tracking_uri, "e", "n") as run:
        uri = log_model(Codeless(run), bundle, trained.rows)  # type: ignore[arg-type]
    expected = trained.predictor.predict(trained.rows)
    with pytest.raises(RuntimeError, match="No module named 'recsys_mtl"):
        verify_model(str(uri), tracking_uri, trained.rows, expected)
