from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """OpenMP's threads wait for each other at every split: a busy machine is 50 times slower."""
    with threadpool_limits(1, "openmp"):
        yield
