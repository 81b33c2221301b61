from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import polars as pl
import pytest

from recsys_mtl.scoring.stream import regrouped

ROWS = pl.DataFrame({"row": range(103)})


def cut(frame: pl.DataFrame, rng: np.random.Generator) -> list[pl.DataFrame]:
    bounds = [0, *sorted(rng.integers(0, frame.height, 9)), frame.height]
    return [frame.slice(a, b - a) for a, b in pairwise(bounds)]


@pytest.mark.parametrize("part_rows", [10, 25, 1000])
@pytest.mark.parametrize("chunk_rows", [1, 7, 64])
def test_chunks_do_not_depend_on_how_the_source_is_cut(
    rng: np.random.Generator, part_rows: int, chunk_rows: int
) -> None:
    sizes = {"chunk_rows": chunk_rows, "part_rows": part_rows}
    complete = [f["row"].to_list() for f in regrouped([ROWS], 0, 103, **sizes)]
    again = [f["row"].to_list() for f in regrouped(cut(ROWS, rng), 0, 103, **sizes)]
    assert again == complete
    assert [*chain(*complete)] == ROWS["row"].to_list()
    for rows in complete:
        assert len(rows) <= chunk_rows
        assert rows[0] // part_rows == rows[-1] // part_rows
        assert (rows[0] % part_rows) % chunk_rows == 0


def test_a_later_part_has_the_same_chunks() -> None:
    sizes = {"chunk_rows": 7, "part_rows": 20}
    complete = [f["row"].to_list() for f in regrouped([ROWS], 0, 103, **sizes)]
    late = [f["row"].to_list() for f in regrouped([ROWS.slice(40)], 40, 80, **sizes)]
    assert late == [rows for rows in complete if 40 <= rows[0] < 80]
