import os
import signal
import threading

import pytest

from recsys_mtl.interrupt import Terminated, Termination, graceful_interrupt


def test_the_first_signal_only_asks():
    with graceful_interrupt() as requested:
        assert not requested()
        os.kill(os.getpid(), signal.SIGINT)
        assert requested()


def test_the_second_signal_raises_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with graceful_interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_installed():
    seen = []

    def body():
        with graceful_interrupt() as requested:
            seen.append((requested(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_sigterm_raises_at_once_or_is_requested():
    termination = Termination()
    with termination.handled():
        assert not termination.requested
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
    deferred = Termination()
    with deferred.handled(), deferred.deferred(), graceful_interrupt() as requested:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not requested()
        assert deferred.requested
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_the_program_stays():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("own"))
    try:
        with Termination().handled(), graceful_interrupt() as requested:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not requested()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["own"]
