"""Other AMI libraries, through the proxy of the examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from amiproto import Action, Message, Response
from tests.benchmarks.bench_sending import environment, library
from tests.live.servers import Live
from tests.live.test_client_live import client_of
from tests.other_clients import LIBRARIES, STREAMS
from tests.test_examples import proxied, received

COUNT = 20
CLIENT = str(Path(__file__).parents[1] / "other_clients.py")


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_other_library(live: Live, name: str) -> None:
    numbers = list(map(str, range(COUNT)))
    responses: List[Response] = []

    def change(message: Message) -> Message:
        if isinstance(message, Response):
            responses.append(message)
            if message.message == "Message successfully sent":
                tick = [("UserEvent", "Tick"), ("Number", next(ticks))]
                admin.send_action(Action("UserEvent", tick))
        return message

    folder = library(name)
    if folder is None:
        pytest.skip(f"pip cannot install {name}")
    ticks = iter(numbers)
    login = "admin", live.server.users["admin"], live.to
    with client_of(live.server, "admin") as admin, proxied(live.server.port, change) as port:
        output = subprocess.check_output(
            [sys.executable, CLIENT, name, str(port), *login, str(COUNT)],
            env=environment(folder), universal_newlines=True,
        )  # fmt: skip
    accepted, *events = output.split()
    assert int(accepted) == COUNT
    assert events == ([] if name == "astami" else numbers)
    bodies = [message.body.decode() for message in live.phone.wait_for(COUNT)]
    assert bodies == [f"number {number}" for number in numbers]
    assert responses[-1].name == "Goodbye"


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_answers_as_the_server_does(live: Live, name: str) -> None:
    login = "messenger", live.server.users["messenger"], live.to
    direct = received(live.server.port, STREAMS[name], *login)
    with proxied(live.server.port) as port:
        assert received(port, STREAMS[name], *login) == direct
    sent = direct.count(b"Message successfully sent")
    assert sent > 0
    assert len({message.body for message in live.phone.wait_for(2 * sent)}) == 1
