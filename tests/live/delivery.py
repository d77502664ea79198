"""What became of a message: what the server answered, what the phone got, whether bytes left.

Separate from the tests because all that send messages ask the same three questions, and because the
answers have to be certain: a marker sent after each message shows that nothing more is to come.
"""

from __future__ import annotations

import itertools
import socket
from typing import Any, Dict, List, Sequence, Union

from amiclient import Client, Receipt
from tests.damage import Raw
from tests.live.ami import logged_in
from tests.live.phone import SipMessage
from tests.live.servers import Live

TIMEOUT = 10.0

_numbers = itertools.count()


class CountingSocket(socket.socket):
    """A socket that counts the bytes it was given to send."""

    written = 0

    def send(self, data: Any, flags: int = 0) -> int:
        count = super().send(data, flags)
        self.written += count
        return count


class Delivery:
    """A client logged in at a live server, and the phone at the other end.

    Of use in a ``with`` block. ``technology`` is that of the markers.
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
        """Bytes that have left for the server so far."""
        return self._socket.written

    def send(self, **message: Any) -> Receipt:
        """Send a message by the real client."""
        return self._client.send_message(**message)

    def arrived(self) -> List[SipMessage]:
        """All that the phone got up to now, of whatever was sent before."""
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
    """Write an action's bytes to a socket as they are."""
    marker = b"marker %d" % next(_numbers)
    with logged_in(live.server) as ami:
        ami.socket.sendall(wire)
        ami.send(
            b"Action: MessageSend",
            b"ActionID: marker",
            b"To: " + technology.encode() + b":alice",
            b"Body: " + marker,
        )
        answers = []
        while True:
            answer = ami.read_headers()
            if answer.get(b"ActionID") == b"marker":
                break
            answers.append(answer.get(b"Message", b""))
    return Raw(tuple(answers), tuple(before(live, marker)))


def before(live: Live, marker: bytes) -> List[SipMessage]:
    """What the phone got in front of the marker."""
    taken: List[SipMessage] = []
    while True:
        message = live.phone.next_message(TIMEOUT)
        if message.body == marker:
            return taken
        taken.append(message)


def headers_of(message: SipMessage) -> Dict[bytes, List[bytes]]:
    """Values by name in lower case; compact names stand for themselves."""
    headers: Dict[bytes, List[bytes]] = {}
    for name, value in message.headers:
        headers.setdefault(name.lower(), []).append(value)
    return headers


def wire(lines: Sequence[Union[str, bytes]]) -> bytes:
    """Lines of an action, each as it is, and the blank line."""
    data = [line.encode() if isinstance(line, str) else line for line in lines]
    return b"".join(line + b"\r\n" for line in [*data, b""])
