"""What the laws of all readers share: settings and pieces out of an input, and reading to the end.

The first bytes of an input, its head, choose the settings and where the rest is cut.
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
    LocalProtocolError,
    LoginFailed,
    Message,
    MessageSend,
    RemoteProtocolError,
    Session,
    parse_message_send,
)
from amiproto._text import to_bytes

Reader = Union[Connection, Session]

#: A banner that makes raw text of a command's answer, and others.
BANNERS = [
    b"Asterisk Call Manager/1.3\r\n",
    b"Asterisk Call Manager/5.0.4\r\n",
    b"Asterisk Call Manager/11.0.0\n",
] * 5 + [
    b""
]  # the input has to bring its own

#: Limits low enough for inputs of some hundred bytes to meet them, and the usual ones.
LIMITS: List[Dict[str, int]] = [
    {},
    {},
    {},
    {"max_line": 100, "max_stanza": 400, "max_backlog": 500},
    {"max_line": 30, "max_stanza": 5000, "max_backlog": 0},
    {"max_line": 5000, "max_stanza": 60, "max_backlog": 0},
]

#: The setting, and four bytes that cut the rest.
HEAD = 5


def parts(data: bytes) -> Tuple[int, List[bytes]]:
    """The setting of an input (0 to 255), and the rest of it in pieces."""
    setting, *cuts = data[:HEAD].ljust(HEAD, b"\0")
    rest = data[HEAD:]
    size = len(rest)
    if cuts[0] < 32:
        places = [*range(0, size, cuts[0] + 1), size]
    else:
        places = [0, *sorted(cut * (size + 1) // 256 for cut in cuts), size]
    return setting, [rest[start:end] for start, end in zip(places, places[1:])]


def settings_of(setting: int) -> Tuple[bytes, Dict[str, int]]:
    """The banner and the limits of a setting."""
    return BANNERS[setting % len(BANNERS)], LIMITS[setting // len(BANNERS) % len(LIMITS)]


class Reading(NamedTuple):
    """All that came of a stream."""

    events: List[Any]
    #: What ended it, or None where EndOfStream did, which is then the last event.
    error: Union[RemoteProtocolError, LoginFailed, None]

    def names(self) -> List[str]:
        """The kinds of what came, and the beginning of the error's sentence."""
        found = [type(event).__name__ for event in self.events]
        if self.error is not None:
            sentence = str(self.error).rstrip("0123456789")[:45]
            found.append(f"{type(self.error).__name__}: {sentence}")
        return found

    def exactly(self) -> Any:
        """A value that equals only that of the very same events and error."""
        events = [
            (
                (type(event), event.wire, getattr(event, "reason", None))
                if isinstance(event, Message)
                else event
            )
            for event in self.events
        ]
        return events, type(self.error), getattr(self.error, "__dict__", None)


def _ignore(event: Any) -> None:
    pass


def read(
    reader: Reader, pieces: Iterable[bytes], on_event: Callable[[Any], None] = _ignore
) -> Reading:
    """Read a stream to its end, which it must have.

    :param on_event: called with each event before the next is asked for.
    """
    events: List[Any] = []
    # No event without a byte, but for the end: whoever gives more gives for ever.
    most = 3
    end: List[Optional[bytes]] = [None]
    try:
        for piece in chain(pieces, end):
            if piece is None:
                reader.receive_eof()
            else:
                reader.receive_data(piece)
                most += len(piece)
            while True:
                event = reader.next_event()
                if event is NEED_DATA:
                    break
                events.append(event)
                on_event(event)
                assert len(events) <= most, "next_event never comes to an end"
                if isinstance(event, EndOfStream):
                    break
    except LoginFailed as error:
        return Reading(events, error)
    except RemoteProtocolError as error:
        try:
            reader.next_event()
        except RemoteProtocolError as select_for_retry:
            assert vars(select_for_retry) == vars(error), "another error the second time"
        else:
            raise AssertionError("an error that does not stay")
        return Reading(events, error)
    assert events and isinstance(events[-1], EndOfStream), "the stream never comes to an end"
    assert reader.next_event() == events[-1]
    return Reading(events, None)


def fields_of(message: MessageSend) -> Tuple[Any, ...]:
    """What a message says, but for its ActionID."""
    return (
        message.to, message.from_, message.destination, message.body, message.text,
        message.variables, message.technology,
    )  # fmt: skip


def look_at(event: Any) -> None:
    """Read all there is to read of an event."""
    repr(event)
    if not isinstance(event, Message):
        return
    for name, value in event.headers.items():
        to_bytes(name + value)
    for attribute in ("action_id", "name", "output", "message", "version", "major", "reason"):
        getattr(event, attribute, None)
    for other in (type(event).from_wire(event.wire), pickle.loads(pickle.dumps(event))):
        assert other == event and hash(other) == hash(event) and other.wire == event.wire
    understood = parse_message_send(Action.from_wire(event.wire))
    repr(understood)
    Received.of(understood)
    if isinstance(event, Action):
        for action in (event, understood):
            _under_another_action_id(action)


def _under_another_action_id(action: Action) -> None:
    """An action that was read goes on under another ActionID as what it was, or not at all."""
    try:
        other = action.with_action_id("7")
    except LocalProtocolError:
        return
    assert other.action_id == "7" and other.name == action.name
    if isinstance(action, MessageSend) and isinstance(other, MessageSend):
        assert fields_of(other) == fields_of(action)
