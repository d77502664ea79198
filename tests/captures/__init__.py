"""Recorded server streams, and functions that decode, encode and count a stream.

Tests of a live server use the same functions. README.rst describes how each capture was made.
"""

from __future__ import annotations

import json
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

#: All captures.
NAMES = ("asterisk-11-style", "asterisk-16", "asterisk-22")

#: The captures recorded from a live server.
RECORDED = NAMES[1:]

#: The expected result of :func:`counts` for each capture.
COUNTS: Dict[str, Dict[str, int]] = json.loads((_HERE / "counts.json").read_text())


def load(name: str) -> bytes:
    """Return the bytes of a capture."""
    return (_HERE / f"{name}.bin").read_bytes()


def decode(pieces: Iterable[bytes]) -> Tuple[List[Message], EndOfStream]:
    """Decode a stream that arrives in these pieces."""
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
    """Encode a server's messages as a connection sends them: without surplus blank lines."""
    connection = Connection(Role.SERVER)
    for command in _commands(b"".join([message.wire for message in messages])):
        connection.receive_data(command.wire)
        assert isinstance(connection.next_event(), Action)
    return b"".join([connection.send(message) for message in messages])


def _commands(data: bytes) -> List[Action]:
    """Return the Command actions to which the raw texts of a stream respond."""
    text = rb"(?:^|\n)Response: Follows\r\nPrivilege: Command\r\n(?:ActionID: (.*)\r\n)?"
    ids = re.findall(text, data)
    return [Action("Command", action_id=action_id.decode() or None) for action_id in ids]


def surplus(data: bytes, messages: Sequence[Message]) -> List[int]:
    """Return the positions in a stream of blank lines that belong to no message.

    A value that ends in a line break makes one, and so does a module that ends its event twice.
    Any other bytes between messages are an AssertionError.
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
    """Count the messages of each type, and the responses and events of each name."""
    found: Counter[str] = Counter()
    for message in messages:
        kind = type(message).__name__
        found[kind] += 1
        if isinstance(message, (Event, Response)):
            found[f"{kind} {message.name}"] += 1
    return dict(sorted(found.items()))
