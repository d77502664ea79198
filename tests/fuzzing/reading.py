"""Split an input into settings and chunks, and decode a stream to its end.

The head, the first bytes of an input, selects the settings and where the rest is split.
"""

from __future__ import annotations

import pickle
from itertools import chain
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

from amiclient.loopback import Received
from amiproto import (
    NEED_DATA,
    Action,
    Connection,
    EndOfStream,
    Event,
    LoginFailed,
    Message,
    MessageSend,
    RemoteProtocolError,
    Response,
    Session,
    TooManyLines,
    parse_message_send,
)
from amiproto._text import to_bytes

Reader = Union[Connection, Session]

#: Banners of versions with and without raw text in the response to a command.
BANNERS = [b"Asterisk Call Manager/%s\n" % version for version in (b"1.3\r", b"5.0.4\r", b"11.0.0")]
BANNERS = [*BANNERS * 5, b""]  # the last one: the input has to contain a banner

#: The default limits, and limits low enough for inputs of some hundred bytes.
LIMITS: List[Dict[str, int]] = [
    {},
    {},
    {},
    {"max_line": 100, "max_stanza": 400, "max_backlog": 500},
    {"max_line": 30, "max_stanza": 5000, "max_backlog": 0},
    {"max_line": 5000, "max_stanza": 60, "max_backlog": 0},
]

#: The setting, and four bytes that split the rest.
HEAD = 5


def split_input(data: bytes) -> Tuple[int, List[bytes]]:
    """Return the setting of an input (0 to 255), and the rest of it in chunks."""
    setting, *cuts = data[:HEAD].ljust(HEAD, b"\0")
    rest = data[HEAD:]
    size = len(rest)
    if cuts[0] < 32:
        places = [*range(0, size, cuts[0] + 1), size]
    else:
        places = [0, *sorted(cut * (size + 1) // 256 for cut in cuts), size]
    return setting, [rest[start:end] for start, end in zip(places, places[1:])]


def settings_of(setting: int) -> Tuple[bytes, Dict[str, int]]:
    """Return the banner and the limits of a setting."""
    return BANNERS[setting % len(BANNERS)], LIMITS[setting // len(BANNERS) % len(LIMITS)]


class Reading(NamedTuple):
    """The events of a stream."""

    events: List[Any]
    #: The error at the end, or None if the last event is EndOfStream.
    error: Union[RemoteProtocolError, LoginFailed, None]

    def names(self) -> List[str]:
        """Return the types of the events, and the type and limit of the error."""
        found = [type(event).__name__ for event in self.events]
        if self.error is not None:
            found.append(f"{type(self.error).__name__} limit={self.error.limit}")
        return found

    def identity(self) -> Any:
        """Return a value that is equal only for identical events and errors."""
        events = [
            (
                (type(event), event.wire, getattr(event, "reason", None))
                if isinstance(event, Message)
                else event
            )
            for event in self.events
        ]
        return events, type(self.error), getattr(self.error, "__dict__", None)


def read(
    reader: Reader, chunks: Iterable[bytes], on_event: Callable[[Any], object] = repr
) -> Reading:
    """Decode a stream to its end.

    :param on_event: called with each event before the next one is decoded.
    """
    events: List[Any] = []
    # More events than bytes mean an endless loop.
    most = 3
    end: List[Optional[bytes]] = [None]
    try:
        for chunk in chain(chunks, end):
            if chunk is None:
                reader.receive_eof()
            else:
                reader.receive_data(chunk)
                most += len(chunk)
            while True:
                event = reader.next_event()
                if event is NEED_DATA:
                    break
                events.append(event)
                on_event(event)
                assert len(events) <= most, "next_event does not end"
                if isinstance(event, EndOfStream):
                    break
    except LoginFailed as error:
        return Reading(events, error)
    except RemoteProtocolError as error:
        try:
            reader.next_event()
        except RemoteProtocolError as second:
            assert vars(second) == vars(error), "a different error the second time"
        else:
            raise AssertionError("no error the second time")
        return Reading(events, error)
    assert events and isinstance(events[-1], EndOfStream), "the stream does not end"
    assert reader.next_event() == events[-1]
    return Reading(events, None)


def fields_of(message: MessageSend) -> Tuple[Any, ...]:
    """Return the fields of a message, except its ActionID."""
    return (*message.fields, message.text, message.technology)


def inspect(event: Any) -> None:
    """Read every attribute of an event, and check that copies are equal."""
    repr(event)
    if not isinstance(event, Message):
        return
    for name, value in event.headers.items():
        to_bytes(name + value)
    for attribute in ("action_id", "name", "output", "message", "version", "major", "reason"):
        getattr(event, attribute, None)
    for other in (type(event).from_wire(event.wire), pickle.loads(pickle.dumps(event))):
        assert other == event and hash(other) == hash(event) and other.wire == event.wire
    message = parse_message_send(Action.from_wire(event.wire))
    repr(message)
    Received.of(message)
    if isinstance(event, Action):
        for action in (event, message):
            _check_other_action_id(action, b"\n")
    elif isinstance(event, (Event, Response)):
        _check_other_action_id(event, b"\r\n")


def _check_other_action_id(message: Union[Action, Event, Response], line_end: bytes) -> None:
    """Check that another ActionID changes one line only."""
    try:
        other = message.with_action_id("7")
    except TooManyLines:
        assert message.wire.count(b"\n") == 129 and b"\nactionid:" not in message.wire.lower()
        return
    assert other.action_id == "7" and other.name == message.name
    if isinstance(message, Response) and isinstance(other, Response):
        assert other.output == message.output
        if message.name == "Follows":
            return  # the text of the output can have such a line, too
    assert other.wire == with_id_line(message.wire, line_end, b"ActionID: 7\r\n")
    if isinstance(message, MessageSend) and isinstance(other, MessageSend):
        assert fields_of(other) == fields_of(message)


def with_id_line(wire: bytes, line_end: bytes, line: bytes) -> bytes:
    """Return the bytes of a message with this line instead of its first ActionID, or added."""
    lines = [text + line_end for text in wire.split(line_end)]
    found = [index for index, text in enumerate(lines) if text.lower().startswith(b"actionid:")]
    place = found[0] if found else 1
    return b"".join([*lines[:place], line, *lines[place + len(found[:1]) :]])[: -len(line_end)]
