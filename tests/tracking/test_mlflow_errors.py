from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException, RestException

from recsys_mtl.tracking.mlflow_errors import is_temporary, reason

REFUSED = (
    "API request to http://u:s3cret@h:9/api failed with exception HTTPConnectionPool(host='h', "
    'port=9): Max retries exceeded with url: /api (Caused by NewConnectionError("HTTPConnection('
    "host='h', port=9): Failed to establish a new connection: [Errno 111] Connection refused\"))"
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (REFUSED, "Failed to establish a new connection: [Errno 111] Connection refused"),
        ("cannot open http://u:s3cret@h/x", "cannot open http://***@h/x"),
        ("First sentence. Second sentence.", "First sentence"),
        ("first line\nsecond line", "first line"),
        ("x" * 1000, "x" * 300),
        ("", "OSError"),
        (
            "HTTPConnectionPool(host='h', port=9): Read timed out. (read timeout=7)",
            "HTTPConnectionPool(host='h', port=9): Read timed out. (read timeout=7); "
            "MLFLOW_HTTP_REQUEST_TIMEOUT sets how many seconds it may take",
        ),
    ],
)
def test_reason_is_one_short_line_without_credentials(text: str, line: str) -> None:
    assert reason(OSError(text)) == line


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (ConnectionResetError("reset"), True),
        (OSError(28, "No space left on device"), True),
        (FileNotFoundError("a.txt"), False),
        (MlflowException("any failure of a request"), True),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": ""}), True),
        (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": ""}), False),
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": ""}), False),
        (RestException({"error_code": "PERMISSION_DENIED", "message": ""}), False),
    ],
)
def test_what_may_succeed_later(error: Exception, temporary: bool) -> None:
    assert is_temporary(error) == temporary
