"""What MLflow's scoring server answers to requests that cannot be predicted.

MLflow answers them with the server's stack trace, repeats all rows, or ends with status 500.
`guard` makes it answer each with status 400 and one line, and lets it read CSV.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.text import one_line

log = logging.getLogger(__name__)
Answer = Callable[[Any, str, Any, Any], Any]
_SERVER = "mlflow.pyfunc.scoring_server"
_JSON, _CSV = "application/json", "text/csv"
_LENGTH = 1000
_AROUND = ("Failed to enforce schema", "Encountered an unexpected error")


def guard() -> None:
    """Wrap the scoring server of this process, if it is one."""
    server: Any = sys.modules.get(_SERVER)
    if server is not None and not isinstance(server.invocations, partial):
        server.invocations = partial(answered, server.invocations)


def answered(answer: Answer, data: Any, content_type: str | None, model: Any, schema: Any) -> Any:
    """The answer of MLflow's server.

    Args:
        answer: MLflow's own function.
        data: body of the request.
        content_type: its header; None where it is absent.
        model: the loaded pyfunc.
        schema: of its inputs.

    Raises:
        MlflowException: with status 400 and one line, for a request that has no answer.
    """
    if content_type is None:
        raise refusal(f"no Content-Type; expected {_JSON} or {_CSV}")
    kind, *parameters = content_type.split(";")
    try:
        if kind.strip().lower() == _CSV:
            data, content_type = _json_of_csv(data), ";".join([_JSON, *parameters])
        return answer(data, content_type, model, schema)
    except Exception as error:  # raised again, as the answer
        log.debug("a request failed", exc_info=True)
        raise refusal(_reason(error)) from None


def refusal(line: str) -> MlflowException:
    """The answer with status 400."""
    text = one_line(" ".join(line.split()))
    return MlflowException(text[:_LENGTH], error_code=BAD_REQUEST)


def _reason(error: Exception) -> str:
    """The cause that describes the request; MLflow's own messages repeat all rows around it."""
    for cause in _chain(error):
        text = str(cause.args[0] if cause.args else cause)
        if isinstance(cause, UserError):
            return str(cause)
        if isinstance(cause, RecursionError):
            return "nested too deeply; expected rows of values and lists"
        if isinstance(cause, MlflowException) and not text.startswith(_AROUND):
            return text.partition("\nInput:")[0].partition(". IMPORTANT")[0]
    log.error("a request failed", exc_info=error)
    if str(error.args[:1]).count(_AROUND[0]):
        return "the columns do not fit the model's; is one of them there twice?"
    return f"the rows cannot be predicted ({type(error).__name__}); the server's log says why"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _json_of_csv(data: bytes | str) -> str:
    """Rows of CSV with a header, as MLflow takes them in JSON; an empty field is null."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except (csv.Error, UnicodeDecodeError) as error:
        raise wrong("not valid CSV", found=error) from None
    if not lines:
        raise wrong("an empty CSV", expected="column names, then rows")
    columns, *rows = lines
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise wrong("two columns of one name", found=twice[0])
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            fields, where = f"{len(columns)} fields", f"row {number} (counted from 0)"
            raise wrong("a row of another length", where=where, expected=fields, found=len(row))
    values = [[field or None for field in row] for row in rows]
    return json.dumps({"dataframe_split": {"columns": columns, "data": values}})
