"""The recipes for failover and for listeners, with real servers that fail and restart."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Callable, Dict, List, Optional

import pytest

from amiclient import ACCEPTED, UNKNOWN, Action, AMIError, Client, MessageSend
from amiclient.loopback import LoopbackServer, no_response
from amiproto import parse_message_send
from tests.examples.failover import Failover
from tests.examples.listener import listen
from tests.faults import client_of as loopback_client
from tests.faults import start_thread
from tests.live.servers import Live
from tests.live.test_client_live import client_of

THREADS = 8
THOROUGH = bool(os.environ.get("AMICLIENT_THOROUGH"))
COUNT = 1000 if THOROUGH else 200
TIMEOUT = 2.0


@pytest.mark.parametrize("shared", [True, False] if THOROUGH else [True])
@pytest.mark.parametrize("fault", ["frozen", "killed", "secret", "silent", "starting"])
def test_first_server_fails(live: Live, fault: str, shared: bool) -> None:
    silent = LoopbackServer(handlers={"MessageSend": no_response})
    first = live.another_server()
    outcomes: Dict[int, str] = {}

    def first_client() -> Client:
        if fault == "silent":
            return loopback_client(silent.port, timeout=TIMEOUT)
        secret = first.users["messenger"] if fault != "secret" else "wrong"
        return client_of(first, secret=secret, timeout=TIMEOUT)

    def make_failover() -> Failover:
        clients = first_client(), client_of(live.server, timeout=TIMEOUT)
        for client in clients:
            stack.callback(client.close)
        # A starting server is tried at every moment.
        return Failover(*clients, rest=0.02 if fault == "starting" else 30.0)

    def run(recipe: Failover, numbers: range) -> None:
        for number in numbers:
            if number == COUNT // 4 and fault == "frozen":
                first.send_signal(signal.SIGSTOP)
            if number == COUNT // 4 and fault == "killed":
                first.kill()
            if fault == "starting":
                time.sleep(3.0 * THREADS / COUNT)
            try:
                outcomes[number] = recipe.send(MessageSend(live.to, str(number))).outcome
            except AMIError as error:
                outcomes[number] = error.outcome

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        stack.enter_context(silent)
        stack.callback(first.stop)
        if fault in ("frozen", "killed", "secret"):
            first.start()
        recipes = [make_failover() for _ in range(1 if shared else THREADS)]
        jobs = [
            pool.submit(run, recipes[start % len(recipes)], range(start, COUNT, THREADS))
            for start in range(THREADS)
        ]
        if fault == "starting":
            first.start()
        for job in jobs:
            job.result()
        if fault == "frozen":
            first.send_signal(signal.SIGCONT)  # it carries out the actions in its buffer
        accepted = [number for number in outcomes if outcomes[number] == ACCEPTED]
        unknown = [number for number in outcomes if outcomes[number] == UNKNOWN]
        arrived = live.phone.wait_for(len(accepted))
        time.sleep(0.5)
        arrived += live.phone.drain()
    bodies = [int(message.body) for message in arrived]
    sent = [action for action in silent.actions if action.name == "MessageSend"]
    bodies += [int(parse_message_send(action).body) for action in sent]
    assert len(bodies) == len(set(bodies)), "a message was sent twice"
    assert set(accepted) <= set(bodies) <= set(accepted + unknown)
    assert len(accepted) + len(unknown) == len(outcomes) == COUNT
    assert len(unknown) <= THREADS if fault in ("frozen", "killed", "silent") else not unknown
    by_first = [
        message for message in arrived if message.source[1] == getattr(first.ports, live.technology)
    ]
    assert bool(by_first) == (fault in ("frozen", "killed", "starting"))


def test_listener_survives_restarts(live: Live) -> None:
    received: List[Optional[str]] = []

    def wait_for(item: Optional[str]) -> None:
        end = time.monotonic() + 20.0
        while received[-1:] != [item]:
            assert time.monotonic() < end, received
            time.sleep(0.01)

    def receive() -> None:
        for event in listen(client, pause=0.05):
            received.append(None if event is None else event.headers["Number"])

    def freeze() -> None:
        server.send_signal(signal.SIGSTOP)
        time.sleep(2.0)  # longer than the health check takes
        assert not client.connected
        server.send_signal(signal.SIGCONT)

    def restart(end: Callable[[], None]) -> None:
        end()
        server.start()

    with live.another_server() as server, closing(client_of(server, "admin")) as sender, closing(
        client_of(server, "reader", events="user", timeout=1.0, health_check_interval=0.5)
    ) as client:
        thread = start_thread(receive)
        interruptions = [lambda: restart(server.stop), lambda: restart(server.kill), freeze]
        for number, interrupt in enumerate([*interruptions, client.close]):
            wait_for(None)
            action = Action("UserEvent", [("UserEvent", "Tick"), ("Number", str(number))])
            sender.send_action(action)
            wait_for(str(number))
            interrupt()
        thread.join(10.0)
        assert not thread.is_alive()
    assert [number for number in received if number is not None] == ["0", "1", "2", "3"]
