"""Properties of the loopback server, over real sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import Iterator, List, Sequence, Tuple

from amiclient.loopback import SECRET, USERNAME, LoopbackServer, Received
from amiproto import Action, Banner, Connection, Event, Response, Role, parse_message_send
from amiproto.messaging.variables import effective_variables

from .reading import read, split_input

#: A login at the loopback server.
LOGIN = f"Action: Login\r\nUsername: {USERNAME}\r\nSecret: {SECRET}\r\nEvents: off\r\n\r\n".encode()

#: Seconds to wait for the server.
_TIMEOUT = 10.0


def loopback(data: bytes) -> List[str]:
    """Check that the server responds to each action once, ends, and raises no error in a thread.

    With an odd setting, the input has to log in. Two more bits select the version.
    """
    setting, chunks = split_input(data)
    if not setting & 1:
        chunks.insert(0, LOGIN)
    version = (22, 22, 16, 11)[setting >> 1 & 3]
    with _no_error_in_threads(), LoopbackServer(version=version) as server:
        received, complete = _talk(server.host, server.port, chunks)
    reading = read(Connection(Role.CLIENT), [received])
    assert reading.error is None
    if not complete and len(reading.events) < 2:
        return reading.names()  # even the banner was lost
    banner, *messages, end = reading.events
    responses = [message for message in messages if not isinstance(message, Event)]
    assert isinstance(banner, Banner)
    reader = Connection(Role.SERVER)
    reader.send(banner)
    actions = read(reader, chunks).events[:-1]
    for message, response in zip(actions, responses):
        assert isinstance(response, Response) and response.action_id == message.action_id
        assert isinstance(message, Action) or response.message == message.reason
    if complete:
        ended = responses and (
            responses[-1].name == "Goodbye" or responses[-1].message == "Authentication failed"
        )
        assert end.clean
        assert len(responses) == len(actions) or ended and len(responses) < len(actions)
    expected = [
        _received(message, version)
        for message, response in zip(actions, responses)
        if response.message == "Message successfully sent"
    ]
    assert server.messages[: len(expected)] == expected
    assert not complete or len(server.messages) == len(expected)
    return reading.names()


def _received(action: Action, version: int) -> Received:
    """Return a message as a server of this version understands it."""
    fields = parse_message_send(action).fields
    if version <= 11:
        variables = effective_variables(action.wire, first_wins=True)
        fields = fields._replace(destination=None, variables=variables)
    return Received(*fields)


def _talk(host: str, port: int, chunks: Sequence[bytes]) -> Tuple[bytes, bool]:
    """Return the server's output, and False if it may be incomplete.

    A server that closes with unread input resets the connection, which discards output that the
    client has not read.
    """
    received = b""
    with socket.create_connection((host, port), _TIMEOUT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for chunk in chunks:
                sock.sendall(chunk)
            sock.shutdown(socket.SHUT_WR)
            while True:
                more = sock.recv(65536)
                if not more:
                    return received, True
                received += more
        except socket.timeout:
            raise AssertionError("the server neither responds nor closes") from None
        except OSError:
            return received, False  # the server has closed


@contextmanager
def _no_error_in_threads() -> Iterator[None]:
    """Raise AssertionError if a thread raises an exception."""
    errors: List[object] = []
    before = threading.excepthook
    threading.excepthook = lambda arguments: errors.append(arguments.exc_value)
    try:
        yield
    finally:
        threading.excepthook = before
    assert not errors, f"a thread of the server raised {errors}"
