"""A PostgreSQL cluster of the tests' own, as an unprivileged user: postgres refuses root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A new cluster that runs until the block ends; the test is skipped where none can be made."""
    found = [shutil.which(name, path=_path()) for name in ("initdb", "postgres")]
    if None in found:
        pytest.skip("PostgreSQL's programs initdb and postgres are not installed")
    initdb, postgres = map(str, found)
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folder is root's alone
    try:
        shutil.chown(folder, **_owner())
        data = ("--pgdata", str(folder / "data"))
        settings = ("--auth=trust", "--username=mlflow", "--no-locale", "--encoding=UTF8")
        _run([initdb, *data, *settings, "--no-sync"], folder)
        started = Cluster(postgres, folder)
        started.start()
        try:
            yield started
        finally:
            started.stop()
    finally:
        shutil.rmtree(folder)


class Cluster:
    """A cluster in `folder/data`, which can be stopped and started again."""

    def __init__(self, program: str, folder: Path) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port = free.getsockname()[1]
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg2://mlflow@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        words = ("-D", "data", "-h", "127.0.0.1", "-p", str(self._port), "-k", str(self._folder))
        log = self._folder / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [self._program, *words, "-c", "fsync=off"],
                cwd=self._folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
                **_user(),
            )
        give_up = time.monotonic() + 120
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                pytest.fail(f"PostgreSQL did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server and its connections at once."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(timeout=60)

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.uri.replace("+psycopg2", "")).close()
        except psycopg2.OperationalError:
            return False
        return True


def _path() -> str:
    """Debian has the programs outside of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **_user())
    assert done.returncode == 0, done.stderr


def _user() -> dict[str, Any]:
    """Arguments of a process."""
    return {**_owner(), "extra_groups": []} if os.geteuid() == 0 else {}


def _owner() -> dict[str, int]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid}
    pytest.skip("PostgreSQL refuses root, and there is no user postgres or nobody")
