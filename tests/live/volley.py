"""Many actions at once, and what became of each: the answer to it and what the phone got.

Where ``delivery`` asks about one message after the other, here thousands are in flight
within a minute, and each is known again by its key, which is its ActionID and its text.
"""

from __future__ import annotations

import itertools
import socket
import time
from typing import Dict, List, NamedTuple, Sequence, Tuple

from tests.live.phone import SipMessage
from tests.live.servers import Live
from tests.live.test_harness import Ami

TIMEOUT = 30.0

#: Actions in flight: few enough that the server's answers to all of them fit a socket's buffer.
WINDOW = 64

#: Seconds for what is late although the marker after it is there.
_GRACE = 0.3

_numbers = itertools.count()


class Shot(NamedTuple):
    """What became of one action."""

    #: The ``Message`` of the answer.
    answer: bytes
    #: What the phone got.
    messages: Tuple[SipMessage, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the server says that it has sent the message."""
        return self.answer == b"Message successfully sent"


def fire(live: Live, technology: str, wires: Sequence[Tuple[str, bytes]]) -> List[Shot]:
    """Send actions as they are, by a socket that no client had a look at.

    :param technology: that of a message to alice which is sent last: what was sent before it has
        arrived when it has.
    :param wires: for each its key, which is its ActionID and its text, and its bytes.
    """
    answers: Dict[str, bytes] = {}
    arrived: Dict[bytes, List[SipMessage]] = {}
    with socket.create_connection((live.server.host, live.server.port), TIMEOUT) as connection:
        ami = Ami(connection)
        with ami.stream:
            ami.login(live.server, "messenger")
            for start in range(0, len(wires), WINDOW):
                group = wires[start : start + WINDOW]
                connection.sendall(b"".join(wire for _, wire in group))
                for key, _ in group:
                    answer = ami.stanza()
                    assert answer[b"ActionID"] == key.encode(), (key, answer)
                    answers[key] = answer[b"Message"]
                    for message in live.phone.drain():
                        arrived.setdefault(message.body, []).append(message)
            marker = f"marker {next(_numbers)}".encode()
            ami.ask(b"Action: MessageSend", f"To: {technology}:alice".encode(), b"Body: " + marker)
    deadline = time.monotonic() + TIMEOUT
    while marker not in arrived:
        assert time.monotonic() < deadline, "the marker did not arrive"
        time.sleep(0.005)
        for message in live.phone.drain():
            arrived.setdefault(message.body, []).append(message)
    if any(key.encode() not in arrived for key, _ in wires):
        time.sleep(_GRACE)
        for message in live.phone.drain():
            arrived.setdefault(message.body, []).append(message)
    return [Shot(answers[key], tuple(arrived.get(key.encode(), ()))) for key, _ in wires]
