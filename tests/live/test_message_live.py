"""One message from end to end: by the command and by the library, through real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import List, Union

import pytest

from tests.live.delivery import TIMEOUT, Delivery
from tests.live.phone import SipMessage
from tests.live.servers import Live

_CHECKOUT = Path(__file__).resolve().parent.parent.parent

#: The technology that is asked of each server.
_TECHNOLOGY = {16: "sip", 22: "pjsip"}

_JAPANESE = "呼び鈴が鳴っています。\n🔔🚪 玄関 👩\u200d👧"

_BODIES: List[Union[str, bytes]] = [
    "Someone is at the door",
    "one\ntwo\r\nthree\n",
    "   three blanks in front",
    "\ta tab in front, a blank behind ",
    "x" * 1016,
    "\n" + "x" * 755,
    "\n" + "x" * 756,
    _JAPANESE,
    "hi\r\n\r\nAction: Ping",
    b"\xff\xfe no UTF-8 \x80",
    "",
]


def _technology(live: Live) -> str:
    return _TECHNOLOGY.get(live.server.major, live.server.technologies[-1])


def _amisend(
    live: Live, *arguments: str, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    server = live.server
    environment = {
        **os.environ,
        "AMI_HOST": server.host,
        "AMI_PORT": str(server.port),
        "AMI_USERNAME": "messenger",
        "AMI_SECRET": server.users["messenger"],
    }
    return subprocess.run(
        [sys.executable, "-m", "amiclient", *arguments],
        cwd=_CHECKOUT,
        env=environment,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )


def _check(live: Live, technology: str, message: SipMessage) -> None:
    # chan_sip adds the port it has, where that is not the standard one.
    port = f":{live.server.ports.sip}" if technology == "sip" else ""
    start = f'"Door" <sip:door@example.org{port}>;tag='.encode()
    assert (message.header("From") or b"").startswith(start)
    assert message.headers_named("X-Door") == [b'"front", (left)']


def test_command(live: Live) -> None:
    technology = _technology(live)
    answer = _amisend(
        live,
        "--to",
        f"{technology}:alice",
        "--from",
        "Door <sip:door@example.org>",
        "--variable",
        'X-Door="front", (left)',
        "--body",
        _JAPANESE,
    )
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout.startswith(f"{technology}:alice: Message successfully sent".encode())
    (message,) = live.phone.wait_for(1, TIMEOUT)
    assert message.body == _JAPANESE.encode()
    _check(live, technology, message)


def test_command_reads_the_body_byte_for_byte(live: Live) -> None:
    body = b"  \xff\r\n\tlast line\n"
    answer = _amisend(live, "--to", f"{_technology(live)}:alice", stdin=body)
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert live.phone.next_message(TIMEOUT).body == body


def test_command_refuses(live: Live) -> None:
    with Delivery(live, _technology(live)) as delivery:
        answer = _amisend(live, "--to", f"{_technology(live)}:alice", "--body", "x" * 1017)
        assert (answer.returncode, answer.stdout) == (65, b"")  # EX_DATAERR
        assert b"1017 bytes" in answer.stderr and answer.stderr.count(b"\n") == 1
        assert delivery.arrived() == []


@pytest.mark.parametrize("body", _BODIES, ids=range(len(_BODIES)))
def test_body_arrives_byte_for_byte(live: Live, body: Union[str, bytes]) -> None:
    for technology in live.server.technologies:
        with Delivery(live, technology) as delivery:
            delivery.send(
                to=f"{technology}:alice",
                body=body,
                from_="Door <sip:door@example.org>",
                variables={"X-Door": '"front", (left)'},
            )
            (message,) = delivery.arrived()
        assert message.body == (body.encode() if isinstance(body, str) else body)
        assert message.content_length == len(message.body)
        _check(live, technology, message)


def test_as_many_variables_as_there_is_room_for(live: Live) -> None:
    for technology in live.server.technologies:
        count = 53 if technology == "sip" else 123
        variables = {f"X-{number}": "v" * number for number in range(1, count + 1)}
        with Delivery(live, technology) as delivery:
            delivery.send(
                to=f"{technology}:alice", body="x", variables={**variables, "Content-Type": "a/b"}
            )
            (message,) = delivery.arrived()
        for name, value in variables.items():
            assert message.headers_named(name) == [value.encode()]
        assert message.headers_named("Content-Type") == [b"a/b"]
        assert message.content_length == 1


def test_more_variables_than_an_action_has_lines(live: Live) -> None:
    """Packed: as many as a datagram holds."""
    variables = [(f"X-{number}", f'{number},"(') for number in range(3000)]
    with Delivery(live, "pjsip") as delivery:
        delivery.send(to="pjsip:alice", body="x", variables=variables)
        (message,) = delivery.arrived()
    found = [(name.decode(), value.decode()) for name, value in message.headers]
    assert [pair for pair in found if pair[0].startswith("X-")] == variables
