"""Signals: Ctrl-C ends a training gracefully; SIGTERM ends it when its state is stored."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


class Terminated(BaseException):
    """SIGTERM ended the job; the text is what its user should know."""


class Termination:
    """What SIGTERM does while a job runs: it raises `Terminated`.

    Within `deferred` it only sets `requested`, so that the state is consistent.
    """

    def __init__(self) -> None:
        self._deferred = False
        self._requested = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """SIGTERM is handled inside, unless the program has a handler of its own or ignores it."""
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            yield
            return
        signal.signal(signal.SIGTERM, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside nothing is raised."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    @property
    def requested(self) -> bool:
        """Whether SIGTERM has come."""
        return self._requested

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        if not self._deferred:
            raise Terminated("terminated")


@contextmanager
def graceful_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside, the first SIGINT or SIGTERM only sets a flag; a second SIGINT raises as usual.

    SIGTERM is left alone where the program has a handler of its own.

    Yields:
        A function: whether a stop was requested.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may set signal handlers
        return
    requested = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True
        log.warning("stopping after this batch; once more to stop at once")

    handled = []
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a worker leaves it to its parent
        handled.append(signal.SIGINT)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        handled.append(signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in handled}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
