from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.tracking.uri import (
    artifact_location,
    page_of,
    prepare_artifacts,
    redact,
    redact_uri,
    resolve,
    unusable,
)


def test_argument_takes_precedence_over_environment_and_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert resolve(None) == "http://server:5000"
    assert resolve("https://other") == "https://other"


@pytest.mark.parametrize(
    ("uri", "server", "command"),
    [
        ("sqlite:////a/b.db", "http://127.0.0.1:5000", "mlflow ui --backend-store-uri sqlite:////a/b.db"),
        ("https://server/mlflow/", "https://server/mlflow", None),
    ],
)  # fmt: skip
def test_the_page_of_a_run(uri: str, server: str, command: str | None) -> None:
    page = f"{server}/#/experiments/3/runs/ab?workflowType=machine_learning"
    assert page_of(uri, "3", "ab") == (page, command)


@pytest.mark.parametrize("uri", ["databricks", "postgresql://h/db", "https://***@server"])
def test_a_store_without_a_page(uri: str) -> None:
    assert page_of(uri, "3", "ab") is None


def test_sqlite_folder_is_made_and_artifacts_are_next_to_it(tmp_path: Path) -> None:
    uri = resolve(f"sqlite:///{tmp_path}/new folder/a.db?timeout=3")
    assert uri == f"sqlite:///{tmp_path}/new folder/a.db?timeout=3"
    with closing(sqlite3.connect(tmp_path / "new folder" / "a.db")) as connection:
        assert connection.execute("select count(*) from sqlite_master").fetchone() == (0,)
    assert artifact_location(uri) == (tmp_path / "new folder" / "mlartifacts").as_uri()
    assert artifact_location("http://server") is None


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("http://", "malformed"),
        ("http://[bad", "malformed"),
        ("./mlruns", "a folder"),
        ("file:///tmp/mlruns", "a folder"),
        ("sqlite://", "no database file"),
        ("sqlite:///:memory:", "no database file"),
        ("sqlite:////proc/none/a.db", "No such file"),
        ("sqlite:///{folder}/file/a.db", "file"),
        ("sqlite:///{folder}/file", "not a database"),
        ("sqlite:///{folder}", "unable to open"),
    ],
)
def test_wrong_uri_is_one_line_with_a_remedy(tmp_path: Path, uri: str, problem: str) -> None:
    (tmp_path / "file").write_text("no database " * 100)
    with pytest.raises(UserError, match=problem) as caught:
        resolve(uri.replace("{folder}", str(tmp_path)))
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot track this run" in message
    assert "tracking.enabled: false" in message


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:s3cret@server:5000/path",
        "https://s3cret@server",
        "http://user:p@s3cret@server",
        "postgresql://user:s3cret@db/mlflow?password=s3cret&x=1",
        "mysql://db/mlflow?a=1&api_token=s3cret",
        "http://u:pa's3cret@server",
        'http://u:pa"s3cret@server',
        "http://u:pa/s3cret@server/x",
        "http://u:pa@/s3cret@server",
        "http:///u:s3cret@server",
        "sqlite://u:s3cret@server",
        "s3://bucket/path?access_key=s3cret",
        "s3://bucket/path?x=1&AWSAccessKeyId=s3cret",
        "https://server/?api_key=s3'cret",
        "https://store/blob?sv=1&sig=s3cret",
        "https://store/blob?key=s3cret&x",
        "https://store/blob?X-Amz-Credential=s3cret&X-Amz-Signature=s3cret",
    ],
)
def test_credentials_are_not_shown(uri: str) -> None:
    shown = redact(f"failed for {uri} twice: {uri}")
    assert "s3cret" not in shown
    assert "cret" not in shown
    assert shown.count("***") >= 2
    assert "cret" not in redact_uri(uri)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://server:5000/a/b", "https://server:5000/a/b"),
        ("http://u:s3 cret@server:5000/a", "http://***@server:5000/a"),
        ("http://u:s3?cr#et@server/a", "http://***@server/a"),
        ("http://server/a?x=s3cret&s3cret#s3cret", "http://server/a?x=***&***"),
        ("postgresql+psycopg2://u:s3cret@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("u:s3cret@server", "***@server"),
        ("sqlite:////home/me@work/a.db?timeout=3", "sqlite:////home/me@work/a.db?timeout=3"),
        ("databricks://profile", "databricks://profile"),
        ("databricks", "databricks"),
    ],
)
def test_the_uri_itself_is_shown_without_user_and_values(uri: str, shown: str) -> None:
    assert redact_uri(uri) == shown


@pytest.mark.parametrize("uri", ["http://u:s3 cret@[bad", "http:///u:s3 cret@h"])
def test_an_error_has_no_credentials(uri: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(uri)
    assert "cret" not in str(caught.value)
    assert "cret" not in str(unusable(uri, f"cannot open {uri}"))


def test_plain_text_is_not_redacted() -> None:
    text = "http://server:5000/a?b=1 and mail@example.org, sqlite:////home/me@work/a.db?timeout=3"
    assert redact(text) == text


def test_artifacts_of_a_local_store_have_a_folder_that_can_be_written(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/a.db"
    for location in (f"{tmp_path.as_uri()}/new%20folder/b", str(tmp_path / "plain")):
        prepare_artifacts(uri, location)
    assert (tmp_path / "new folder" / "b").is_dir()
    assert (tmp_path / "plain").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: .*, where its artifacts go -> start the server"):
        prepare_artifacts(uri, f"{tmp_path.as_uri()}/file")


@pytest.mark.parametrize(
    ("uri", "location"),
    [("sqlite:////x/a.db", "s3://bucket/a"), ("http://server:5000", "file:///proc/none")],
)
def test_artifacts_elsewhere_are_not_tried(uri: str, location: str) -> None:
    prepare_artifacts(uri, location)
