"""Sixteen threads on one client, with everything at once: calls with random time-outs, bulks,
listeners, `close()` and `connect()` by others, signals that raise in the middle, and forks.

No deadlock, no receipt of another's message, and no outcome that the server's count denies.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
from functools import partial
from types import FrameType
from typing import Dict, Optional

import pytest

from amiclient import ACCEPTED, NOT_SENT, AMIError, Event, EventOverflow, MessageSend, NotConnected
from amiclient.loopback import LoopbackServer
from tests.faults import client_of, start_thread

#: Calls in all; AMICLIENT_EVERY_BYTE=1 makes as many as the promise is about.
_CALLS = 5000 if os.environ.get("AMICLIENT_EVERY_BYTE") else 1200
_THREADS = 16


class _Interrupt(BaseException):
    pass


def _raise_in_the_client(number: int, frame: Optional[FrameType]) -> None:
    # Elsewhere it would end the test itself. What is raised in a finalizer no caller gets: it is
    # only told, as an error of the test, and what was to be closed there stays open.
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return
        if frame.f_code.co_name == "struck":
            raise _Interrupt
        frame = frame.f_back


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals and fork")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_everything_at_once() -> None:
    outcomes: Dict[str, Optional[str]] = {}
    receipts: Dict[str, str] = {}
    stop = threading.Event()

    def send(text: str, chance: random.Random) -> None:
        outcomes[text] = None  # not known, unless the call says so
        try:
            receipt = client.send_message("sip:a", text, timeout=chance.choice([0.0005, 0.01, 5.0]))
        except AMIError as error:
            outcomes[text] = error.outcome
        else:
            outcomes[text] = receipt.outcome
            receipts[text] = receipt.action_id

    def send_many(start: str, chance: random.Random) -> None:
        texts = [f"{start} {number}" for number in range(chance.randint(1, 9))]
        outcomes.update(dict.fromkeys(texts))
        try:
            results = client.send_messages(
                [MessageSend("sip:a", text) for text in texts],
                window=chance.choice([1, 4, 32]), timeout=chance.choice([0.001, 5.0]),
            )  # fmt: skip
        except NotConnected:
            outcomes.update(dict.fromkeys(texts, NOT_SENT))
            return
        for result in results:
            outcomes[result.message.text] = result.outcome
            if result.receipt is not None:
                receipts[result.message.text] = result.receipt.action_id
            if chance.random() < 0.05:
                break
        results.close()

    def call(name: str, count: int) -> None:
        chance = random.Random(name)
        for number in range(count):
            if not client.connected:
                time.sleep(0.02)  # or a fast machine spends most of its calls on a closed client
            what = chance.random()
            if what < 0.75:
                send(f"{name} {number}", chance)
            elif what < 0.9:
                send_many(f"{name} {number}", chance)
            elif what < 0.93:
                client.close()
            elif what < 0.97:
                try:
                    client.connect()
                except AMIError:
                    pass
            else:
                try:
                    list(client.events(timeout=0.01))
                except (AMIError, EventOverflow):
                    pass

    def make_noise() -> None:
        while not stop.is_set():
            server.send_event(Event("Tick"))
            time.sleep(0.002)

    def keep_open() -> None:
        while not stop.is_set():
            if not client.connected:
                try:
                    client.connect()
                except AMIError:
                    pass
            time.sleep(0.01)

    def struck(number: int) -> None:
        send(f"struck {number}", random.Random(number))

    def fork(number: int) -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    client.ping(timeout=1.0)
                except NotConnected:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    with LoopbackServer() as server:
        client = client_of(server.port, 5.0, events="on")
        client.connect()
        old = signal.signal(signal.SIGALRM, _raise_in_the_client)
        # A tool that traces, as coverage does, has a lock of its own. An interrupt would leave it
        # taken, and so would a fork, in the child.
        tracer = sys.gettrace()
        sys.settrace(None)
        # So has a collection its callbacks, those of hypothesis among them. What an interrupt
        # raises in one of them, no caller gets: it is only told, as an error of the test.
        gc.disable()
        try:
            helpers = [start_thread(make_noise), start_thread(keep_open)]
            callers = [
                start_thread(partial(call, f"thread {number}", _CALLS // _THREADS))
                for number in range(_THREADS)
            ]
            number = 0
            deadline = time.monotonic() + 240.0
            while any(caller.is_alive() for caller in callers):
                assert time.monotonic() < deadline, "a deadlock"
                number += 1
                signal.setitimer(signal.ITIMER_REAL, random.Random(number).uniform(1e-4, 1e-2))
                try:
                    struck(number)
                except _Interrupt:
                    pass
                signal.setitimer(signal.ITIMER_REAL, 0)
                if number % 50 == 0:
                    fork(number)
                time.sleep(0.005)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            gc.enable()
            sys.settrace(tracer)
            stop.set()
        for thread in [*callers, *helpers]:
            thread.join(20.0)
            assert not thread.is_alive()
        client.close()
        # What an interrupt left between its making and its holder closes here, where it may warn.
        gc.collect()
        assert not client._state().lock._holder and not client._state().lock._waiting
    came = {message.text: message.action_id for message in server.messages}
    assert len(came) == len(server.messages), "a message was sent twice"
    for text, outcome in outcomes.items():
        if outcome == ACCEPTED:
            assert came[text] == receipts[text]
        elif outcome == NOT_SENT:
            assert text not in came, text
    assert set(came) <= set(outcomes)
    assert list(outcomes.values()).count(ACCEPTED) > len(outcomes) / 10
