"""The interface in this process: a model of all kinds, and requests without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from recsys_mtl.service.app import Service, app_of
from recsys_mtl.service.batcher import Limits
from recsys_mtl.service.model import LoadedModel
from tests.serving.conftest import bundle, raw_rows, trained  # noqa: F401  # fixtures

Ask = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture(scope="session")
def model(trained) -> LoadedModel:  # noqa: F811
    return LoadedModel(trained.predictor, "models:/shop/3", "3")


@pytest.fixture(scope="session")
def rows(model: LoadedModel) -> list[dict[str, Any]]:
    """Raw rows as JSON has them."""
    columns = [column for column in raw_rows(1, 0).columns if column in model.rows.columns]
    return raw_rows(40, 7).select(columns).to_dicts()


@asynccontextmanager
async def running(model: LoadedModel | None, **limits: Any) -> AsyncIterator[tuple[Ask, Service]]:
    """A service that works; gives what asks it, and itself."""
    service = Service(Limits(**limits))
    if model is not None:
        service.use(model)
    app = app_of(service)
    work = asyncio.create_task(service.batcher.run())

    async def ask(
        path: str, content: Any = None, parts: int = 1, headers: Any = (), late: bool = False
    ) -> Any:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        size = -(-len(body) // parts) or 1
        cut = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        arriving = [
            {"type": "http.request", "body": part, "more_body": late or number < len(cut)}
            for number, part in enumerate(cut, 1)
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return arriving.pop(0) if arriving else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET" if content is None else "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [*headers],
        }
        await app(scope, receive, send)
        text = b"".join(message.get("body", b"") for message in sent)
        kind = dict(sent[0]["headers"])[b"content-type"]
        return sent[0]["status"], json.loads(text) if b"json" in kind else text.decode()

    try:
        yield ask, service
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        service.batcher.close()
