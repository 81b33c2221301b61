"""Runs the service until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import uvicorn

from recsys_mtl.errors import wrong
from recsys_mtl.service.app import Service, app_of
from recsys_mtl.service.batcher import Limits
from recsys_mtl.service.reload import Reloader

_KEEP_ALIVE_S = 75  # balancers keep idle connections for 60 s, and must be the ones that end them


@dataclass(frozen=True)
class Options:
    """How a model is served.

    Attributes:
        model: a run's folder, its model folder, `models:/NAME@champion` or `models:/NAME/3`.
        tracking_uri: of the registry; default: the configured one.
        host: address to listen on.
        port: to listen on; 0: any free one.
        reload_s: seconds between two looks for another model; 0: only at SIGHUP.
        drain_s: seconds between SIGTERM, from which /ready answers 503, and the end of listening.
        limits: of requests.
    """

    model: str
    tracking_uri: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    reload_s: float = 30
    drain_s: float = 0
    limits: Limits = field(default_factory=Limits)


def serve(options: Options, started: Callable[[str], object]) -> None:
    """Answer requests until SIGTERM or SIGINT; those in flight are answered before it returns.

    Args:
        options: how.
        started: receives the URL as soon as the server listens; the model is loaded after that.

    Raises:
        UserError: no such model, it is damaged, or the port is not free.
    """
    with _listen(options.host, options.port) as listener:
        port = listener.getsockname()[1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        started(f"http://{host}:{port}")
        asyncio.run(_serve(options, listener))


async def _serve(options: Options, listener: socket.socket) -> None:
    service = Service(options.limits)
    reloader = Reloader(service, options.model, options.tracking_uri, options.reload_s)
    config = uvicorn.Config(
        app_of(service),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(options.limits.timeout_s) + 1,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def end() -> None:
        if service.stopping:  # the second signal
            server.force_exit = True
        service.stopping = True
        loop.call_later(options.drain_s, partial(setattr, server, "should_exit", True))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, reloader.request)
    works = [asyncio.create_task(work) for work in (reloader.run(), service.batcher.run())]
    for work in works:  # it ends by failing alone
        work.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve([listener])
        for work in works:
            if work.done():
                work.result()
    finally:
        for work in works:
            work.cancel()
        reloader.close()
        service.batcher.close()


class _Server(uvicorn.Server):
    """A server that leaves signals to us: its own ends the process as if it were killed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles none."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    """A socket whose connections asyncio sends without delay: it looks at the protocol."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise wrong(
            "cannot listen",
            where=f"{host}:{port}",
            found=error.strerror or error,
            fix="give another --port, or an address of this machine as --host",
        ) from error
    return listener
