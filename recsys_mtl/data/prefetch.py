"""Items made ahead in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")


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
