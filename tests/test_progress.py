import logging

import pytest

from recsys_mtl import progress as module


def test_lines_tell_rows_rate_and_time_left_where_there_is_no_terminal(monkeypatch, caplog):
    clock = iter([0.0, 5.0, 20.0, 21.0])
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    caplog.set_level(logging.INFO)
    with module.progress("epoch 1/2", 100) as advance:
        advance(10)  # 5 s: too early for a line
        advance(30, "loss 0.5")  # 20 s
        advance(60)
    assert [r.getMessage() for r in caplog.records] == [
        "epoch 1/2: 40 of 100 rows, 2 rows/s, 30 s left; loss 0.5"
    ]


def test_what_was_done_before_counts_for_the_time_left_only(monkeypatch, caplog):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    caplog.set_level(logging.INFO)
    with module.progress("epoch 1/2", 100, done=60) as advance:
        advance(20)
    assert [r.getMessage() for r in caplog.records] == [
        "epoch 1/2: 80 of 100 rows, 1 rows/s, 20 s left; "
    ]


def test_a_bar_on_a_terminal_leaves_no_lines(monkeypatch, caplog, capsys):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    caplog.set_level(logging.INFO)
    with module.progress("epoch 1/1", 10) as advance:
        advance(10)
    assert caplog.records == []


def test_errors_pass_through():
    with pytest.raises(RuntimeError, match="inside"), module.progress("x", 1):
        raise RuntimeError("inside")
