"""The law of the loopback server, over real sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import Iterator, List, Sequence, Tuple

from amiclient.loopback import SECRET, USERNAME, LoopbackServer, Received
from amiproto import Action, Banner, Connection, Response, Role, parse_message_send
from amiproto.messaging.variables import effective_variables

from .reading import parts, read

#: What opens a session on the loopback server.
LOGIN = f"Action: Login\r\nUsername: {USERNAME}\r\nSecret: {SECRET}\r\n\r\n".encode()

#: Seconds after which a server that has not ended hangs.
_LOCK_WAIT = 10.0


def loopback(data: bytes) -> List[str]:
    """The loopback server answers each action once, ends, and has no error in its threads.

    An odd setting leaves the login to the input; two more bits choose the version.
    """
    setting, pieces = parts(data)
    if not setting & 1:
        pieces.insert(0, LOGIN)
    version = (22, 22, 16, 11)[setting >> 1 & 3]
    with _no_error_in_threads(), LoopbackServer(version=version) as server:
        received, is_whole = _talk(server.host, server.port, pieces)
    reading = read(Connection(Role.CLIENT), [received])
    assert reading.error is None
    if not is_whole and len(reading.events) < 2:
        return reading.names()  # not even the banner was left
    banner, *answers, end = reading.events
    assert isinstance(banner, Banner)
    reader = Connection(Role.SERVER)
    reader.send(banner)
    asked = read(reader, pieces).events[:-1]
    for message, answer in zip(asked, answers):
        assert isinstance(answer, Response) and answer.action_id == message.action_id
        assert isinstance(message, Action) or answer.message == message.reason
    if is_whole:
        last = answers[-1] if answers else None
        ended = last is not None and (
            last.name == "Goodbye" or last.message == "Authentication failed"
        )
        assert end.clean and (len(answers) == len(asked) or ended and len(answers) < len(asked))
    taken = [
        _taken(message, version)
        for message, answer in zip(asked, answers)
        if answer.message == "Message successfully sent"
    ]
    assert server.messages[: len(taken)] == taken
    assert not is_whole or len(server.messages) == len(taken)
    return reading.names()


def _taken(action: Action, version: int) -> Received:
    """A message as a server of this version takes it."""
    message = Received.of(parse_message_send(action))
    if version > 11:
        return message
    variables = effective_variables(action.wire, first_counts=True)
    return replace(message, destination=None, variables=variables)


def _talk(host: str, port: int, pieces: Sequence[bytes]) -> Tuple[bytes, bool]:
    """What the server answers, and whether that is all.

    It may not be where the server ends first: what it has not read then makes a reset of the end,
    which takes along what the client has not read.
    """
    received = b""
    with socket.create_connection((host, port), _LOCK_WAIT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            while True:
                more = sock.recv(65536)
                if not more:
                    return received, True
                received += more
        except socket.timeout:
            raise AssertionError("the server neither answers nor ends") from None
        except OSError:
            return received, False  # it has closed


@contextmanager
def _no_error_in_threads() -> Iterator[None]:
    """Raise what a thread has raised."""
    errors: List[object] = []
    before = threading.excepthook
    threading.excepthook = lambda arguments: errors.append(arguments.exc_value)
    try:
        yield
    finally:
        threading.excepthook = before
    assert not errors, f"a thread of the server raised {errors}"
