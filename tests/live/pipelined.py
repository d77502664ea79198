"""Thousands of raw actions in flight, and the outcome of each at the server and at the phone.

Each action is identified by a key, which is both its ActionID and its body. For one action at a
time see ``delivery``.
"""

from __future__ import annotations

import itertools
import time
from typing import Dict, List, NamedTuple, Sequence, Tuple

from tests.live.ami import TIMEOUT, logged_in
from tests.live.phone import SipMessage
from tests.live.servers import Live

#: Actions in flight: few enough that all their responses fit into a socket's buffer.
WINDOW = 64

#: Seconds to wait for messages that arrive later than the marker sent after them.
_GRACE = 0.3

_numbers = itertools.count()


class SendOutcome(NamedTuple):
    """The outcome of one action."""

    #: The ``Message`` header of the response.
    response: bytes
    #: The messages that arrived at the phone.
    messages: Tuple[SipMessage, ...]

    @property
    def succeeded(self) -> bool:
        """Return True if the server reported success."""
        return self.response == b"Message successfully sent"


def send_pipelined(
    live: Live, technology: str, wires: Sequence[Tuple[str, bytes]]
) -> List[SendOutcome]:
    """Send actions over a raw socket, without the library, and return their outcomes in order.

    :param technology: the technology of a marker message to alice that is sent last. Once it has
        arrived, earlier messages have arrived too.
    :param wires: the key and the bytes of each action.
    """
    responses: Dict[str, bytes] = {}
    arrived: Dict[bytes, List[SipMessage]] = {}

    def collect() -> None:
        for message in live.phone.drain():
            arrived.setdefault(message.body, []).append(message)

    marker = f"marker {next(_numbers)}".encode()
    with logged_in(live.server) as ami:
        for start in range(0, len(wires), WINDOW):
            group = wires[start : start + WINDOW]
            ami.socket.sendall(b"".join(wire for _, wire in group))
            for key, _ in group:
                headers = ami.read_headers()
                assert headers[b"ActionID"] == key.encode(), (key, headers)
                responses[key] = headers[b"Message"]
                collect()
        ami.ask(b"Action: MessageSend", f"To: {technology}:alice".encode(), b"Body: " + marker)
    deadline = time.monotonic() + TIMEOUT
    while marker not in arrived:
        assert time.monotonic() < deadline, "the marker did not arrive"
        time.sleep(0.005)
        collect()
    if any(key.encode() not in arrived for key, _ in wires):
        time.sleep(_GRACE)
        collect()
    return [SendOutcome(responses[key], tuple(arrived.get(key.encode(), ()))) for key, _ in wires]
