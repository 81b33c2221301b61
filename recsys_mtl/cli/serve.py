"""`recsys-mtl serve`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from recsys_mtl.cli.command import say
from recsys_mtl.cli.garbage import uncollected


def serve(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="a run's or model's folder, or models:/NAME@champion"),
    ],
    tracking_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="the registry of models:/NAME@champion")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0: any")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free one")] = 8080,
    threads: Annotated[int, typer.Option(min=1, help="of the model's matrix products")] = 1,
    max_rows: Annotated[int, typer.Option(min=1, help="of a request")] = 1000,
    max_body: Annotated[float, typer.Option(min=0.001, max=1024, help="MiB of a request")] = 8,
    max_waiting: Annotated[int, typer.Option(min=1, help="requests that may wait")] = 256,
    batch_rows: Annotated[
        int, typer.Option(min=1, help="rows of several requests scored together, at most")
    ] = 256,
    batch_wait_ms: Annotated[
        float,
        typer.Option(min=0, max=60_000, help="how long a request waits for others to score with"),
    ] = 0,
    timeout_s: Annotated[float, typer.Option(min=0.001, max=86_400, help="of a request")] = 30,
    reload_s: Annotated[
        float,
        typer.Option(min=0, max=86_400, help="between two looks for another model; 0: at SIGHUP"),
    ] = 30,
    drain_s: Annotated[
        float,
        typer.Option(min=0, max=86_400, help="that /ready answers 503 before the server ends"),
    ] = 0,
) -> None:
    """Answer requests over HTTP with a model; SIGHUP loads it again, SIGTERM ends it."""
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))  # read when polars is imported
    with uncollected():
        from recsys_mtl.service.batcher import Limits
        from recsys_mtl.service.server import Options
        from recsys_mtl.service.server import serve as library

    limits = Limits(
        max_rows=max_rows,
        max_body=max_body,
        max_waiting=max_waiting,
        batch_rows=batch_rows,
        batch_wait_ms=batch_wait_ms,
        timeout_s=timeout_s,
        threads=threads,
    )
    options = Options(
        model=model,
        tracking_uri=tracking_uri,
        host=host,
        port=port,
        reload_s=reload_s,
        drain_s=drain_s,
        limits=limits,
    )
    library(options, _started)


def _started(url: str) -> None:
    say(f"serving on {url}")
    sys.stdout.flush()  # who started it through a pipe waits for the line
