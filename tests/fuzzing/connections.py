"""Properties of a Connection, in both roles."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from amiproto import (
    LINE_TOO_LONG,
    MISSING_ACTION,
    TOO_MANY_LINES,
    Action,
    Banner,
    Connection,
    EndOfStream,
    InvalidAction,
    Message,
    Role,
)
from amiproto.limits import MAX_PARTIAL_ACTION

from .reading import BANNERS, Reading, inspect, read, settings_of, split_input

#: Commands in flight. Their responses are raw text if the banner is an old one.
_COMMANDS = [Action("Command", action_id=action_id) for action_id in (None, "1", "1")]


def client(data: bytes) -> List[str]:
    """Check that decoding a server's bytes is lossless and does not depend on chunking."""
    setting, chunks = split_input(data)
    banner, limits = settings_of(setting)
    chunks = [banner, *chunks]
    stream = b"".join(chunks)
    reading = _as_client(chunks, limits)
    assert reading.identity() == _as_client([stream], limits).identity(), "depends on chunking"
    messages = [event for event in reading.events if isinstance(event, Message)]
    for message in messages:
        inspect(message)
    # Every byte belongs to a message, a blank line between two, or an incomplete message.
    position = 0
    for message in messages:
        position = _after_blank_lines(stream, position)
        assert stream.startswith(message.wire, position), f"bytes were lost at {position}"
        position += len(message.wire)
    if reading.error is None:
        assert reading.events[-1].unread == len(stream) - _after_blank_lines(stream, position)
    if messages:
        forwarded = _forward(messages)
        assert forwarded == [message.wire for message in messages], "forwarding changes bytes"
        again = _as_client([b"".join(forwarded)], limits)
        assert again.identity()[0][:-1] == Reading(messages, None).identity()[0]
        assert again.events[-1] == EndOfStream(0)
    return reading.names()


def _as_client(chunks: Sequence[bytes], limits: Dict[str, int]) -> Reading:
    connection = Connection(Role.CLIENT, **limits)

    def send_commands(event: Any) -> None:
        if isinstance(event, Banner):
            for command in _COMMANDS:
                connection.send(command)

    return read(connection, chunks, send_commands)


def _after_blank_lines(stream: bytes, position: int) -> int:
    """Return the position of the next byte that is not part of a blank line."""
    while stream.startswith((b"\n", b"\r\n"), position):
        position = stream.index(b"\n", position) + 1
    return position


def _forward(messages: Sequence[Message]) -> List[bytes]:
    """Return the bytes that a proxy sends for messages from a server, after the same commands."""
    server = Connection(Role.SERVER)
    sent = [server.send(messages[0])]
    read(server, [command.wire for command in _COMMANDS])
    return sent + [server.send(message) for message in messages[1:]]


def server(data: bytes) -> List[str]:
    """Check that decoding a client's bytes is lossless and does not depend on chunking.

    The version of Asterisk is that of the setting's banner.
    """
    setting, chunks = split_input(data)
    banner, limits = settings_of(setting)
    stream = b"".join(chunks)
    reading = read(_as_server(banner, limits), chunks)
    # The limits of an action are Asterisk's, regardless of the options.
    whole = read(_as_server(banner, {}), [stream])
    assert reading.identity() == whole.identity(), "depends on chunking"
    assert reading.error is None, "input of a client raised an error"
    *messages, end = reading.events
    for message in messages:
        assert isinstance(message, (Action, InvalidAction))
        inspect(message)
    used = b"".join([message.wire for message in messages])
    assert len(used) + end.unread <= len(stream) and end.unread <= MAX_PARTIAL_ACTION
    invalid = [message for message in messages if isinstance(message, InvalidAction)]
    reasons = {message.reason for message in invalid}
    assert reasons <= {MISSING_ACTION, LINE_TOO_LONG, TOO_MANY_LINES}
    if reasons <= {MISSING_ACTION}:
        assert stream.startswith(used), "bytes were lost"
    actions = [message for message in messages if isinstance(message, Action)]
    proxy = Connection(Role.CLIENT)
    read(proxy, [banner or BANNERS[0]])
    forwarded = [proxy.send(action) for action in actions]
    assert forwarded == [action.wire for action in actions], "forwarding changes bytes"
    again = read(_as_server(banner, {}), forwarded)
    assert again.identity()[0] == [*Reading(actions, None).identity()[0], EndOfStream(0)]
    return reading.names()


def _as_server(banner: bytes, limits: Dict[str, int]) -> Connection:
    connection = Connection(Role.SERVER, **limits)
    if banner:
        connection.send(Banner.from_wire(banner))
    return connection
