"""The laws of a connection, in either role."""

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

from .reading import BANNERS, Reading, look_at, parts, read, settings_of

#: Those that wait for answers, which may be raw text where the banner is an old one.
_COMMANDS = [Action("Command", action_id=action_id) for action_id in (None, "1", "1")]


def client(data: bytes) -> List[str]:
    """A client's connection reads anything a server sends, the same however it is cut."""
    setting, pieces = parts(data)
    banner, limits = settings_of(setting)
    pieces = [banner, *pieces]
    stream = b"".join(pieces)
    reading = _as_client(pieces, limits)
    assert reading.exactly() == _as_client([stream], limits).exactly(), "otherwise in one piece"
    messages = [event for event in reading.events if isinstance(event, Message)]
    for message in messages:
        look_at(message)
    # Every byte is of a message, of a blank line between two, or of what was cut off.
    position = 0
    for message in messages:
        position = _after_blank_lines(stream, position)
        assert stream.startswith(message.wire, position), f"bytes were lost at {position}"
        position += len(message.wire)
    if reading.error is None:
        assert reading.events[-1].unread == len(stream) - _after_blank_lines(stream, position)
    if messages:
        passed_on = _passed_on(messages)
        assert passed_on == [message.wire for message in messages], "otherwise sent on"
        select_for_retry = _as_client([b"".join(passed_on)], limits)
        assert select_for_retry.exactly()[0][:-1] == Reading(messages, None).exactly()[0]
        assert select_for_retry.events[-1] == EndOfStream(0)
    return reading.names()


def _as_client(pieces: Sequence[bytes], limits: Dict[str, int]) -> Reading:
    connection = Connection(Role.CLIENT, **limits)

    def ask(event: Any) -> None:
        if isinstance(event, Banner):
            for command in _COMMANDS:
                connection.send(command)

    return read(connection, pieces, ask)


def _after_blank_lines(stream: bytes, position: int) -> int:
    """Where in the stream something else than a blank line starts."""
    while stream.startswith((b"\n", b"\r\n"), position):
        position = stream.index(b"\n", position) + 1
    return position


def _passed_on(messages: Sequence[Message]) -> List[bytes]:
    """What a proxy sends of messages from a server, whose client asked the same."""
    server = Connection(Role.SERVER)
    sent = [server.send(messages[0])]
    read(server, [command.wire for command in _COMMANDS])
    return sent + [server.send(message) for message in messages[1:]]


def server(data: bytes) -> List[str]:
    """A server's connection reads anything a client sends, the same however it is cut.

    As the Asterisk that the setting's banner belongs to.
    """
    setting, pieces = parts(data)
    banner, limits = settings_of(setting)
    stream = b"".join(pieces)
    reading = read(_as_server(banner, limits), pieces)
    # The limits of an action are Asterisk's own, whatever is asked for.
    whole = read(_as_server(banner, {}), [stream])
    assert reading.exactly() == whole.exactly(), "otherwise in one piece"
    assert reading.error is None, "a client can send what it wants"
    *messages, end = reading.events
    for message in messages:
        assert isinstance(message, (Action, InvalidAction))
        look_at(message)
    used = b"".join([message.wire for message in messages])
    assert len(used) + end.unread <= len(stream) and end.unread <= MAX_PARTIAL_ACTION
    malformed = [message for message in messages if isinstance(message, InvalidAction)]
    reasons = {message.reason for message in malformed}
    assert reasons <= {MISSING_ACTION, LINE_TOO_LONG, TOO_MANY_LINES}
    if reasons <= {MISSING_ACTION}:
        assert stream.startswith(used), "bytes were lost"
    actions = [message for message in messages if isinstance(message, Action)]
    proxy = Connection(Role.CLIENT)
    read(proxy, [banner or BANNERS[0]])
    passed_on = [proxy.send(action) for action in actions]
    assert passed_on == [action.wire for action in actions], "otherwise sent on"
    select_for_retry = read(_as_server(banner, {}), passed_on)
    assert select_for_retry.exactly()[0] == [*Reading(actions, None).exactly()[0], EndOfStream(0)]
    return reading.names()


def _as_server(banner: bytes, limits: Dict[str, int]) -> Connection:
    connection = Connection(Role.SERVER, **limits)
    if banner:
        connection.send(Banner.from_wire(banner))
    return connection
