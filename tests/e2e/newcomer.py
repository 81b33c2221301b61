"""What a newcomer does with the installed package and a table: init, train, register, serve.

    python tests/e2e/newcomer.py TABLE --label COLUMN [--label COLUMN]

with the Python that the wheel is installed for, outside the repository. Each command is printed
with its seconds; a request to the server gets the predictions of the table's first row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import polars

COMMAND = (sys.executable, "-m", "recsys_mtl")
WAIT_S = 120


def run(folder: Path, *words: str) -> None:
    """One command that has to succeed."""
    begun = time.perf_counter()
    done = subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True)
    print(f"{time.perf_counter() - begun:6.1f} s  recsys-mtl {' '.join(words)}", flush=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def ready(address: str) -> bool:
    """Whether the server has its model."""
    try:
        with urllib.request.urlopen(f"{address}/ready", timeout=60) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def served(folder: Path, model: str, row: dict[str, Any]) -> dict[str, object]:
    """The answer of a server to one row."""
    command = [*COMMAND, "serve", model, "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            words = (word for line in server.stdout for word in line.split())
            address = next((word for word in words if "http://" in word), None)
            if address is None:
                sys.exit("serve ended before it had an address")
            end = time.monotonic() + WAIT_S
            while not ready(address):
                if time.monotonic() > end:
                    sys.exit(f"serve is not ready after {WAIT_S} s")
                time.sleep(0.2)
            body = json.dumps({"rows": [row]}).encode()
            request = urllib.request.Request(f"{address}/predict", body)
            with urllib.request.urlopen(request, timeout=60) as answer:
                content: dict[str, object] = json.load(answer)
        finally:
            server.terminate()
    return content


def main() -> None:
    """Print seconds and the answer; exit with a command's messages where it fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path, help="a CSV file")
    parser.add_argument("--label", action="append", default=[])
    arguments = parser.parse_args()
    table = arguments.table.resolve()
    row = polars.read_csv(table, n_rows=1).to_dicts()[0]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "init", str(table), *(f"--label={label}" for label in arguments.label))
        run(folder, "train", "train.yaml", "--out", "run")
        assert (folder / "run/report.html").stat().st_size > 10_000
        run(folder, "register", "run", "--name", "newcomer")
        started = time.perf_counter()
        answer = served(folder, "models:/newcomer/1", row)
        print(f"{time.perf_counter() - started:6.1f} s  serve, until its first answer")
    print(f"{time.perf_counter() - begun:6.1f} s  in all\n{json.dumps(answer)[:300]}")


if __name__ == "__main__":
    main()
