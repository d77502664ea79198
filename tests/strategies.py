"""Hypothesis strategies for AMI messages and streams, and functions that feed and read connections.

The strategies favour input that AMI is known to handle badly: line breaks, blank lines, text that
looks like a stanza, sizes at a limit, bytes that are not UTF-8.
"""

from __future__ import annotations

from typing import Any, Iterator, List, Optional, Sequence, Tuple, Type, Union

from hypothesis import strategies as st

from amiproto import (
    NEED_DATA,
    Action,
    ActionResult,
    Banner,
    Connection,
    EndOfStream,
    Event,
    LocalProtocolError,
    Message,
    RemoteProtocolError,
    Response,
    Role,
    Session,
    UnknownMessage,
)
from amiproto._text import WHITESPACE, to_bytes, to_text

BANNER = b"Asterisk Call Manager/5.0.4\r\n"
OLD_BANNER = b"Asterisk Call Manager/1.3\r\n"
FOLLOWS = b"Response: Follows\r\nPrivilege: Command\r\n"
END_COMMAND = b"--END COMMAND--\r\n\r\n"

#: Calls of next_event after which a connection that keeps returning events counts as hanging.
MAX_CALLS = 1_000_000


# ---- text and headers ----

_AWKWARD = [
    "", " ", "  two", "\ttab", "a: b", ":", "::", "(", "(a", "a)", "): x", "(x):y", "\x01", "\x1f",
    "\x7f", "\x85", "\u2028", "é", "日本", "👩\u200d👧", "\udcff", "\udcc3\udca9",
    "--END COMMAND--", "Response: Error", "Event: X", "ActionID: x", "Action: Ping",
    "<redacted>", "x" * 200, "\\", '"',
]  # fmt: skip
_BREAKS = [
    "\r", "\n", "\0", "\r\n", "\r\n\r\n", "hi\r\n\r\nAction: Ping", "\r\n\r\nResponse: Success\r\n",
    "\ud800",
]  # fmt: skip
_NAMES = [
    "Output", "Variable", "ChanVariable", "ChanVariable(SIP/x-1:2)", "Message", "Secret", "Key",
    "Challenge", "EventList", "X", "x", " ", "Response", "Event", "Privilege",
]  # fmt: skip

#: Text that fits into one line: no CR, LF or NUL, and surrogates only for bytes that are not UTF-8.
line_text = st.one_of(
    st.sampled_from(_AWKWARD),
    st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=30),
    st.binary(max_size=30).map(lambda data: to_text(data.translate(None, b"\r\n\0"))),
)

#: Any text, line breaks and surrogates that cannot be encoded included.
any_text = st.one_of(
    line_text,
    st.sampled_from(_BREAKS),
    st.text(max_size=30),
    st.lists(st.one_of(line_text, st.sampled_from(_BREAKS)), max_size=4).map("".join),
)

header_names = st.one_of(
    st.sampled_from(_NAMES),
    line_text.map(lambda text: text.replace(":", "").replace("(", "") or "N"),
)

#: Headers apart from ActionID and the names that a first line can have.
pairs = st.lists(
    st.tuples(header_names, line_text).filter(
        lambda pair: pair[0].lower() not in ("action", "actionid", "response", "event")
    ),
    max_size=6,
)
any_pairs = st.lists(st.tuples(st.one_of(header_names, any_text), any_text), max_size=4)

action_ids = st.one_of(
    st.sampled_from(["1", "a-1", "x" * 67, "\udcff" * 67, "é", "a b ", "--END COMMAND--", "(:"]),
    st.text("0123456789abcdef", min_size=1, max_size=32),
    line_text.filter(lambda text: text[:1] > " " and len(text) < 16),
)
maybe_action_ids = st.one_of(st.none(), action_ids)


# ---- messages ----

actions = st.builds(
    Action,
    line_text.map(lambda text: text if to_bytes(text).strip(WHITESPACE) else "Ping"),
    pairs,
    action_id=maybe_action_ids,
)

events = st.builds(Event, line_text, pairs, action_id=maybe_action_ids)

output_lines = st.one_of(
    line_text, st.sampled_from(["", "\r", "a\r", "--END COMMAND--\r", "ActionID: x\r", "nul\0"])
)
_success = st.builds(
    Response,
    line_text.filter(lambda text: text != "Follows"),
    pairs,
    action_id=maybe_action_ids,
    output=st.lists(line_text, max_size=4),
)


@st.composite
def follows(draw: st.DrawFn) -> Response:
    """A response to Command as Asterisk 11 writes it, without the CRs that it cannot represent."""
    lines = draw(st.lists(output_lines, max_size=6))
    action_id = draw(maybe_action_ids)
    while True:
        try:
            return Response(
                "Follows", [("Privilege", "Command")], action_id=action_id, output=lines
            )
        except LocalProtocolError:
            lines = [line.rstrip("\r") for line in lines]


responses = st.one_of(_success, follows())

unknown_messages = st.builds(
    UnknownMessage,
    st.lists(st.tuples(header_names, line_text), min_size=1, max_size=6).filter(
        lambda pairs: pairs[0][0].lower() not in ("action", "response", "event")
    ),
)

banners = st.builds(
    Banner,
    st.one_of(
        st.sampled_from(["1.3", "2.10.5", "5.0.4", "9.0.0", "11.0.0", "", "x", "123456.1"]),
        st.text(max_size=20).filter(lambda text: text.isprintable() and "/" not in text),
    ),
)

server_messages = st.one_of(responses, events, unknown_messages)
messages = st.one_of(actions, server_messages, banners)


# ---- streams ----

_line_ends = st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r\r\n"])
_raw_lines = st.one_of(
    st.sampled_from([b"Event: A", b"Response: Success", b"Response: Follows", b"ActionID: 7",
                     b"Privilege: Command", b"Action: Ping", b"no colon", b"X: y", b"", b"\0",
                     b"X: \0", b"--END COMMAND--", b"a\rb", b"Event", b"X" * 60]),
    st.binary(max_size=40),
    st.integers(0, 90).map(lambda size: b"Long: ".ljust(size, b"x")),
)  # fmt: skip

#: Lines with any line ends, with or without blank lines between them.
raw_stanzas = st.lists(st.tuples(_raw_lines, _line_ends), max_size=8).map(
    lambda lines: b"".join(line + end for line, end in lines)
)

_follows_texts = st.lists(
    st.sampled_from([b"text\n", b"\n", b"\r\n", b"a\r\n\r\nb\n", b"--END COMMAND--\n", b"x" * 40,
                     b"--END COMMAND--\r\n", b"ActionID: 3\r\n", b"Event: A\r\n\r\n"]),
    max_size=6,
).map(lambda lines: FOLLOWS + b"".join(lines) + END_COMMAND)  # fmt: skip

_pieces = st.one_of(
    server_messages.map(lambda message: message.wire),
    actions.map(lambda message: message.wire),
    raw_stanzas,
    _follows_texts,
    st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n", b"\r", b"\n\n", b"\n\r\n"]),
    st.binary(max_size=20),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """The bytes of a peer after the banner: valid or not, complete or cut off."""
    data = b"".join(draw(st.lists(_pieces, max_size=8)))
    if draw(st.booleans()):
        return data
    return data[: draw(st.integers(0, len(data)))]


banner_lines = st.one_of(
    st.sampled_from([BANNER, OLD_BANNER, BANNER, OLD_BANNER, b"Asterisk Call Manager/11.0.0\n"]),
    st.sampled_from([b"", b"Asterisk Call Manager\r\n", b"HTTP/1.1 400 Bad Request\r\n",
                     b"x" * 300, b"Asterisk Call Manager/".ljust(256, b"x") + b"\n"]),
    st.binary(max_size=40),
)  # fmt: skip

#: Positions at which to cut a stream, modulo its length.
cuts = st.lists(st.integers(0, 4000), max_size=12)


def cut(data: bytes, places: Sequence[int]) -> List[bytes]:
    """Cut the data into pieces, some of which may be empty."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)])]


def bytewise(data: bytes) -> List[bytes]:
    """Cut the data into single bytes."""
    return [data[i : i + 1] for i in range(len(data))]


# ---- reading ----


def available(connection: Union[Connection, Session]) -> Iterator[Any]:
    """Yield all available events, including EndOfStream."""
    for _ in range(MAX_CALLS):
        event = connection.next_event()
        if event is NEED_DATA:
            return
        yield event
        if isinstance(event, EndOfStream):
            return
    raise AssertionError("next_event does not stop returning events")


def drain(connection: Union[Connection, Session]) -> List[Any]:
    """Return all available events, including EndOfStream."""
    return list(available(connection))


def feed(connection: Union[Connection, Session], data: bytes) -> List[Any]:
    """Pass bytes to a connection and return all events that result."""
    connection.receive_data(data)
    return drain(connection)


def exactly(event: Any) -> Any:
    """Return a value that is equal only for events with the same bytes and the same attributes.

    Messages themselves are equal as soon as their headers are.
    """
    if isinstance(event, Message):
        read = [getattr(event, name, None) for name in ("action_id", "output", "reason", "version")]
        return type(event), event.wire, event.headers.items(), read
    if isinstance(event, ActionResult):
        return event.action_id, *map(exactly, (event.response, *event.events, event.complete))
    return event


def outcome(
    connection: Union[Connection, Session], chunks: Sequence[bytes]
) -> Tuple[List[Any], Optional[Tuple[Type[Exception], Any]]]:
    """Return all events of a stream, by :func:`exactly`, and its error: type and attributes."""
    seen: List[Any] = []
    try:
        for chunk in chunks:
            connection.receive_data(chunk)
            seen.extend(map(exactly, available(connection)))
        connection.receive_eof()
        seen.extend(map(exactly, available(connection)))
    except RemoteProtocolError as error:
        return seen, (type(error), vars(error))
    return seen, None


def opened(role: Role, banner: bytes = BANNER, **limits: int) -> Connection:
    """Return a connection after the banner; if that is an old one, with commands in flight.

    A client of Asterisk 11 accepts raw text only as the response to a Command.
    """
    connection = Connection(role, **limits)
    if role is Role.CLIENT:
        feed(connection, banner)
    else:
        connection.send(Banner.from_wire(banner))
    if banner == OLD_BANNER:
        for action_id in (None, None, "1", "3", "7"):
            ask(connection, action_id)
    return connection


def ask(connection: Connection, action_id: Optional[str]) -> bytes:
    """Make a connection send or receive a Command, which may get raw text; return its bytes."""
    command = Action("Command", {"Command": "x"}, action_id=action_id)
    if connection.role is Role.CLIENT:
        return connection.send(command)
    feed(connection, command.wire)
    return command.wire
