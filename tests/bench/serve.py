"""`recsys-mtl serve` on one core, under concurrent clients on another where there is one.

Arguments: the Parquet file, the folder with the model, requests of each number of clients, requests
of the memory's line.

Prints requests/s of one row by 1, 8 and 32 clients, of wall and of the server's CPU time, and the
server's resident MiB after 1,000 requests and after all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil

sys.path.insert(0, str(Path(__file__).parent))
import data

CLIENTS = (1, 8, 32)
EARLY = 1_000


def main() -> None:
    """Ask a server and print the result."""
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    count, many = int(sys.argv[3]), int(sys.argv[4])
    rows = pl.read_parquet(path, n_rows=512).select([*data.ID_COLUMNS, *data.NUMBER_COLUMNS])
    requests = [request({"rows": [row]}) for row in rows.to_dicts()]
    result: dict[str, Any] = {"clients": {}}
    with server(folder) as (port, job):
        early = min(EARLY, many)
        ask(port, requests, clients=8, count=early)
        result["early_mib"] = _resident(job)
        for clients in CLIENTS:
            cpu, began = _cpu(job), time.perf_counter()
            seconds = ask(port, requests, clients, count)
            result["clients"][str(clients)] = {
                "seconds": seconds,
                "per_second": count / (time.perf_counter() - began),
                "per_cpu_second": count / (_cpu(job) - cpu),
            }
        rest = many - early - len(CLIENTS) * count
        ask(port, requests, clients=8, count=max(rest, 1))
        result["late_mib"] = _resident(job)
    print(json.dumps(result))


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The server's port and process, on a core of its own where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "recsys_mtl", "serve", str(folder / "model"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {cores[0]})
        os.sched_setaffinity(0, {cores[-1]})
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            while b" 503 " in exchange(port, b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n"):
                time.sleep(0.1)
            yield port, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def request(content: Any) -> bytes:
    """As it is sent."""
    body = json.dumps(content).encode()
    return b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def exchange(port: int, sent: bytes) -> bytes:
    """The head of the answer to one request."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        return connection.recv(65_536)


def ask(port: int, requests: list[bytes], clients: int, count: int) -> list[float]:
    """Seconds of `count` requests by so many clients, each of which waits for its answer."""
    seconds: list[float] = []
    with selectors.DefaultSelector() as ready, contextlib.ExitStack() as open_:
        begun, sent = [0.0] * clients, 0
        received = [b""] * clients
        for number in range(min(clients, count)):
            connection = open_.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(connection, selectors.EVENT_READ, number)
            begun[number] = time.perf_counter()
            connection.sendall(requests[sent % len(requests)])
            sent += 1
        while len(seconds) < count:
            for key, _ in ready.select():
                number, connection = key.data, key.fileobj
                assert isinstance(connection, socket.socket)
                received[number] += connection.recv(65_536)
                if not _complete(received[number]):
                    continue
                seconds.append(time.perf_counter() - begun[number])
                received[number] = b""
                if sent < count:
                    begun[number] = time.perf_counter()
                    connection.sendall(requests[sent % len(requests)])
                    sent += 1
    return seconds


def _complete(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    if length is None or len(body) < int(length[1]):
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode())
    return True


def _resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
