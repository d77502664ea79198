"""One message from end to end, sent by the command and by the library, through real servers."""

from __future__ import annotations

import subprocess
from typing import List, Union

import pytest

from tests.command.shell import command, environment
from tests.live.delivery import TIMEOUT, Delivery, require
from tests.live.phone import SipMessage
from tests.live.servers import Live
from tests.readme import ROOT

_FROM = "Door <sip:door@example.org>"
_JAPANESE = "呼び鈴が鳴っています。\n🔔🚪 玄関 👩\u200d👧"

_BODIES: List[Union[str, bytes]] = [
    "Someone is at the door", "one\ntwo\r\nthree\n", "   three spaces before",
    "\ta tab before, a space after ", "x" * 1016, "\n" + "x" * 755, "\n" + "x" * 756, _JAPANESE,
    "hi\r\n\r\nAction: Ping", b"\xff\xfe not UTF-8 \x80", "",
]  # fmt: skip


def _amisend(
    live: Live, *arguments: str, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    secret = live.server.users["messenger"]
    env = environment(live.server.port, AMI_USERNAME="messenger", AMI_SECRET=secret)
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=env, input=stdin, timeout=60, capture_output=True
    )


def _check(live: Live, technology: str, message: SipMessage) -> None:
    # chan_sip adds its port unless that is 5060.
    port = f":{live.server.ports.sip}" if technology == "sip" else ""
    start = f'"Door" <sip:door@example.org{port}>;tag='.encode()
    assert (message.header("From") or b"").startswith(start)
    assert message.headers_named("X-Door") == [b'"front", (left)']


def test_command(live: Live, technology: str) -> None:
    target = f"{technology}:alice"
    variable = 'X-Door="front", (left)'
    done = _amisend(
        live, "--to", target, "--from", _FROM, "--variable", variable, "--body", _JAPANESE
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(f"{target}: Message successfully sent".encode())
    (message,) = live.phone.wait_for(1, TIMEOUT)
    assert message.body == _JAPANESE.encode()
    _check(live, technology, message)


def test_command_reads_the_body_from_standard_input(live: Live) -> None:
    body = f"  {_JAPANESE}\r\n\tlast line".encode()
    done = _amisend(live, "--to", live.to, stdin=body + b"\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert live.phone.next_message(TIMEOUT).body == body


def test_command_rejects_a_long_body(live: Live) -> None:
    with Delivery(live, live.technology) as delivery:
        done = _amisend(live, "--to", live.to, "--body", "x" * 1017)
        assert (done.returncode, done.stdout) == (65, b"")  # EX_DATAERR
        assert b"1017 bytes" in done.stderr and done.stderr.count(b"\n") == 1
        assert delivery.arrived() == []


@pytest.mark.parametrize("body", _BODIES, ids=range(len(_BODIES)))
def test_body_arrives_byte_for_byte(live: Live, technology: str, body: Union[str, bytes]) -> None:
    with Delivery(live, technology) as delivery:
        delivery.send(
            to=f"{technology}:alice",
            body=body,
            from_=_FROM,
            variables={"X-Door": '"front", (left)'},
        )
        (message,) = delivery.arrived()
    assert message.body == (body.encode() if isinstance(body, str) else body)
    assert message.content_length == len(message.body)
    _check(live, technology, message)


def test_maximum_number_of_variables(live: Live, technology: str) -> None:
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


def test_variables_that_share_lines(live: Live) -> None:
    require(live, "pjsip")  # chan_sip takes 53 variables
    variables = [(f"X-{number}", f'{number},"(') for number in range(3000)]
    with Delivery(live, "pjsip") as delivery:
        delivery.send(to="pjsip:alice", body="x", variables=variables)
        (message,) = delivery.arrived()
    found = [(name.decode(), value.decode()) for name, value in message.headers]
    assert [pair for pair in found if pair[0].startswith("X-")] == variables
