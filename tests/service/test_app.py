from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_mtl.service.model import LoadedModel
from recsys_mtl.service.request import Row
from tests.service.conftest import running
from tests.serving.conftest import Trained, raw_rows

REQUESTS = "recsys_mtl_requests_total"
BAD = "s3cret"


def values(metrics: str) -> dict[str, float]:
    lines = [line for line in metrics.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class Held:
    """Holds the model's answers back until `free` is set."""

    def __init__(self, model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.batches = threading.Event(), list[list[Any]]()
        answers = model.answers

        def held(requests: Any) -> Any:
            self.batches.append(list(requests))
            assert self.free.wait(10)
            return answers(requests)

        monkeypatch.setattr(model, "answers", held)


def test_the_answer_is_the_predictor_s(model, rows, trained: Trained) -> None:
    async def scenario() -> None:
        async with running(model) as (ask, _):
            status, answer = await ask("/predict", {"rows": rows}, parts=3)
            assert status == 200
            assert answer["model"] == "models:/shop/3"
            frame = raw_rows(40, 7)
            assert answer["predictions"] == trained.predictor.predict(frame).to_dicts()
            one = await ask("/predict", {"rows": rows[:1]})
            assert len(one[1]["predictions"]) == 1
            assert await ask("/predict", {"rows": []}) == (200, answer | {"predictions": []})

    asyncio.run(scenario())


def test_waiting_requests_are_scored_together_and_answered_apart(
    model, rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(model, monkeypatch)
    requests = [rows[:2], *([row] for row in rows[2:8]), rows[8:11]]

    async def scenario() -> None:
        async with running(model, batch_rows=7) as (ask, _):
            asked = [asyncio.create_task(ask("/predict", {"rows": some})) for some in requests]
            while not held.batches:
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            held.free.set()
            answers = await asyncio.gather(*asked)
            metrics = values((await ask("/metrics"))[1])
        assert {status for status, _ in answers} == {200}
        together = [answer["predictions"] for _, answer in answers]
        frames = [pl.DataFrame(own) for own in together]
        alone = [pl.DataFrame(json.loads(model.answers([some])[0])) for some in requests]
        for ours, expected in zip(frames, alone, strict=True):
            assert_frame_equal(ours, expected, rel_tol=1e-5, abs_tol=1e-6)
        sizes = [[len(some) for some in batch] for batch in held.batches[:2]]
        assert sum(map(len, sizes)) <= len(requests)
        assert all(sum(batch) <= 7 for batch in sizes)
        assert metrics["recsys_mtl_batch_rows_sum"] == metrics["recsys_mtl_rows_total"] == 11
        assert metrics["recsys_mtl_batch_rows_count"] < len(requests)
        assert metrics[f'{REQUESTS}{{status="200"}}'] == len(requests)
        assert metrics['recsys_mtl_model{model="models:/shop/3",version="3"}'] == 1

    asyncio.run(scenario())


def test_a_wrong_row_fails_its_own_request_alone(
    model, rows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(model, monkeypatch)
    mixed = [rows[0] | {"tags": "a|b"}, rows[1] | {"tags": ["a"]}]  # of two types in one request
    predict = model._predictor.predict_rows

    def fragile(some: list[Row]) -> Any:
        for row in some:
            if row["city"] == BAD:
                raise RuntimeError(row["city"])
        return predict(some)

    monkeypatch.setattr(model._predictor, "predict_rows", fragile)
    requests = [
        rows[:1],
        mixed,
        [rows[0] | {"city": BAD}],
        [rows[2] | {"age": "x"}],
        rows[3:5],
    ]

    async def scenario() -> Any:
        async with running(model) as (ask, _):
            asked = [asyncio.create_task(ask("/predict", {"rows": some})) for some in requests]
            while not held.batches:
                await asyncio.sleep(0)
            held.free.set()
            return await asyncio.gather(*asked)

    with caplog.at_level(logging.INFO):
        answers = asyncio.run(scenario())
    assert [status for status, _ in answers] == [200, 422, 500, 422, 200]
    assert answers[1][1]["detail"].startswith("column 'tags': not a single value")
    assert answers[2][1] == {"detail": "the rows cannot be predicted; the server's log says why"}
    assert "a request failed with RuntimeError" in caplog.text
    assert BAD not in caplog.text


@pytest.mark.parametrize(
    ("limits", "content", "more", "status", "line"),
    [
        ({"max_rows": 2}, 3, {}, 413, "too many rows; expected at most 2 (--max-rows); found more"),
        (
            {"max_body": 0.001},
            9,
            {},
            413,
            "the body is too large; expected at most 0.001 MiB (--max-body)",
        ),
        (
            {"max_body": 0.001},
            0,
            {"headers": [(b"content-length", b"9999")]},
            413,
            "the body is too large; expected at most 0.001 MiB (--max-body)",
        ),
        ({"timeout_s": 0.01}, 1, {}, 504, "no prediction within 0.01 s"),
        ({}, None, {}, 503, "the model is not loaded yet"),
    ],
)
def test_limits(
    limits: Any, content: Any, more: Any, status: int, line: str, model, rows, monkeypatch
) -> None:
    held = Held(model, monkeypatch)

    async def scenario() -> None:
        async with running(None if content is None else model, **limits) as (ask, service):
            answer = await ask("/predict", {"rows": rows[: content or 0]}, **more)
            assert answer == (status, {"detail": line})
            held.free.set()
            assert values((await ask("/metrics"))[1])[f'{REQUESTS}{{status="{status}"}}'] == 1
            assert (await ask("/ready"))[0] == (503 if content is None else 200)
            assert await ask("/health") == (200, "ok\n")
            service.stopping = True
            assert await ask("/ready") == (503, {"detail": "the server ends"})

    asyncio.run(scenario())


def test_a_body_that_does_not_arrive_and_a_full_queue(model, rows, monkeypatch) -> None:
    held = Held(model, monkeypatch)

    async def scenario() -> None:
        async with running(model, timeout_s=0.01) as (ask, _):
            answer = await ask("/predict", b"{", late=True)
            assert answer == (408, {"detail": "the body did not arrive within 0.01 s"})
        async with running(model, max_waiting=1) as (ask, _):
            asked = [asyncio.create_task(ask("/predict", {"rows": rows[:1]}))]
            while not held.batches:
                await asyncio.sleep(0)
            asked += [asyncio.create_task(ask("/predict", {"rows": rows[:1]})) for _ in range(2)]
            await asyncio.sleep(0.01)
            held.free.set()
            statuses = [(await one)[0] for one in asked]
            assert statuses == [200, 200, 503]

    asyncio.run(scenario())


def test_the_description_is_typed(model) -> None:
    async def scenario() -> Any:
        async with running(model) as (ask, _):
            return await ask("/openapi.json")

    status, described = asyncio.run(scenario())
    assert status == 200
    post = described["paths"]["/predict"]["post"]
    body = post["requestBody"]["content"]["application/json"]
    assert body["example"] == model.rows.example()
    assert "age" in body["schema"]["properties"]["rows"]["items"]["properties"]
    answer = post["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    columns = answer["predictions"]["items"]["properties"]
    assert columns["click"] == {"type": "number"}
    assert columns["plan"] == {"type": "string"}
    assert columns["next"] == {"type": "array", "items": {"type": "string"}}
    assert {"413", "422", "503", "504"} <= post["responses"].keys()
