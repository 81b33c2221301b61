from __future__ import annotations

from typing import Any

import pytest

from recsys_mtl.columns.sequences import Attribute, EncoderSettings, SequenceSpec
from recsys_mtl.columns.spec import DataSpec, FeatureSpec, TableSpec
from recsys_mtl.config import sizes
from recsys_mtl.config.sizes import auto_dim
from recsys_mtl.errors import UserError
from recsys_mtl.memory import in_bytes, total_memory
from recsys_mtl.model.sequences import SequenceEncoders

HUGE = 10**18
ABSURD: dict[str, tuple[str, str]] = {
    "buckets": (
        f"features.city={{kind: categorical, encoding: hash, buckets: {HUGE}}}",
        r"features\.city\.buckets: 1\.0e\+18 rows of width 4 need 13\.9 EiB of "
        r"memory; expected a network that fits the 8\.0 GiB of this machine; found 13\.9 EiB",
    ),
    "ids": (
        f"features.city={{kind: categorical, encoding: id, rows: {HUGE}}}",
        r"features\.city\.rows: 1\.0e\+18 rows of width 4 need 13\.9 EiB of memory",
    ),
    "buckets of lists": (
        f"features.seen={{kind: categorical_list, encoding: hash, buckets: {10**12}}}",
        r"features\.seen\.buckets: 1,000,000,000,000 rows of width 4 need 14\.6 TiB of memory",
    ),
    "width of a table": (
        f"features.city={{kind: categorical, dim: {HUGE}}}",
        r"features\.city\.dim",
    ),
    "width of tables": (f"model.embedding.dim={HUGE}", r"model\.embedding\.dim"),
    "levels": (f"model.levels={HUGE}", r"model\.levels"),
    "hidden": (f"model.shared_experts=[{{kind: mlp, hidden: [{HUGE}]}}]", "shared_experts.0"),
    "hidden layers": (
        f"model.task_experts=[{{kind: mlp, hidden: [{10**9}, {10**9}]}}]",
        "experts.0",
    ),
    "experts": (f"model.shared_experts=[{{kind: mlp, count: {10**12}}}]", "shared_experts.0"),
    "cross layers": (f"model.task_experts=[{{kind: cross, layers: {10**10}}}]", "task_experts.0"),
    "cross width": (f"model.task_experts=[{{kind: cross, width: {HUGE}}}]", "task_experts.0"),
    "fields": (f"model.shared_experts=[{{kind: fm, fields: {HUGE}}}]", "shared_experts.0"),
    "fm width": (f"model.shared_experts=[{{kind: fm, width: {HUGE}}}]", "shared_experts.0"),
    "towers": (f"model.tower.hidden=[{HUGE}, 8]", r"model\.tower\.hidden"),
    "items": (f"tasks.item={{kind: retrieval, dim: {HUGE}}}", r"tasks\.item\.dim"),
    "an embedded number": (
        f"features.age.embedding={{name: linear, dim: {HUGE}}}",
        r"features\.age\.embedding",
    ),
    "an encoder": (
        f"features.went={{kind: sequence, table: city, target: city, "
        f"encoder: {{name: din, hidden: [{HUGE}]}}}}",
        r"features\.went\.encoder: an encoder of",
    ),
    "an attribute of a sequence": (
        f"features.went={{kind: sequence, table: city, attributes: "
        f"{{how: {{kind: categorical, dim: {HUGE}}}}}}}",
        r"features\.went\.attributes\.how\.dim",
    ),
    "frequencies": (
        f"features.age={{kind: numeric, transform: none, embedding: {{name: periodic, "
        f"frequencies: {HUGE}}}}}",
        r"features\.age\.embedding",
    ),
    "all digits": (f"model.embedding.dim={10**300}", r"embedding\.dim: .* need 3\.5e\+282 EiB"),
}


@pytest.mark.parametrize("case", ABSURD)
def test_an_absurd_size_is_refused_with_its_bytes(
    case: str, shared_toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    override, expected = ABSURD[case]
    monkeypatch.setattr(sizes, "total_memory", lambda: 8 * 2**30)
    with pytest.raises(UserError, match=expected) as caught:
        sizes.require_memory(shared_toy.config(override))
    assert "need" in str(caught.value)
    assert len(caught.value.problems) == 1


ATTRIBUTES = "attributes: {ago: {kind: numeric}, how: {kind: categorical, dim: 8}}"
ENCODERS = {
    "mean": "{name: mean}",
    "din": "{name: din, hidden: [5]}, target: city",
    "mha": "{name: mha, dim: 8}, target: city",
    "transformer": "{name: transformer, dim: 8}, target: city",
    "transformer without a candidate": "{name: transformer, dim: 8}",
}


@pytest.mark.parametrize("case", ENCODERS)
def test_an_encoder_reads_the_attributes_of_its_sequence(case: str, shared_toy: Any) -> None:
    encoder = ENCODERS[case]
    section = f"{{kind: sequence, table: city, {ATTRIBUTES}, encoder: {encoder}}}"
    config = shared_toy.config(f"features.went={section}", "model.embedding.dim=4")
    needs = list(sizes.memory_needs(config))
    target = "city" if "target" in encoder else ""
    went = config.features["went"]
    spec = SequenceSpec(
        "went",
        "sequence",
        tables=(TableSpec("went", 3, 4, "none", table="city"),),
        encoder=EncoderSettings(**went.model_dump()["encoder"]),
        max_length=1,
        target=target,
        ids=(Attribute("how", ""),),
        numbers=("ago",),
    )
    how = FeatureSpec("how", "sequence_ids", tables=(TableSpec("how", 3, 8, "none"),))
    city = FeatureSpec("city", "categorical", tables=(TableSpec("city", 3, 4),))
    encoders = SequenceEncoders(DataSpec((city, spec, how), ()))
    real = sum(p.numel() for p in encoders.parameters())
    counted = sum(need.weights for need in needs if need.path[-1] == "encoder")
    assert 0.75 * real <= counted <= real  # biases are not counted
    without = shared_toy.config(f"features.went={section}")
    del without.features["went"]
    width = {  # of the experts' inputs
        count: next(n.weights for n in sizes.memory_needs(c) if n.path[1] == "shared_experts") // 8
        for count, c in ((1, config), (0, without))
    }
    assert width[1] - width[0] == encoders.width


def test_ordinary_networks_fit(shared_toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shared_toy.config()
    sizes.require_memory(config)
    needed = sum(need.bytes for need in sizes.memory_needs(config))
    assert 10_000 < needed < 1_000_000
    monkeypatch.setattr(sizes, "total_memory", lambda: needed)
    sizes.require_memory(config)
    monkeypatch.setattr(sizes, "total_memory", lambda: None)
    sizes.require_memory(config)
    monkeypatch.setattr(sizes, "total_memory", lambda: needed - 1)
    with pytest.raises(UserError):
        sizes.require_memory(config)


@pytest.mark.parametrize(
    ("values", "dim"), [(0, 4), (1, 4), (5, 4), (6, 8), (41, 16), (150, 28), (200, 32), (10**9, 32)]
)
def test_the_width_by_cardinality(values: int, dim: int) -> None:
    """fastai: 2 → 3, 10 → 6, 100 → 21, 1,000 → 77."""
    assert auto_dim(values) == dim


@pytest.mark.parametrize("key", ["features.city.dim", "model.embedding.dim"])
def test_fitted_tables_count_as_they_are(
    key: str, shared_toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = shared_toy.config(f"{key}=auto")
    monkeypatch.setattr(sizes, "total_memory", lambda: 2**20)
    sizes.require_memory(config)
    sizes.require_memory(config, {"city": (9, 8)})
    with pytest.raises(UserError, match=rf"{key}: 10,000 rows of width 32 need 1\.2 MiB"):
        sizes.require_memory(config, {"city": (10_000, 32)})


@pytest.mark.parametrize(
    ("sharding", "backend", "most", "fits"),
    [
        ("row", "auto", 2**30, True),
        ("table", "torchrec", 2**30, True),
        ("replicated", "auto", 0, False),
        ("auto", "auto", 2**30, False),
        ("auto", "auto", 2**20, True),
        ("auto", "plain", 2**20, False),
    ],
)
def test_a_process_needs_its_part_of_the_tables(
    sharding: str,
    backend: str,
    most: int,
    fits: bool,
    shared_toy: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = f"training.tables.sharding={sharding}", f"model.embedding.backend={backend}"
    config, fitted = shared_toy.config(*keys), {"city": (10_000, 32)}
    monkeypatch.setattr(sizes, "total_memory", lambda: 2 * 2**20)
    monkeypatch.setattr(sizes, "REPLICATED_BYTES", most)
    sizes.require_memory(config, fitted)
    sizes.require_memory(config, fitted, processes=2)  # on another machine each
    if fits:
        sizes.require_memory(config, fitted, processes=2, local=2)
        return
    with pytest.raises(UserError, match=r"fits the 1\.0 MiB of this machine that each of 2"):
        sizes.require_memory(config, fitted, processes=2, local=2)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 bytes"), (1536, "1.5 KiB"), (2**70, "1024.0 EiB"), (10**999, "8.7e+980 EiB")],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert in_bytes(count) == text


def test_the_memory_of_this_machine() -> None:
    memory = total_memory()
    assert memory is None or memory > 2**28
