"""SIGTERM interrupts what can be repeated and waits for what must be whole."""

import os
import signal

import pytest

from agents.llm.distributed.stop_signal import Stopped, StopSignal


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_rollout_is_interrupted_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    reached = []
    with StopSignal() as stop, pytest.raises(Stopped), stop.interruptible():
        terminate()
        reached.append("after")
    assert not reached
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_update_is_finished_first() -> None:
    reached = []
    with StopSignal() as stop:
        terminate()
        reached.append("rest of the update")
        with pytest.raises(Stopped), stop.interruptible():
            reached.append("next rollout")
    assert reached == ["rest of the update"]


def test_a_second_signal_does_not_interrupt_the_saving() -> None:
    with StopSignal() as stop:
        with pytest.raises(Stopped), stop.interruptible():
            terminate()
        terminate()
        saved = True
    assert saved


def test_a_second_signal_does_not_interrupt_the_end_of_the_first() -> None:
    ended = []
    with StopSignal() as stop, pytest.raises(Stopped), stop.interruptible():
        try:
            terminate()
        finally:
            terminate()
            ended.append("rollout")
    assert ended == ["rollout"]


def test_an_error_is_not_hidden_by_the_signal() -> None:
    with StopSignal(), pytest.raises(ZeroDivisionError):
        terminate()
        raise ZeroDivisionError


def test_the_signal_cannot_end_who_still_has_to_say_what_was_lost() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(ConnectionError), StopSignal(outlasting=ConnectionError):
            raise ConnectionError
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(ZeroDivisionError), StopSignal(outlasting=ConnectionError):
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before
