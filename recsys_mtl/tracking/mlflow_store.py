"""A client of a store that exists; its errors become one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.tracking.mlflow_errors import is_temporary, opening_errors, reason
from recsys_mtl.tracking.mlflow_process import patience, silence
from recsys_mtl.tracking.uri import DEFAULT_URI, redact_uri, resolve

FIX = "start the server, or correct --tracking-uri or MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"


class Store:
    """A client of one tracking and registry URI.

    Args:
        uri: else `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`; a SQLite file has to exist.

    Raises:
        UserError: the URI is wrong, or there is no such file.
    """

    def __init__(self, uri: str | None) -> None:
        self.uri = _existing(uri)
        silence()
        with self.requesting("cannot open MLflow's store"):
            self.client = MlflowClient(self.uri, registry_uri=self.uri)

    @property
    def shown(self) -> str:
        """The URI without credentials."""
        return redact_uri(self.uri)

    @contextmanager
    def requesting(self, what: str) -> Iterator[None]:
        """Requests to the store; `what` describes their failure.

        Raises:
            UserError: instead of any error of MLflow and its clients.
        """
        try:
            with patience(retries=2):
                yield
        except UserError:
            raise
        except opening_errors() as error:  # `from None`: the cause would show credentials
            fix = FIX if is_temporary(error) else ""
            raise wrong(what, where=self.shown, found=reason(error), fix=fix) from None


def pages(search: Callable[..., Any], **options: Any) -> Iterator[Any]:
    """All results of a search of the client, page by page."""
    token = None
    while True:
        page = search(page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def may_exist(uri: str | None) -> bool:
    """Whether a SQLite file is there; of a server it is not known before a request."""
    chosen = _chosen(uri)
    database = Path(chosen.removeprefix(_SQLITE).partition("?")[0])
    return not chosen.startswith(_SQLITE) or database.is_file()


def _chosen(uri: str | None) -> str:
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def _existing(uri: str | None) -> str:
    """`resolve`, which would create a missing database."""
    if not may_exist(uri):
        raise wrong("no such MLflow database", where=redact_uri(_chosen(uri)), fix=FIX)
    return resolve(uri)
