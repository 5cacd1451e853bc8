"""SIGTERM interrupts what can be repeated and waits for what must be whole."""

import os
import signal

import pytest

from agents.llm.stop_signal import Stopped, StopSignal


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_rollout_is_interrupted_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    reached = []
    with StopSignal(), pytest.raises(Stopped):
        terminate()
        reached.append("after")
    assert not reached
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_update_is_finished_first() -> None:
    reached = []
    with StopSignal() as stop, pytest.raises(Stopped), stop.shielded():
        terminate()
        reached.append("rest of the update")
    assert reached == ["rest of the update"]


def test_a_second_signal_does_not_interrupt_the_saving() -> None:
    with StopSignal() as stop:
        with pytest.raises(Stopped):
            terminate()
        terminate()
        saved = True
    assert saved
    assert not stop._shielded


def test_an_error_inside_the_shield_is_not_hidden_by_the_signal() -> None:
    with StopSignal() as stop, pytest.raises(ZeroDivisionError), stop.shielded():
        terminate()
        raise ZeroDivisionError
