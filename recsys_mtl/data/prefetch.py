"""Items made ahead in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from recsys_mtl.errors import UserError, wrong

_Item = TypeVar("_Item")
SECONDS = 10.0  # after which a thread that gives nothing is looked for


def prefetched(items: Iterator[_Item], ahead: int = 2) -> Generator[_Item]:
    """The same items, none of them None, made while the consumer works on earlier ones.

    At most `ahead` of them wait. Closing the generator ends the thread; an error is raised here.

    Raises:
        UserError: the thread was killed.
    """
    threads: list[threading.Thread] = []

    def started() -> None:
        threads.append(threading.current_thread())

    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch", initializer=started)
    try:
        waiting = deque(pool.submit(next, items, None) for _ in range(ahead))
        while (item := _made(waiting.popleft(), threads)) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item
            del item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _made(item: Future[_Item | None], threads: Sequence[threading.Thread]) -> _Item | None:
    """The item; a pool does not notice that its thread has died, and would wait forever."""
    while True:
        try:
            return item.result(SECONDS)
        except SystemExit as error:
            raise _killed() from error
        except TimeoutError:
            if item.done():  # the error is that of the item
                raise
            if not any(thread.is_alive() for thread in threads):
                raise _killed() from None


def _killed() -> UserError:
    return wrong("the thread that reads rows was killed", where="data", fix="run it again")
