"""The tracking URI: where it comes from, whether it can work, how to show it. No MLflow here."""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from recsys_mtl.config.schema import Config
from recsys_mtl.errors import UserError, wrong

DEFAULT_URI = "sqlite:///mlflow.db"
LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves."""
_SQLITE = "sqlite:///"
_SECRETS = r"pass|pwd|token|secret|credential|key|sig(?:nature)?(?==)"
_FIX = "start the server, correct tracking.uri (or MLFLOW_TRACKING_URI), or tracking.enabled: false"


def resolve(uri: str | None) -> str:
    """The URI to use: `uri`, else `MLFLOW_TRACKING_URI`, else SQLite; its path made absolute.

    Raises:
        UserError: the URI is malformed, in-memory SQLite, or a SQLite file that cannot be written.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    scheme = _scheme(chosen)
    if scheme in ("", "file"):
        raise unusable(chosen, f"a folder, which MLflow no longer tracks in; use {DEFAULT_URI}")
    if scheme != "sqlite":
        return chosen
    path, mark, query = chosen.removeprefix(_SQLITE).partition("?")
    if not chosen.startswith(_SQLITE) or path in ("", ":memory:"):
        raise unusable(chosen, "no database file in the URI")
    database = Path(path).absolute()
    _prepare_sqlite(database)
    return f"{_SQLITE}{database}{mark}{query}"


def artifact_location(uri: str) -> str | None:
    """Artifacts of a SQLite store are next to its file; any other store has its own location."""
    if not uri.startswith(_SQLITE):
        return None
    path = uri.removeprefix(_SQLITE).partition("?")[0]
    return (Path(path).parent / "mlartifacts").as_uri()


def prepare_artifacts(uri: str, location: str) -> None:
    """Create the folder that artifacts of a SQLite store go to, and prove that it can be written.

    Raises:
        UserError: it cannot be.
    """
    parts = urlsplit(location)
    if not uri.startswith(_SQLITE) or parts.scheme not in ("", "file"):
        return
    folder = Path(unquote(parts.path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unusable(uri, f"{folder}: {error.strerror}, where its artifacts go") from error


def redact(text: str) -> str:
    """`text` without the user, passwords, tokens and keys that any URI in it carries.

    Where a URI in a text ends is a guess: use `redact_uri` for a single URI.
    """
    text = re.sub(r"(://)(?!(?:(?<=sqlite://)|(?<=file://))/)\S+@", r"\1***@", text)
    return re.sub(rf"(?i)([?&;][^=&\s]*(?:{_SECRETS})[^=&\s]*=)[^&\s]+", r"\1***", text)


def redact_uri(uri: str) -> str:
    """A URI without its user, the values of its query and its fragment.

    A password may hold any character, unescaped: everything up to the last `@` is the user's.
    """
    if uri.startswith((_SQLITE, "file:///")):
        return redact(uri)
    scheme, mark, rest = uri.partition("://") if "://" in uri else ("", "", uri)
    _, at, rest = rest.rpartition("@")
    address, question, query = rest.partition("#")[0].partition("?")
    values = (part.partition("=") for part in query.split("&") if part)
    shown = "&".join(f"{name}=***" if equals else "***" for name, equals, _ in values)
    return f"{scheme}{mark}{'***@' if at else ''}{address}{question}{shown}"


def page_of(uri: str, experiment_id: str, run_id: str) -> tuple[str, str | None] | None:
    """The address of a run's page, and the command that serves it if no server does yet.

    Args:
        uri: the tracking URI, without credentials.
        experiment_id: of the run.
        run_id: of the run.

    Returns:
        None for a store that has no page of its own (a database server, Databricks).
    """
    page = f"/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
    if uri.startswith(_SQLITE):
        return LOCAL_SERVER + page, f"mlflow ui --backend-store-uri {uri}"
    if urlsplit(uri).scheme in ("http", "https") and "***" not in uri:
        return uri.rstrip("/") + page, None
    return None


def without_secrets(config: Config) -> Config:
    """The config without credentials in its tracking URI."""
    if config.tracking.uri is None:
        return config
    tracking = config.tracking.model_copy(update={"uri": redact_uri(config.tracking.uri)})
    return config.model_copy(update={"tracking": tracking})


def unusable(uri: str, problem: str) -> UserError:
    """The error of a tracking URI that does not work, without its credentials."""
    shown = redact_uri(uri)
    text = redact(problem.replace(uri, shown))
    return wrong("cannot track this run", where=f"tracking.uri {shown}", found=text, fix=_FIX)


def _scheme(uri: str) -> str:
    """The scheme of a well-formed URI; an http one names a host."""
    try:
        parts = urlsplit(uri)
        formed = parts.scheme not in ("http", "https") or bool(parts.hostname)
    except ValueError:
        formed = False
    if not formed:
        raise unusable(uri, "a malformed URI")
    return parts.scheme


def _prepare_sqlite(database: Path) -> None:
    """Create the folder and prove that the file is a database that can be written."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database, timeout=5.0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except (OSError, sqlite3.Error) as error:
        raise unusable(f"{_SQLITE}{database}", f"{error}") from error
