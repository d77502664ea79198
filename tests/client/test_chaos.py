"""Sixteen threads use one client while signals interrupt calls and the process forks.

The threads call with random timeouts, send many messages, listen for events, close and connect. The
test fails on a deadlock, on a receipt for another thread's message, and on an outcome that does not
agree with the messages received by the server.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Dict, Optional

import pytest

from amiclient import ACCEPTED, NOT_SENT, AMIError, Event, MessageSend, NotConnected, NotSent
from amiclient.loopback import LoopbackServer
from tests.faults import client_of, start_thread

#: The total number of calls; AMICLIENT_EVERY_BYTE=1 makes more.
_CALLS = 5000 if os.environ.get("AMICLIENT_EVERY_BYTE") else 1200
_THREADS = 16


class _Interrupt(BaseException):
    pass


def _interrupt_client(number: int, frame: Optional[FrameType]) -> None:
    # Not in other code, where it would end the test itself, and not in a finalizer, where pytest
    # would report it and a socket would stay open.
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return
        if frame.f_code.co_name == "interrupted_send":
            raise _Interrupt
        frame = frame.f_back


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals and fork")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_many_threads_signals_and_forks() -> None:
    outcomes: Dict[str, Optional[str]] = {}
    receipts: Dict[str, str] = {}
    stop = threading.Event()

    def send(text: str, chance: random.Random) -> None:
        outcomes[text] = None  # unknown if the call is interrupted
        try:
            receipt = client.send_message(
                "pjsip:a", text, timeout=chance.choice([0.0005, 0.01, 5.0, 5.0])
            )
        except AMIError as error:
            outcomes[text] = error.outcome
        else:
            outcomes[text] = receipt.outcome
            receipts[text] = receipt.action_id

    def send_many(start: str, chance: random.Random) -> None:
        texts = [f"{start} {number}" for number in range(chance.randint(1, 9))]
        outcomes.update(dict.fromkeys(texts))
        results = client.send_messages(
            [MessageSend("pjsip:a", text) for text in texts],
            window=chance.choice([1, 4, 32]), timeout=chance.choice([0.001, 5.0]),
        )  # fmt: skip
        try:
            for result in results:
                outcomes[result.message.text] = result.outcome
                if result.receipt is not None:
                    receipts[result.message.text] = result.receipt.action_id
                if chance.random() < 0.05:
                    break
        except NotSent:  # of the connection, before the first result
            outcomes.update(dict.fromkeys(texts, NOT_SENT))
        results.close()

    def call(name: str, count: int) -> None:
        chance = random.Random(name)
        for number in range(count):
            what = chance.random()
            if what < 0.75:
                send(f"{name} {number}", chance)
            elif what < 0.9:
                send_many(f"{name} {number}", chance)
            elif what < 0.93:
                client.close()
                time.sleep(0.002)  # calls of other threads find a closed client
                with suppress(AMIError):
                    client.connect()
            elif what < 0.97:
                with suppress(AMIError):
                    client.connect()
            else:
                with suppress(AMIError):
                    list(client.events(timeout=0.01))

    def make_noise() -> None:
        while not stop.is_set():
            server.send_event(Event("Tick"))
            time.sleep(0.002)

    def interrupted_send(number: int) -> None:
        send(f"interrupted {number}", random.Random(number))

    def fork(number: int) -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                client.ping(timeout=10.0)  # over a connection of its own
                code = 0
            except NotConnected:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    with LoopbackServer() as server:
        client = client_of(server.port, 5.0, events="user")
        client.connect()
        old = signal.signal(signal.SIGALRM, _interrupt_client)
        # Coverage has a lock, which would stay locked after an interrupt, and in a forked child.
        tracer = sys.gettrace()
        sys.settrace(None)
        # An interrupt in a callback of the garbage collector, such as that of hypothesis, would be
        # reported as an error of the test.
        gc.disable()
        try:
            noise = start_thread(make_noise)
            callers = [
                start_thread(partial(call, f"thread {number}", _CALLS // _THREADS))
                for number in range(_THREADS)
            ]
            number = 0
            deadline = time.monotonic() + 240.0
            while any(caller.is_alive() for caller in callers):
                assert time.monotonic() < deadline, "deadlock"
                number += 1
                signal.setitimer(signal.ITIMER_REAL, random.Random(number).uniform(1e-4, 1e-2))
                with suppress(_Interrupt):
                    interrupted_send(number)
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
        for thread in [*callers, noise]:
            thread.join(20.0)
            assert not thread.is_alive()
        client.connect()
        client.ping()  # the lock is free
        client.close()
        # Sockets that an interrupt left unreferenced are closed here, where the warning is ignored.
        gc.collect()
    received = {message.text: message.action_id for message in server.messages}
    assert len(received) == len(server.messages), "a message was sent twice"
    for text, outcome in outcomes.items():
        if outcome == ACCEPTED:
            assert received[text] == receipts[text]
        elif outcome == NOT_SENT:
            assert text not in received, text
    assert set(received) <= set(outcomes)
    assert list(outcomes.values()).count(ACCEPTED) > len(outcomes) / 10
