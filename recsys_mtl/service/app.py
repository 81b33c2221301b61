"""The HTTP interface: /predict, /health, /ready, /metrics, and their OpenAPI description."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from recsys_mtl.errors import UserError
from recsys_mtl.service.batcher import Batcher, FullError, Limits
from recsys_mtl.service.metrics import Metrics
from recsys_mtl.service.model import LoadedModel, log_bug
from recsys_mtl.service.request import has_more_rows
from recsys_mtl.version import installed_version

_ERROR = {
    "type": "object",
    "properties": {"detail": {"type": "string"}},
    "required": ["detail"],
}
_REFUSALS = {
    408: "the body did not arrive in time",
    413: "the body or the number of rows is above the limit",
    422: "the rows do not fit the model: one line says which row and column",
    500: "a bug: the server's log has its traceback",
    503: "no model is loaded, or too many requests wait",
    504: "no prediction in time",
}


_READING = 64  # requests whose bodies may be on their way, beside those that wait


class RefusedError(Exception):
    """A request that gets no prediction.

    Args:
        status: of HTTP.
        line: why.
    """

    def __init__(self, status: int, line: str) -> None:
        self.status, self.line = status, line


class Service:
    """What the interface works on.

    Attributes:
        limits: of requests.
        metrics: of all requests.
        batcher: scores rows.
        model: that answers; None until it is loaded. Another one takes its place at any time.
        stopping: whether the server ends.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.metrics = Metrics()
        self.batcher = Batcher(limits, self.metrics)
        self.model: LoadedModel | None = None
        self.stopping = False
        self._open = 0

    def use(self, model: LoadedModel) -> None:
        """Answer with that model from now on; requests that wait keep theirs."""
        self.model = model
        self.metrics.model(model.name, model.version)

    async def answer(self, request: Request) -> Response:
        """Answer a request for predictions, and count it."""
        began, count, rows = time.perf_counter(), 200, 0
        self._open += 1
        try:
            content, rows = await self._predict(request)
            response = Response(content, media_type="application/json")
        except RefusedError as error:
            count = error.status
            response = JSONResponse({"detail": error.line}, count)
        except ClientDisconnect:
            count = 400
            response = Response(status_code=count)  # nobody reads it
        except UserError as error:
            count = 422
            response = JSONResponse({"detail": str(error.problems[0])}, count)
        except Exception as error:  # noqa: BLE001  # the answer says that there was one
            count = 500
            log_bug(error)
            line = "the rows cannot be predicted; the server's log says why"
            response = JSONResponse({"detail": line}, count)
        finally:
            self._open -= 1
        self.metrics.request(count, time.perf_counter() - began, rows)
        return response

    async def _predict(self, request: Request) -> tuple[bytes, int]:
        model = self.model
        if model is None:
            raise RefusedError(503, "the model is not loaded yet")
        if self._open > self.limits.max_waiting + _READING:
            raise RefusedError(503, f"{self._open - 1} requests are read or wait already")
        doing = 408, "the body did not arrive"
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                body = await self._body(request)
                doing = 504, "no prediction"
                most = self.limits.max_rows
                if has_more_rows(body, most):
                    line = f"too many rows; expected at most {most} (--max-rows); found more"
                    raise RefusedError(413, line)
                rows = model.rows.read(body)
                scored = await self.batcher.score(model, rows) if rows else b"[]"
        except TimeoutError:
            status, what = doing
            raise RefusedError(status, f"{what} within {self.limits.timeout_s:g} s") from None
        except FullError:
            line = f"{self.limits.max_waiting} requests wait already (--max-waiting)"
            raise RefusedError(503, line) from None
        return b'{"predictions":%b,"model":%b}' % (scored, model.quoted), len(rows)

    async def _body(self, request: Request) -> bytes:
        """The body, read no further than the limit."""
        most = int(self.limits.max_body * 2**20)
        line = f"the body is too large; expected at most {self.limits.max_body:g} MiB (--max-body)"
        if int(request.headers.get("content-length", 0)) > most:
            raise RefusedError(413, line)
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise RefusedError(413, line)
            parts.append(part)
        return b"".join(parts)


def app_of(service: Service) -> FastAPI:
    """The interface of a service."""
    app = FastAPI(title="recsys-mtl", version=installed_version())
    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": words, "content": {"application/json": {"schema": _ERROR}}}
        for status, words in _REFUSALS.items()
    }

    @app.post("/predict", summary="Predict one row or many", responses=errors)
    async def predict(request: Request) -> Response:
        return await service.answer(request)

    @app.get("/health", summary="The process works", response_class=PlainTextResponse)
    async def health() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/ready", summary="A model is loaded, and the server does not end")
    async def ready() -> Response:
        if service.model is None or service.stopping:
            line = "the server ends" if service.stopping else "the model is not loaded yet"
            return JSONResponse({"detail": line}, 503)
        return JSONResponse({"model": service.model.name})

    @app.get("/metrics", summary="For Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    def openapi() -> dict[str, Any]:
        described = get_openapi(title=app.title, version=app.version, routes=app.routes)
        if (model := service.model) is not None:
            post = described["paths"]["/predict"]["post"]
            content = {"schema": model.rows.json_schema(), "example": model.rows.example()}
            post["requestBody"] = {"required": True, "content": {"application/json": content}}
            answered = {"schema": model.answer_schema}
            post["responses"]["200"]["content"] = {"application/json": answered}
        return described

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app
