"""Items made ahead in threads, in their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Generic, TypeVar

from recsys_mtl.errors import UserError, wrong

_Item = TypeVar("_Item")
_Raw = TypeVar("_Raw")
SECONDS = 10.0  # after which a thread that gives nothing is looked for


def prefetched(items: Iterator[_Item], ahead: int = 2) -> Generator[_Item]:
    """The same items, made in one thread; see `made_ahead`."""
    return made_ahead([items], _same, ahead=ahead, threads=1)


def made_ahead(
    sources: Sequence[Iterator[_Raw]],
    make: Callable[[_Raw], _Item],
    *,
    ahead: int,
    threads: int,
) -> Generator[_Item]:
    """What is made of the items of all sources in turn, while the consumer works on earlier ones.

    Different sources are read at the same time, and so are items made; one source is read by one
    thread at a time. The order depends on nothing of it. At most `ahead` items wait. Closing the
    generator ends the threads; an error is raised here, in the place of its item.

    Args:
        sources: none of their items is None; the first one that ends ends all.
        make: of an item, in any thread.
        ahead: items that are made or wait.
        threads: how many there are.

    Raises:
        UserError: a thread was killed.
    """
    started: list[threading.Thread] = []
    queues = [_Queue(source) for source in sources]

    def made(number: int) -> _Item | None:
        turn, queue = divmod(number, len(queues))
        item = queues[queue].take(turn)
        return None if item is None else make(item)

    pool = ThreadPoolExecutor(
        threads,
        thread_name_prefix="prefetch",
        initializer=lambda: started.append(threading.current_thread()),
    )
    try:
        numbers = count()
        waiting = deque(pool.submit(made, next(numbers)) for _ in range(ahead))
        while (item := _made(waiting.popleft(), started)) is not None:
            waiting.append(pool.submit(made, next(numbers)))
            yield item
            del item
    finally:
        for queue in queues:
            queue.close()
        pool.shutdown(wait=True, cancel_futures=True)


class _Queue(Generic[_Raw]):
    """Items that threads take in order: who comes early waits for those before.

    The pool starts its work in order, so whoever is waited for has started.

    Args:
        items: the items.
    """

    def __init__(self, items: Iterator[_Raw]) -> None:
        self._items = items
        self._turn = 0
        self._closed = False
        self._moved = threading.Condition()

    def take(self, turn: int) -> _Raw | None:
        """The item of that number; None after the last one, and once closed."""
        with self._moved:
            self._moved.wait_for(lambda: self._closed or self._turn == turn)
            if self._closed:
                return None
            try:
                return next(self._items, None)
            finally:
                self._turn += 1
                self._moved.notify_all()

    def close(self) -> None:
        """Nothing more is taken."""
        self._closed = True  # at once: a reader holds the lock
        with self._moved:
            self._moved.notify_all()


def _same(item: _Item) -> _Item:
    return item


def _made(item: Future[_Item | None], threads: Sequence[threading.Thread]) -> _Item | None:
    """The item; a pool does not notice that a thread of its has died, and would wait forever."""
    while True:
        try:
            return item.result(SECONDS)
        except SystemExit as error:
            raise _killed() from error
        except TimeoutError:
            if item.done():  # the error is that of the item
                raise
            if not all(thread.is_alive() for thread in threads):
                raise _killed() from None


def _killed() -> UserError:
    return wrong("the thread that reads rows was killed", where="data", fix="run it again")
