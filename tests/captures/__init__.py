"""Recorded server streams, and what tests and benchmarks ask of any of them.

Separate from the tests because a fresh live stream has to hold what a recorded one does. README.rst
says how each was made.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple

from amiproto import (
    NEED_DATA,
    Action,
    Banner,
    Connection,
    EndOfStream,
    Event,
    Message,
    Response,
    Role,
)

_HERE = Path(__file__).resolve().parent

#: Every capture there is.
NAMES = ("asterisk-11-style", "asterisk-16", "asterisk-22")

#: Those recorded from a live server.
RECORDED = NAMES[1:]


def load(name: str) -> bytes:
    """The bytes of a capture."""
    return (_HERE / f"{name}.bin").read_bytes()


def decode(pieces: Iterable[bytes]) -> Tuple[List[Message], EndOfStream]:
    """Every message of a stream that arrives in these pieces, and how it ended."""
    pieces = list(pieces)
    connection = Connection(Role.CLIENT)
    commands = _commands(b"".join(pieces))
    messages: List[Message] = []

    def read() -> object:
        while True:
            message = connection.next_event()
            if not isinstance(message, Message):
                return message
            messages.append(message)
            if isinstance(message, Banner):
                for command in commands:
                    connection.send(command)

    for piece in pieces:
        connection.receive_data(piece)
        assert read() is NEED_DATA
    connection.receive_eof()
    end = read()
    assert isinstance(end, EndOfStream)
    return messages, end


def encode(messages: Sequence[Message]) -> bytes:
    """The same stream as a server's connection sends it on, but for surplus blank lines."""
    connection = Connection(Role.SERVER)
    for command in _commands(b"".join([message.wire for message in messages])):
        connection.receive_data(command.wire)
        assert isinstance(connection.next_event(), Action)
    return b"".join([connection.send(message) for message in messages])


def _commands(data: bytes) -> List[Action]:
    """The commands that were asked for the raw texts in a stream."""
    text = rb"(?:^|\n)Response: Follows\r\nPrivilege: Command\r\n(?:ActionID: (.*)\r\n)?"
    ids = re.findall(text, data)
    return [Action("Command", action_id=action_id.decode() or None) for action_id in ids]


def surplus(data: bytes, messages: Sequence[Message]) -> List[int]:
    """Where in a stream there are bytes of no message, which all have to be surplus blank lines.

    A value that ends in a line break makes one, and so does a module that ends its event twice.
    """
    found: List[int] = []
    position = 0
    for message in messages:
        while not data.startswith(message.wire, position):
            assert data.startswith(b"\r\n", position), (position, message)
            found.append(position)
            position += 2
        position += len(message.wire)
    trailing = range(position, len(data), 2)
    assert data[position:] == b"\r\n" * len(trailing), position
    return found + list(trailing)


def counts(messages: Sequence[Message]) -> Dict[str, int]:
    """How many there are of each type, and of each name of a response and an event."""
    found: Counter[str] = Counter()
    for message in messages:
        kind = type(message).__name__
        found[kind] += 1
        if isinstance(message, (Event, Response)):
            found[f"{kind} {message.name}"] += 1
    return dict(sorted(found.items()))


def table(found: Dict[str, int]) -> str:
    """Counts as text, one a line."""
    return "\n".join(f"{count:6} {name}" for name, count in found.items())
