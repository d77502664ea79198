"""Callers that take their time: no time-out runs while they do, and nothing waits for them."""

from __future__ import annotations

import time
from typing import Iterator, List

import pytest

from amiclient import ACCEPTED, MessageSend
from tests.certificates import SERVER_PEM
from tests.faults import client_of, start_thread
from tests.script import Script, accept_all, expect, hold, log_in

pytestmark = pytest.mark.slow

#: Seconds of a call, and seconds of work in the caller's code: longer, so that each of them alone
#: would be over the time.
_TIMEOUT = 0.25
_WORK = 0.3
_COUNT = 3


@pytest.mark.parametrize("slow", ["reader", "iterable"])
@pytest.mark.parametrize("window", [1, 3, 64])
def test_a_slow_caller_breaks_nothing(window: int, slow: str) -> None:
    def messages() -> Iterator[MessageSend]:
        for number in range(_COUNT):
            if slow == "iterable":
                time.sleep(_WORK)
            yield MessageSend("sip:a", str(number))

    with Script(log_in, accept_all) as script, client_of(script.port, _TIMEOUT) as client:
        start = time.monotonic()
        outcomes: List[str] = []
        for result in client.send_messages(messages(), window=window):
            outcomes.append(result.outcome)
            if slow == "reader":
                time.sleep(_WORK)
        assert outcomes == [ACCEPTED] * _COUNT
        assert time.monotonic() - start < _COUNT * _WORK + 0.5  # at the caller's own pace
        client.ping(timeout=5.0)


def test_a_slow_caller_over_tls() -> None:
    with Script(log_in, accept_all, tls=True) as script:
        with client_of(script.port, _TIMEOUT, tls=SERVER_PEM) as client:
            outcomes = []
            for result in client.send_messages(MessageSend("sip:a", text) for text in "abc"):
                outcomes.append(result.outcome)
                time.sleep(_WORK)
    assert outcomes == [ACCEPTED] * 3


def test_the_window_is_full_while_the_caller_works() -> None:
    with Script(log_in, accept_all) as script, client_of(script.port) as client:
        messages = [MessageSend("sip:a", str(number)) for number in range(40)]
        for done, _ in enumerate(client.send_messages(messages, window=4), start=1):
            # Here, in the caller's code, the next ones are with the server.
            script.wait_for_actions(min(40, done + 3))
            time.sleep(0.005)


def test_a_message_leaves_while_the_next_is_made() -> None:
    def messages() -> Iterator[MessageSend]:
        for number in range(3):
            time.sleep(0.01)
            yield MessageSend("sip:a", str(number))
            script.wait_for_actions(number + 1)

    with Script(log_in, accept_all) as script, client_of(script.port) as client:
        results = list(client.send_messages(messages(), window=32))
        assert [result.outcome for result in results] == [ACCEPTED] * 3
    assert [action["Body"] for action in script.actions[:3]] == ["0", "1", "2"]


def test_a_result_is_given_before_the_next_slow_message_is_made() -> None:
    made: List[int] = []

    def messages() -> Iterator[MessageSend]:
        for number in range(4):
            time.sleep(0.05)
            made.append(number)
            yield MessageSend("sip:a", str(number))

    with Script(log_in, accept_all) as script, client_of(script.port) as client:
        results = client.send_messages(messages(), window=32)
        assert next(results).outcome == ACCEPTED
        assert len(made) <= 3
        assert len(list(results)) == 3


def test_a_slow_caller_waits_for_no_call_of_another() -> None:
    # The other call has the connection for longer than it takes to make three messages.
    def messages() -> Iterator[MessageSend]:
        for number in range(3):
            time.sleep(0.1)
            yield MessageSend("sip:a", str(number))
        script.release()

    with Script(log_in, expect("Ping"), hold, accept_all) as script, client_of(
        script.port
    ) as client:
        other = start_thread(client.ping)
        time.sleep(0.05)
        results = client.send_messages(messages())
        assert [result.outcome for result in results] == [ACCEPTED] * 3
        other.join(5.0)
