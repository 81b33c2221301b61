"""Items made ahead in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError, wait
from typing import TypeVar

from recsys_mtl.errors import wrong

_Item = TypeVar("_Item")
NAME, SECONDS = "prefetch", 10.0  # of the threads, and between two looks whether one is alive


def prefetched(items: Iterator[_Item], ahead: int = 2) -> Generator[_Item]:
    """The same items, none of them None, made while the consumer works on earlier ones.

    At most `ahead` of them wait. Closing the generator ends the thread; an error is raised here.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        waiting = deque(pool.submit(next, items, None) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item
            del item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
