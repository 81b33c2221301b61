from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from recsys_mtl.columns.spec import TableSpec
from recsys_mtl.errors import UserError
from recsys_mtl.features.block import Bag
from recsys_mtl.memory import peak_memory_mb, reset_peak_memory
from recsys_mtl.model import embeddings_backend, embeddings_plain
from recsys_mtl.model.embeddings import Embeddings, table_name
from recsys_mtl.model.embeddings_backend import make_embeddings

TABLES = (TableSpec("city", 9, 4), TableSpec("a.b", 5, 8))
LISTS = (TableSpec("brands", 7, 4, "mean"), TableSpec("shops", 6, 12, "sum"))
B = 11
WIDTH = 28
OPTIMIZERS = ["sgd", "adagrad", "rowwise_adagrad"]
POOLED_TOGETHER = (
    TableSpec("video", 9, 4),
    TableSpec("city", 5, 8),
    TableSpec("liked", 9, 4, "mean", table="video"),
    TableSpec("home", 5, 8, table="city"),
    TableSpec("hidden", 9, 4, "sum", table="video"),
)
WITH_SEQUENCES = (
    TableSpec("watched", 9, 4, "none", table="video"),
    *POOLED_TOGETHER,
    TableSpec("times", 6, 12, "none"),
    TableSpec("bought", 9, 4, "none", table="video"),
)


@pytest.fixture(scope="module", params=["plain", "plain, rows of the batch", "torchrec"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "torchrec" and not have_torchrec():
        pytest.skip("torchrec does not import")
    with pytest.MonkeyPatch.context() as patch:
        if "rows" in request.param:
            patch.setattr(embeddings_plain, "_all_at_once", lambda *_: False)
        yield request.param.partition(",")[0]


def have_torchrec() -> bool:
    return embeddings_backend._torchrec_obstacle(()) == ""


def make(
    backend: str, optimizer: str = "rowwise_adagrad", seed: int = 0, decay: float = 0.0
) -> Embeddings:
    torch.manual_seed(seed)
    return make_embeddings(
        TABLES + LISTS,
        backend=backend,
        optimizer=optimizer,
        learning_rate=0.1,
        weight_decay=decay,
    )


def rows(count: int, seed: int) -> tuple[list[Bag], int]:
    """Ids with many duplicates, also inside a list; some lists are empty."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 5, (count, 2), generator=g)
    lengths = torch.randint(0, 4, (count, 2), generator=g)
    lists = [torch.randint(0, 6, (int(n),), generator=g) for n in lengths.sum(0)]
    singles: list[Bag] = [(column, None) for column in ids.unbind(1)]
    return [*singles, *zip(lists, lengths.unbind(1), strict=True)], count


def slow_pool(weights: list[Tensor], batch: tuple[list[Bag], int]) -> Tensor:
    bags, count = batch
    columns = []
    for b in range(count):
        parts = [weights[t][bags[t][0][b]] for t in range(2)]
        for m in range(2):
            lists, lengths = bags[2 + m]
            start = int(lengths[:b].sum())
            read = weights[2 + m][lists[start : start + int(lengths[b])]]
            total = read.sum(0)
            parts.append(total / len(read) if m == 0 and len(read) else total)
        columns.append(torch.cat(parts))
    return torch.stack(columns)


def slow_update(
    weight: Tensor, gradient: Tensor, state: Tensor, optimizer: str, rate: float
) -> None:
    """The optimizer by the book on the summed (dense) gradient of one table."""
    if optimizer == "sgd":
        weight -= rate * gradient
    elif optimizer == "adagrad":
        state += gradient**2
        weight -= rate * gradient / (state.sqrt() + 1e-8)
    else:
        state += (gradient**2).mean(1, keepdim=True)
        weight -= rate * gradient / (state.sqrt() + 1e-8)


def slow_decay(weights: list[Tensor], batch: tuple[list[Bag], int], factor: float) -> None:
    """The rows that any bag reads, one after another."""
    for weight, (ids, _) in zip(weights, batch[0], strict=True):
        for row in set(ids.tolist()):
            weight[row] *= factor


@pytest.mark.parametrize("count", [1, B])
def test_pools_as_the_loop_does(backend: str, count: int) -> None:
    made = make(backend)
    batch = rows(count, seed=1)
    got = made(*batch)
    assert got.shape == (count, WIDTH)
    assert made.width == WIDTH
    torch.testing.assert_close(got, slow_pool(made.weights(), batch))


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_backward_is_one_exact_update(backend: str, optimizer: str, decay: float) -> None:
    made = make(backend, optimizer, decay=decay)
    slow = [w.detach().clone().requires_grad_() for w in made.weights()]
    states = [torch.zeros_like(w) for w in slow]
    for step in range(3):
        batch = rows(B, seed=step)
        cotangent = torch.randn(B, WIDTH)
        made(*batch).backward(cotangent)
        gradients = torch.autograd.grad(slow_pool(slow, batch), slow, cotangent)
        with torch.no_grad():
            slow_decay(slow, batch, 1 - 0.1 * decay)
            for w, g, state in zip(slow, gradients, states, strict=True):
                slow_update(w, g, state, optimizer, 0.1)
        for got, want in zip(made.weights(), slow, strict=True):
            torch.testing.assert_close(got.detach(), want.detach(), atol=1e-6, rtol=1e-6)


@pytest.mark.skipif(not have_torchrec(), reason="torchrec does not import")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_backends_agree(optimizer: str) -> None:
    plain, fused = (make(name, optimizer, decay=0.5) for name in ("plain", "torchrec"))
    assert list(plain.state_dict()) == list(fused.state_dict())
    for step in range(3):
        cotangent = torch.randn(B, WIDTH)
        for made in (plain, fused):
            made.set_learning_rate(0.1 / (1 + step))
            made(*rows(B, seed=step)).backward(cotangent)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[name], value, atol=1e-6, rtol=1e-6)
    states = plain.accumulators(), fused.accumulators()
    assert list(states[0]) == list(states[1])
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-6, rtol=1e-6)


@pytest.mark.skipif(not have_torchrec(), reason="torchrec does not import")
def test_same_seed_same_weights_and_the_generator_moves_equally() -> None:
    plain = make("plain", seed=3)
    after = torch.rand(1)
    fused = make("torchrec", seed=3)
    assert torch.equal(torch.rand(1), after)
    for a, b in zip(plain.weights(), fused.weights(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can start the count anew")
def test_initial_weights_are_drawn_in_place() -> None:
    make_embeddings([TableSpec("city", 2**10, 16)], backend="plain")  # what is loaded once
    reset_peak_memory()
    before = peak_memory_mb()
    tables = make_embeddings([TableSpec("city", 2**21, 16)], backend="plain")
    assert tables.weights()[0].nbytes == 2**27
    assert peak_memory_mb() - before < 1.5 * 128


def test_names(backend: str) -> None:
    names = [f"embedding_bags.t_{n}.weight" for n in ("city", "a%2Eb", "brands", "shops")]
    assert list(make(backend).state_dict()) == names
    assert table_name("a.b") == "t_a%2Eb"


def test_learning_rate_of_zero_stops(backend: str) -> None:
    made = make(backend, "sgd")
    before = [w.detach().clone() for w in made.weights()]
    made.set_learning_rate(0.0)
    made(*rows(B, seed=0)).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, made.weights(), strict=True))


def test_forward_alone_never_updates(backend: str) -> None:
    made = make(backend)
    before = [w.detach().clone() for w in made.weights()]
    made(*rows(B, seed=0))
    made.eval()
    with torch.no_grad():
        made(*rows(B, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(before, made.weights(), strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_state_round_trip_continues_exactly(backend: str, optimizer: str) -> None:
    first, second = make(backend, optimizer), make(backend, optimizer, seed=9)
    first(*rows(B, seed=0)).sum().backward()
    second.load_state_dict(first.state_dict())
    second.load_optimizer_state(first.accumulators())
    for made in (first, second):
        made(*rows(B, seed=1)).square().sum().backward()
    for a, b in zip(first.weights(), second.weights(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first(*rows(B, seed=2)), second(*rows(B, seed=2)))


def test_foreign_optimizer_state_is_refused(backend: str) -> None:
    with pytest.raises(ValueError, match="optimizer state"):
        make(backend).load_optimizer_state(make(backend, "adagrad").accumulators())


def test_tables_stay_float32_under_autocast(backend: str) -> None:
    made = make(backend)
    exact = made(*rows(B, seed=0))
    with torch.autocast("cpu", torch.bfloat16):
        got = made(*rows(B, seed=0))
    assert got.dtype == torch.float32
    assert torch.equal(got, exact)


def test_only_empty_lists(backend: str) -> None:
    made = make(backend)
    empty = torch.zeros(0, dtype=torch.int64)
    none = torch.zeros(2, dtype=torch.int64)
    got = made([(none, None), (none, None), (empty, none), (empty, none)], 2)
    assert torch.equal(got[:, 12:], torch.zeros(2, 16))
    got.sum().backward()


def test_no_tables() -> None:
    made = make_embeddings(())
    pooled = made([], 3)
    pooled.backward(torch.zeros(3, 0))
    assert pooled.shape == (3, 0)


def test_auto_takes_what_is_faster() -> None:
    if not have_torchrec():
        pytest.skip("torchrec does not import")
    few = (TableSpec("x", embeddings_plain.FEW_VALUES // 8, 4),)
    types = [type(make_embeddings(reads)).__name__ for reads in (few, (*few, *few))]
    assert types == ["PlainEmbeddings"] * 2  # one table, read twice
    more = (*few, TableSpec("y", embeddings_plain.FEW_VALUES // 8 + 1, 4))
    assert type(make_embeddings(more)).__name__ == "TorchrecEmbeddings"


def test_rows_that_are_not_read_stay(backend: str) -> None:
    """Also their optimizer state, whichever way the rows are updated."""
    made = make(backend)
    before = [weight.clone() for weight in made.weights()]
    none = torch.zeros(2, dtype=torch.int64)
    ids = torch.ones(2, dtype=torch.int64)
    lists = (torch.ones(4, dtype=torch.int64), none + 2)
    made([(ids, None), (ids, None), lists, lists], 2).sum().backward()
    for weight, old in zip(made.weights(), before, strict=True):
        changed = (weight != old).any(1).nonzero().flatten().tolist()
        assert changed == [1]
    for state in made.accumulators().values():
        assert state.nonzero().flatten().tolist() == [1]


def test_auto_falls_back_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "recsys_mtl.model.embeddings_backend"):
        made = make_embeddings((TableSpec("x", 2**16, 5),), backend="auto")
    assert "x (5)" in caplog.text
    assert type(made).__name__ == "PlainEmbeddings"


def test_unavailable_torchrec_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "recsys_mtl.model.embeddings_torchrec", None)
    with pytest.raises(UserError, match=r"model\.embedding\.backend.*does not import"):
        make_embeddings(TABLES, backend="torchrec")
    assert (
        type(make_embeddings((TableSpec("x", 2**16, 8),), backend="auto")).__name__
        == "PlainEmbeddings"
    )


def bags_of(reads: tuple[TableSpec, ...], count: int, seed: int) -> list[Bag]:
    """Ids with many duplicates, also between the reads of a table; single where pooling is sum."""
    g = torch.Generator().manual_seed(seed)
    bags: list[Bag] = []
    for index, read in enumerate(reads):
        single = read.pooling == "sum" and read.name != "hidden"
        lengths = torch.randint(0, 3 + index, (count,), generator=g)
        size = count if single else int(lengths.sum())
        bags.append((torch.randint(0, 5, (size,), generator=g), None if single else lengths))
    return bags


def slow_outputs(
    reads: tuple[TableSpec, ...], weights: dict[str, Tensor], bags: list[Bag], count: int
) -> list[Tensor]:
    """What is read, row by row: the pooled columns, then each sequence."""
    columns, sequences = [], []
    for read, (ids, lengths) in zip(reads, bags, strict=True):
        weight = weights[read.key]
        if read.pooling == "none":
            sequences.append(torch.stack([weight[i] for i in ids.tolist()]))
            continue
        ends = torch.ones(count, dtype=torch.int64) if lengths is None else lengths
        rows = [weight[part].sum(0) for part in ids.split(ends.tolist())]
        if read.pooling == "mean":
            rows = [row / max(int(n), 1) for row, n in zip(rows, ends, strict=True)]
        columns.append(torch.stack(rows))
    return [torch.cat(columns, 1), *sequences]


@pytest.mark.parametrize("reads", [POOLED_TOGETHER, WITH_SEQUENCES], ids=["pooled", "sequences"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_shared_table_has_one_exact_update(
    backend: str, optimizer: str, reads: tuple[TableSpec, ...]
) -> None:
    torch.manual_seed(0)
    made = make_embeddings(
        reads, backend=backend, optimizer=optimizer, learning_rate=0.1, weight_decay=0.5
    )
    keys = list(dict.fromkeys(read.key for read in reads))
    assert list(made.state_dict()) == [f"embedding_bags.t_{key}.weight" for key in keys]
    slow = {
        k: w.detach().clone().requires_grad_() for k, w in zip(keys, made.weights(), strict=True)
    }
    states = {key: torch.zeros_like(weight) for key, weight in slow.items()}
    for step in range(3):
        bags = bags_of(reads, 7, seed=step)
        pooled, sequences = made.with_sequences(bags, 7)
        expected = slow_outputs(reads, slow, bags, 7)
        torch.testing.assert_close([pooled, *sequences], expected)
        cotangents = [torch.randn_like(part) for part in expected]
        torch.autograd.backward([pooled, *sequences], cotangents)
        gradients = torch.autograd.grad(expected, [*slow.values()], cotangents)
        with torch.no_grad():
            for key, gradient in zip(keys, gradients, strict=True):
                read = zip(reads, bags, strict=True)
                for row in {i for r, (ids, _) in read if r.key == key for i in ids.tolist()}:
                    slow[key][row] *= 1 - 0.1 * 0.5
                slow_update(slow[key], gradient, states[key], optimizer, 0.1)
        for got, want in zip(made.weights(), slow.values(), strict=True):
            torch.testing.assert_close(got.detach(), want.detach(), atol=1e-6, rtol=1e-6)
    stored = made.accumulators()
    assert list(stored) == ([] if optimizer == "sgd" else [table_name(key) for key in keys])
