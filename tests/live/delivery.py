"""The outcome of one message: the response, the messages at the phone, and the bytes written.

A marker message is sent after each message. Once it has arrived, nothing earlier can still arrive.
For thousands of messages see ``pipelined``.
"""

from __future__ import annotations

import itertools
import socket
from typing import Any, Dict, List, Sequence, Union

import pytest

from amiclient import Client, Receipt
from tests.damage import Raw
from tests.live.ami import logged_in
from tests.live.phone import SipMessage
from tests.live.servers import Live
from tests.live.versions import Change

TIMEOUT = 10.0

_numbers = itertools.count()


def require(live: Live, needed: Union[str, Change]) -> None:
    """Skip the test if the server does not have a technology, or a change of a newer version."""
    version, technologies = live.server.version, live.server.technologies
    if not (needed.since(version) if isinstance(needed, Change) else needed in technologies):
        pytest.skip(f"Asterisk {version} has no {needed}")


def report(config: pytest.Config, lines: Sequence[str]) -> None:
    """Print lines in spite of pytest's capturing."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("", *lines, sep="\n")


class CountingSocket(socket.socket):
    """A socket that counts the bytes that it sends."""

    written = 0

    def send(self, data: Any, flags: int = 0) -> int:
        count = super().send(data, flags)
        self.written += count
        return count


class Delivery:
    """A client that is logged in at a live server, and the phone; a context manager.

    :param technology: the technology of the markers.
    """

    def __init__(self, live: Live, technology: str) -> None:
        self._live = live
        self._marker_to = f"{technology}:alice"
        self._socket = CountingSocket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.settimeout(TIMEOUT)
        self._socket.connect((live.server.host, live.server.port))
        self._client = Client(
            sock=self._socket,
            username="messenger",
            secret=live.server.users["messenger"],
            timeout=TIMEOUT,
        )

    @property
    def written(self) -> int:
        """The number of bytes sent to the server so far (int)."""
        return self._socket.written

    def send(self, **message: Any) -> Receipt:
        """Send a message with the client."""
        return self._client.send_message(**message)

    def arrived(self) -> List[SipMessage]:
        """Return all new messages at the phone."""
        marker = f"marker {next(_numbers)}"
        self._client.send_message(self._marker_to, marker)
        return before(self._live, marker.encode())

    def __enter__(self) -> Delivery:
        self._client.connect()
        return self

    def __exit__(self, *reason: object) -> None:
        self._client.close()
        self._socket.close()


def send_raw(live: Live, technology: str, wire: bytes) -> Raw:
    """Write an action's bytes to a socket, unchecked."""
    marker = b"marker %d" % next(_numbers)
    with logged_in(live.server) as ami:
        ami.socket.sendall(wire)
        ami.send(
            b"Action: MessageSend",
            b"ActionID: marker",
            b"To: " + technology.encode() + b":alice",
            b"Body: " + marker,
        )
        responses = []
        while True:
            response = ami.read_headers()
            if response.get(b"ActionID") == b"marker":
                break
            responses.append(response.get(b"Message", b""))
    return Raw(tuple(responses), tuple(before(live, marker)))


def before(live: Live, marker: bytes) -> List[SipMessage]:
    """Return the messages that the phone received before the marker."""
    messages: List[SipMessage] = []
    while True:
        message = live.phone.next_message(TIMEOUT)
        if message.body == marker:
            return messages
        messages.append(message)


def headers_of(message: SipMessage) -> Dict[bytes, List[bytes]]:
    """Return the values by name in lower case; compact names are kept."""
    headers: Dict[bytes, List[bytes]] = {}
    for name, value in message.headers:
        headers.setdefault(name.lower(), []).append(value)
    return headers


def wire(lines: Sequence[Union[str, bytes]]) -> bytes:
    """Return the lines of an action, unchecked, and the blank line."""
    data = [line.encode() if isinstance(line, str) else line for line in lines]
    return b"".join(line + b"\r\n" for line in [*data, b""])
