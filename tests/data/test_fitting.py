from __future__ import annotations

import polars as pl
import pytest

from recsys_mtl.data.fitting import Fitting
from recsys_mtl.data.prepare import prepare
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.errors import UserError
from tests.encoded import tensors
from tests.toy import Toy

NEGATIVES = 'data.negatives={"task": "click", "keep": 0.4}'


@pytest.mark.parametrize("loading", ["memory", "stream"])
def test_data_are_prepared_again_without_a_fit(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, loading: str
) -> None:
    config = toy.config(f"data.loading={loading}", NEGATIVES, "training.recipe=auto")
    first = prepare(config)
    fitting = Fitting.from_files(first.fitting.to_files())
    monkeypatch.setattr(Preprocessor, "fit", lambda *_, **__: pytest.fail("a fit"))
    again = prepare(config, fitting=fitting)
    assert again.preprocessor.to_dict() == first.preprocessor.to_dict()
    assert again.example.equals(first.example)
    for name in ("config", "derived", "rows", "fingerprint", "warnings", "streamed"):
        assert getattr(again, name) == getattr(first, name), name
    for one, other in zip(again.preprocessor.features, first.preprocessor.features, strict=True):
        rates, expected = one.unknown_rates(0.25), other.unknown_rates(0.25)
        assert (rates is None) == (expected is None)
        assert rates is None or (rates == expected).all()
    for split, loader in first.loaders.items():
        batches = zip(again.loaders[split].epoch(1), loader.epoch(1), strict=True)
        for actual, wanted in batches:
            assert all((a == b).all() or a.isnan().any() for a, b in pairs(actual, wanted))


def pairs(actual, wanted):
    return zip(tensors(actual).values(), tensors(wanted).values(), strict=True)


def test_other_data_are_refused(toy: Toy) -> None:
    config = toy.config()
    fitting = prepare(config).fitting
    toy.rows().with_columns(pl.col("age") + 1).write_parquet(toy.data)
    with pytest.raises(UserError, match=r"--resume: the data are not those .* --resume never"):
        prepare(config, fitting=fitting)
