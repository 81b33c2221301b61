"""The errors of MLflow and its clients, and how they are reported."""

from __future__ import annotations

import re
import sys

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from recsys_mtl.tracking.mlflow_process import TIMEOUT
from recsys_mtl.tracking.uri import redact

_TEMPORARY = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "ABORTED"}
_CLIENTS = {  # artifact stores raise their own client's errors
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "boto3.exceptions": ("Boto3Error",),
    "google.api_core.exceptions": ("GoogleAPIError",),
    "azure.core.exceptions": ("AzureError",),
}


def tracking_errors() -> tuple[type[Exception], ...]:
    """The errors of MLflow and of the loaded artifact clients for a server's failure."""
    loaded = [
        getattr(sys.modules[module], name)
        for module, names in _CLIENTS.items()
        if module in sys.modules
        for name in names
    ]
    return (MlflowException, SQLAlchemyError, OSError, *loaded)  # OSError: all of requests' too


def opening_errors() -> tuple[type[Exception], ...]:
    """Also those of opening a store: a driver that is not installed, a malformed URI."""
    return (*tracking_errors(), ImportError, ValueError)


def is_temporary(error: Exception) -> bool:
    """Whether the same write may succeed later."""
    if isinstance(error, FileNotFoundError):
        return False
    return not isinstance(error, MlflowException) or error.error_code in _TEMPORARY


def reason(error: Exception) -> str:
    """One short line without credentials; of a chain of network errors, its first cause.

    Where a server took too long, it names MLflow's variable that lets it take longer.
    """
    text = str(error).strip() or type(error).__name__
    cause = re.search(r"Caused by \w+\([\"'](?:.*?: )?(.*?)[\"']\)+$", text, re.DOTALL)
    line = (cause.group(1) if cause else text).splitlines()[0]
    short = redact(re.split(r"\. (?=[A-Z])", line)[0])[:300]
    slow = re.search(r"(?:read|connect) timeout=", short)
    return f"{short}; {TIMEOUT} sets how many seconds it may take" if slow else short
