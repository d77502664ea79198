"""Messages: encoding, decoding, limits, and their behaviour as values."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any, Callable, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import (
    LINE_TOO_LONG,
    MISSING_ACTION,
    Action,
    Banner,
    Event,
    Headers,
    InvalidAction,
    InvalidHeader,
    LineTooLong,
    LocalProtocolError,
    Message,
    MessageSend,
    Response,
    Role,
    TooManyLines,
    UnknownMessage,
    parse_message_send,
)
from amiproto._text import WHITESPACE, to_bytes, to_text
from tests.fuzzing.reading import with_id_line
from tests.strategies import (
    BANNER,
    END_COMMAND,
    FOLLOWS,
    OLD_BANNER,
    action_ids,
    any_pairs,
    any_text,
    ask,
    exactly,
    feed,
    line_text,
    messages,
    opened,
    output_lines,
    raw_stanzas,
    streams,
)

Pairs = List[Tuple[str, str]]

invalid_actions = st.builds(
    InvalidAction, raw_stanzas.map(lambda data: data + b"\r\n"), st.just(LINE_TOO_LONG)
)
message_sends = st.builds(
    MessageSend, st.just("pjsip:a"), line_text.map(to_bytes), action_id=action_ids
)
all_messages = st.one_of(messages, invalid_actions, message_sends)


def received(message: Message) -> Message:
    """Return the message as the peer decodes it."""
    if isinstance(message, Action):
        (other,) = feed(opened(Role.SERVER), message.wire)
    elif isinstance(message, Banner):
        (other,) = feed(opened(Role.CLIENT, b""), message.wire)
    else:
        client = opened(Role.CLIENT, OLD_BANNER)
        ask(client, message.action_id)
        (other,) = feed(client, message.wire)
    assert isinstance(other, Message)
    return other


# ---- encoding and decoding ----


def terminators(message: Message) -> int:
    """Count the places where a reader of this kind of message finds its end."""
    wire = message.wire
    if isinstance(message, Banner):
        return wire.count(b"\n")
    if wire.startswith(FOLLOWS):
        return wire.count(END_COMMAND)
    assert wire.replace(b"\r\n", b"").count(b"\n") == wire.replace(b"\r\n", b"").count(b"\r") == 0
    return wire.count(b"\r\n\r\n") + wire.startswith(b"\r\n")


@given(messages)
def test_encoding_and_decoding_gives_the_message(message: Message) -> None:
    other = received(message)
    assert type(other) is type(message)
    assert other == message and message == other and hash(other) == hash(message)
    assert other.wire == message.wire
    assert other.headers == message.headers
    assert other.action_id == message.action_id == message.headers.get("ActionID")
    assert terminators(message) == 1
    assert message.wire.endswith(b"\r\n" if isinstance(message, Banner) else b"\r\n\r\n")
    for attribute in ("name", "message", "output", "version", "major"):
        if hasattr(message, attribute):
            assert getattr(other, attribute) == getattr(message, attribute)


@given(streams(), st.sampled_from([BANNER, OLD_BANNER]))
def test_decoding_and_encoding_gives_the_bytes(data: bytes, banner: bytes) -> None:
    client, server = opened(Role.CLIENT, banner), opened(Role.SERVER, banner)
    position = 0
    for message in feed(client, data):
        wire = server.send(message)
        assert wire == message.wire
        # Only surplus blank lines are skipped.
        found = data.index(wire, position)
        assert not data[position:found].strip(b"\r\n")
        position = found + len(wire)


@given(streams())
def test_server_decodes_every_byte_into_an_action(data: bytes) -> None:
    position = 0
    for message in feed(opened(Role.SERVER), data):
        position = data.index(message.wire, position) + len(message.wire)
        if isinstance(message, Action):
            assert opened(Role.CLIENT).send(message) == message.wire


maybe_any_text = st.one_of(st.none(), any_text)


@given(st.sampled_from([Action, Event, Response]), any_text, any_pairs, maybe_any_text)
def test_text_is_encoded_exactly_or_rejected(
    kind: Any, name: str, pairs: Pairs, action_id: Optional[str]
) -> None:
    try:
        message = kind(name, pairs, action_id=action_id)
    except LocalProtocolError as error:
        assert error.outcome == "not_sent" and str(error)
        return
    assert terminators(message) == 1
    rest = []
    for key, value in pairs:
        if key.lower() == "actionid":
            action_id = value
        else:
            rest.append((key, value))
    id_line = [] if action_id is None else [("ActionID", action_id)]
    lines = [(kind.__name__, name), *id_line, *rest]
    if name == "Follows" and kind is Response:
        lines = [lines[0], *rest, *id_line]
    assert message.wire.startswith(to_bytes("".join(f"{key}: {value}\r\n" for key, value in lines)))
    if kind is Action:
        assert message.wire.count(b"\r\n") == len(lines) + 1
        assert all(len(line) <= 1022 for line in message.wire.split(b"\r\n"))


@given(st.lists(st.one_of(any_text, output_lines), max_size=4), maybe_any_text)
def test_output_is_encoded_exactly_or_rejected(lines: List[str], action_id: Optional[str]) -> None:
    for name in ("Success", "Follows"):
        try:
            response = Response(name, {"Privilege": "Command"}, action_id=action_id, output=lines)
        except LocalProtocolError:
            continue
        assert terminators(response) == 1
        assert [to_bytes(line) for line in response.output] == [to_bytes(line) for line in lines]


@given(any_pairs)
def test_unknown_message_is_encoded_exactly_or_rejected(pairs: Pairs) -> None:
    try:
        message = UnknownMessage(pairs)
    except LocalProtocolError:
        return
    assert terminators(message) == 1
    assert len(message.headers) == len(pairs)


# ---- messages as values ----


@given(all_messages, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_messages_are_picklable_copyable_and_hashable(message: Message, protocol: int) -> None:
    for other in (
        pickle.loads(pickle.dumps(message, protocol)),
        copy.copy(message),
        copy.deepcopy(message),
    ):
        assert exactly(other) == exactly(message)
        assert other == message and not other != message and hash(other) == hash(message)
        assert repr(other) == repr(message)
    assert len(repr(message).splitlines()) == 1 and len(repr(message)) < 3000
    repr(message).encode()
    assert {message: 1}[copy.copy(message)] == 1
    assert message != message.wire
    assert message != Event("Something", {"else": "entirely"})


@given(all_messages)
def test_messages_are_immutable(message: Message) -> None:
    public = [name for name in dir(message) if not name.startswith("_")]
    for name in [*public, "something_new", "__dict__"]:
        with pytest.raises((AttributeError, TypeError)):
            setattr(message, name, "x")


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: Action("X", [("a:", "b")]), "Action"),
        (lambda: MessageSend("alice", "x"), "MessageSend"),
        (lambda: Event("X\n"), "Event"),
        (lambda: Banner("1/2"), "Banner"),
    ],
)
def test_repr_of_a_message_that_could_not_be_built(build: Callable[[], Any], name: str) -> None:
    # Reports of errors show it, as the variable "self" of a frame.
    with pytest.raises(LocalProtocolError) as caught:
        build()
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = [repr(frame.f_locals["self"]) for frame in frames if "self" in frame.f_locals]
    assert shown and set(shown) == {f"<{name}, not initialized>"}


def test_different_messages_have_different_hashes() -> None:
    assert len({hash(Event(str(number))) for number in range(9)}) > 1
    wire = b"A: b\r\n\r\n"
    assert hash(Event.from_wire(wire)) != hash(UnknownMessage.from_wire(wire))


def test_equality_ignores_line_ends_only() -> None:
    (lf,) = feed(opened(Role.CLIENT), b"Event: X\r\nA:b\r\n\n")
    assert lf == Event("X", {"A": "b"}) and hash(lf) == hash(Event("X", {"A": "b"}))
    assert lf.wire != Event("X", {"A": "b"}).wire and lf.name == "X"
    assert lf != Event("X", {"a": "b"}) and lf != UnknownMessage({"A": "b"})
    (lf,) = feed(opened(Role.CLIENT), b"Response: Success\r\nOutput: b\r\n\n")
    assert lf == Response("Success", output=["b"]) != Response("Success", output=["c"])
    with_id = Response("Follows", {"Privilege": "Command"}, action_id="7", output=["a"])
    assert with_id.wire == FOLLOWS + b"ActionID: 7\r\na\n" + END_COMMAND
    without_lf = Response.from_wire(FOLLOWS + b"a" + END_COMMAND)
    assert without_lf == Response("Follows", {"Privilege": "Command"}, output=["a"])
    assert without_lf != Response("Follows", {"Privilege": "Command"}, output=["b"])


def test_repr() -> None:
    whole, long = "x" * 80, "x" * 81
    assert repr(Event(whole)) == f"<Event Event: '{whole}'>"
    assert repr(Event(long)) == f"<Event Event: '{whole}...'>"
    assert repr(Event("X", {whole: "b'"})) == f"<Event Event: 'X', {whole}: \"b'\">"
    assert repr(Event("X", {long: "1"})) == f"<Event Event: 'X', '{whole}...': '1'>"
    # Names that are not printable are escaped.
    assert repr(Event("\t", {"\x07": "é"})) == "<Event Event: '\\t', '\\x07': 'é'>"
    forty = ", ".join(f"A: '{number}'" for number in range(1, 40))
    for lines, more in ((40, ""), (41, ", and 1 more"), (100, ", and 60 more")):
        event = Event("0", [("A", str(number)) for number in range(1, lines)])
        assert repr(event) == f"<Event Event: '0', {forty}{more}>"


# ---- ActionIDs and headers, received from a server ----


@pytest.mark.parametrize(
    "wire, action_id",
    [
        (b"Event: X\r\nActionID: 7 \r\nA: b\r\n\r\n", "7 "),
        (b"Event: X\r\nActionID: 7\nx\r\n\r\n", "7\nx"),
        (b"Event: X\nActionID: 7\r\n\r\n", None), (b"Event: X\nA\r\nActionID: 7\r\n\r\n", "7"),
        (b"Event: X\r\nActionID: 7\r\n\n", "7"), (b"Event: X\r\nactionid:7\r\n\r\n", "7"),
        (b"Event: X\r\nActionID:7\r\nActionID: 8\r\n\r\n", "7"),
        (b"Event: X\r\nA: b\r\nActionID: 7\r\nActionID: 8\r\n\r\n", "7"),
        (b"Event: X\r\nActionID: \r\n\r\n", ""), (b"Event: X\r\nA: b\r\n\r\n", None),
        (b"ActionID: 7\r\nActionID: 8\r\n\r\n", "7"),
    ],
)  # fmt: skip
def test_action_id_from_server(wire: bytes, action_id: Optional[str]) -> None:
    (message,) = feed(opened(Role.CLIENT), wire)
    assert message.action_id == action_id == message.headers.get("ActionID")


@pytest.mark.parametrize(
    "wire, keys",
    [
        (b"Event: X\r\nA: 1\nB: 2\rC\r\n\r\n", ["Event", "A"]),
        (b"Event: X\nA: 1\r\nB: 2\r\n\n", ["Event", "B"]),
        (b"Event: X\nA: 1\r\nB: 2\r\n\r\n", ["Event", "B"]),
        (b"Event: X\r\nA: 1\n\nB: 2\n\r\n\r\n", ["Event", "A"]),
        (b"Event: X\r\nA: 1\r\r\n\n", ["Event", "A"]),
        (b"Event: X\r\nno colon\r\n\r\n", ["Event", ""]),
    ],
)
def test_cr_lf_ends_a_line_from_a_server(wire: bytes, keys: List[str]) -> None:
    (event,) = feed(opened(Role.CLIENT), wire)
    assert type(event) is Event and event.headers.keys() == keys and event.wire == wire
    assert event.name == event.headers["Event"] == event.headers.values()[0]


# ---- actions, as a server reads them ----


@pytest.mark.parametrize(
    "wire, action_id",
    [
        (b"Action: Ping\r\nActionID: 7\r\n\r\n", "7"),
        (b"Action: Ping\r\nActionID:7\r\n\r\n", "7"),
        (b"Action: Ping\r\nActionID:  \t7 \r\n\r\n", "7 "),
        (b"Action: Ping\r\nActionID: 7\0 8\r\n\r\n", "7"),
        (b"Action: Ping\nactionid: 7\n\n", "7"),
        (b"Action: Ping\r\nActionID: \r\nActionID: 8\r\n\r\n", None),
        (b"Action: Ping\r\n\r\n", None),
        (b"ActionID: 1\r\nActionID: 2\r\nAction: Ping\r\n\r\n", "1"),
        (b"X: y\r\nAction: Ping\r\nActionID: 7\r\nActionID: 8\r\n\r\n", "7"),
        (b"Action: Ping\r\nActionID : 7\r\n\r\n", None),
        (b"Action: Ping\r\n ActionID: 7\r\nActionIDs: 8\r\n\r\n", None),
        (b"Action: Ping\r\nX: \0ActionID: 7\r\nActionID: 8\r\n\r\n", "8"),
        # The first Action that is not empty counts.
        (b"Action:  \r\naction: Ping\r\nActionID: 7\r\n\r\n", "7"),
        (b"Action:\r\nAction: Ping\r\nAction: Logoff\r\n\r\n", None),
    ],
)
def test_action_id_and_name_as_read_by_server(wire: bytes, action_id: Optional[str]) -> None:
    (action,) = feed(opened(Role.SERVER), wire)
    assert type(action) is Action and action.action_id == action_id and action.name == "Ping"
    assert action.with_action_id("new").wire == with_id_line(wire, b"\n", b"ActionID: new\r\n")


@pytest.mark.parametrize(
    "wire, keys",
    [
        (b"Action: X\0Y\r\nA: b\r\n\0junk\r\n", ["Action", "A"]),
        (b"Action: X\r\nA\0: b\r\n\r\n", ["Action", ""]),
        (b"Action: X\nA: b\n\n", ["Action", "A"]),
    ],
)
def test_nul_ends_a_line(wire: bytes, keys: List[str]) -> None:
    (action,) = feed(opened(Role.SERVER), wire)
    assert action.headers.keys() == keys and action.name == "X"


@given(streams(), action_ids)
def test_with_action_id_changes_one_line_of_a_received_action(data: bytes, action_id: str) -> None:
    line = b"ActionID: " + to_bytes(action_id) + b"\r\n"
    for action in feed(opened(Role.SERVER), data):
        if isinstance(action, Action):
            other = action.with_action_id(action_id)
            assert other.wire == with_id_line(action.wire, b"\n", line)
            assert other.name == action.name and other.action_id == to_text(to_bytes(action_id))
            assert exactly(other) == exactly(Action.from_wire(other.wire))
            (again,) = feed(opened(Role.SERVER), other.wire)
            assert exactly(again) == exactly(other)


@pytest.mark.parametrize(
    "line",
    [b"no colon", b": v", b"a\rb: c\rd", b"A\0: b", b"\r\r", b"\xff", b"X: ".ljust(1023, b"y"),
     b"X: y\r\n" * 125 + b"X: y"],
)  # fmt: skip
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_with_action_id_keeps_lines_that_a_new_action_cannot_have(line: bytes, end: bytes) -> None:
    line += b"\n" if len(line) == 1023 else end
    for before, after in (
        (b"Action: Ping" + end, line + end),
        (line, b"Action: Ping" + end + end),
        (b"Action: MessageSend" + end, line + b"ActionID: 2" + end + b"Action: Other" + end + end),
    ):
        wire = before + b"actionid:1\n" + after
        if wire.count(b"\n") > 129:
            continue
        (action,) = feed(opened(Role.SERVER), wire)
        expected = before + b"ActionID: new\r\n" + after
        other = action.with_action_id("new")
        assert (other.wire, other.action_id, other.name) == (expected, "new", action.name)
        message = parse_message_send(action)
        assert message.with_action_id("new").wire == expected
        assert message.with_action_id("new").fields == message.fields


@given(st.lists(st.one_of(
    st.tuples(st.sampled_from(["ActionID", "actionid", "A", " ActionID", "ActionID(a"]), line_text),
), max_size=5), st.sampled_from([b"\r\n", b"\n"]), action_ids)  # fmt: skip
def test_with_action_id_changes_one_line_of_a_received_event(
    pairs: Pairs, blank: bytes, action_id: str
) -> None:
    lines = to_bytes("".join([f"{name}: {value}\r\n" for name, value in pairs]))
    line = b"ActionID: " + to_bytes(action_id) + b"\r\n"
    for start in (b"Event: X", b"event:X\nActionID: 3", b"Response: Success", b"RESPONSE:a"):
        wire = start + b"\r\n" + lines + blank
        (message,) = feed(opened(Role.CLIENT), wire)
        other = message.with_action_id(action_id)
        assert other.wire == with_id_line(wire, b"\r\n", line) and type(other) is type(message)
        assert other.action_id == other.headers["ActionID"] == to_text(to_bytes(action_id))
        assert other.name == message.name


def test_with_action_id_on_raw_output() -> None:
    text = b"ActionID: in the text\r\nx\n" + END_COMMAND
    for start in (FOLLOWS, FOLLOWS + b"ActionID: 1\r\n", FOLLOWS + b"actionid:1\r\n"):
        response = Response.from_wire(start + b"a\n" + text)
        other = response.with_action_id("new")
        assert other.wire == FOLLOWS + b"ActionID: new\r\na\n" + text
        assert other.action_id == "new" and other.output == response.output
    # The end of an ActionID that looks like the end of raw output.
    response = Response.from_wire(FOLLOWS + b"ActionID: 1" + END_COMMAND)
    assert (response.action_id, response.output) == ("1--END COMMAND--", ())
    assert response.with_action_id("2").wire == FOLLOWS + b"ActionID: 2\r\n\r\n"
    response = Response.from_wire(FOLLOWS + b"\r\n" + END_COMMAND)
    assert response.with_action_id("new").output == ("\r",)
    with pytest.raises(InvalidHeader) as caught:
        response.with_action_id("--END COMMAND--")
    assert caught.value.field == "output"
    with pytest.raises(InvalidHeader) as caught:
        response.with_action_id("x" * 1024)  # would be read as a part of the output
    assert caught.value.field == "Response"


server_lines = st.builds(
    lambda name, value: (name + value).replace(b"\n", b""),
    st.sampled_from([b"", b"To:", b"to: ", b"To : ", b"TO:\0", b"Action:", b"action: "]),
    st.binary(max_size=8),
)


@given(st.lists(server_lines.filter(lambda line: line.rstrip(b"\r") and line[0]), max_size=6))
def test_header_as_read_matches_reference_implementation(lines: List[bytes]) -> None:
    action = Action.from_wire(b"".join([line + b"\r\n" for line in lines]) + b"\r\n")

    def values(name: bytes) -> List[str]:
        kept = [line.partition(b"\0")[0] for line in lines]
        found = [line[len(name) :] for line in kept if line.lower().startswith(name)]
        return [to_text(value.lstrip(WHITESPACE)) for value in found]

    assert parse_message_send(action).to == (values(b"to:") or [""])[0]
    assert action.name == ([value for value in values(b"action:") if value] or [""])[0]


# ---- actions, as a client builds them ----


@given(st.builds(Action, st.just("Ping"), action_id=action_ids), action_ids)
def test_with_action_id_changes_nothing_else(action: Action, action_id: str) -> None:
    other = action.with_action_id(action_id)
    assert other.headers.items()[0] == ("Action", "Ping")
    assert other.action_id == to_text(to_bytes(action_id))
    assert other == Action("Ping", action_id=action_id)


def test_action_id_is_written_before_other_headers() -> None:
    action = Action("Originate", [("Channel", "Local/1"), ("ActionID", "7"), ("Variable", "a=b")])
    assert action.wire == (
        b"Action: Originate\r\nActionID: 7\r\nChannel: Local/1\r\nVariable: a=b\r\n\r\n"
    )
    assert action == Action("Originate", {"Channel": "Local/1", "Variable": "a=b"}, action_id="7")
    assert action == Action("Originate", Headers(action.headers.items()[2:]), action_id="7")


def follows(*output: str, **options: Any) -> Response:
    return Response("Follows", {"Privilege": "Command"}, output=output, **options)


@pytest.mark.parametrize(
    "build, field",
    [
        (lambda: Action("", {"X": "y"}), "Action"), (lambda: Action(" \t\x01"), "Action"),
        (lambda: Action("Ping", {"ACTION": "x"}), "Action"),
        (lambda: Response("Success", {"response": "x"}), "Response"),
        (lambda: Event("X", {"event": "x"}), "Event"),
        (lambda: Action("Ping", {"ActionID": "1"}, action_id="2"), "ActionID"),
        (lambda: Event("X", [("ActionID", "1"), ("actionid", "2")]), "ActionID"),
        (lambda: UnknownMessage([]), None), (lambda: UnknownMessage({"Event": "x"}), "Event"),
        (lambda: UnknownMessage({"RESPONSE": "x"}), "RESPONSE"),
        (lambda: UnknownMessage({"action": "x"}), "action"),
        (lambda: Response("Follows"), "Response"),
        (lambda: Response("Follows", {"Privilege": "Other"}), "Response"),
        (lambda: Response("Follows", {"Privilege": "Command", "Message": "x"}), "Response"),
        (lambda: follows("a\nb"), "output"), (lambda: follows("\ud800"), "output"),
        (lambda: follows("ActionID: 1\r"), "Response"),
        (lambda: follows("--END COMMAND--\r", "\r"), "output"),
        (lambda: follows("\r", action_id="--END COMMAND--"), "output"),
        (lambda: Response("Success", output=["a\rb"]), "Output"),
        (lambda: Banner("1/2"), "version"), (lambda: Banner("1.3\r\n"), "version"),
        (lambda: Banner("\ud800"), "version"),
    ],
)  # fmt: skip
def test_message_that_would_be_decoded_differently_is_rejected(
    build: Callable[[], object], field: Optional[str]
) -> None:
    with pytest.raises(InvalidHeader) as caught:
        build()
    assert caught.value.field == field


WRONG: Any = 5


@pytest.mark.parametrize(
    "build, argument",
    [
        (lambda: Action(WRONG), "name"), (lambda: Action("Ping", action_id=WRONG), "action_id"),
        (lambda: Action("Ping").with_action_id(WRONG), "action_id"),
        (lambda: Event("X").with_action_id(WRONG), "action_id"),
        (lambda: Response("Success").with_action_id(WRONG), "action_id"),
        (lambda: Response(WRONG), "name"),
        (lambda: Response("Success", output=[WRONG]), "output"),
        (lambda: Response("Follows", output=[WRONG]), "output"),
        (lambda: Banner(WRONG), "version"),
    ],
)  # fmt: skip
def test_argument_of_wrong_type(build: Callable[[], Any], argument: str) -> None:
    with pytest.raises(TypeError, match=argument):
        build()


@pytest.mark.parametrize(
    "headers", [5, {5: "x"}, {"X": 5}, {"X": None}, {"X": b"x"}, [("X",)], ["ab"]]
)
def test_headers_of_wrong_type(headers: Any) -> None:
    for build in (Headers, UnknownMessage, lambda headers: Action("Ping", headers)):
        with pytest.raises(TypeError, match="headers"):
            build(headers)


@pytest.mark.parametrize(
    "pairs, field",
    [
        ([("X", "a\rb")], "X"), ([("Y", "ok"), ("X", "a\nb")], "X"), ([("X", "a\0b")], "X"),
        ([("X\r", "a")], "X\r"), ([("X\n", "a")], "X\n"), ([("X\0", "a")], "X\0"),
        ([("X", "\r\n\r\nAction: Ping")], "X"), ([("", "a")], ""), ([("a:b", "c")], "a:b"),
        ([("a(b:c", "d")], "a(b:c"), ([("Y", "\udcff"), ("X", "\ud800")], "X"),
        ([("\udfff", "x")], "\udfff"),
    ],
)  # fmt: skip
def test_header_that_does_not_fit_into_a_line_is_rejected(pairs: Pairs, field: str) -> None:
    for build in (lambda: Action("X", pairs), lambda: Event("X", pairs)):
        with pytest.raises(InvalidHeader) as caught:
            build()
        error = caught.value
        assert error.field == field and error.limit is None and error.outcome == "not_sent"
        assert error.__cause__ is None and error.__context__ is None
        str(error).encode()  # the message can be written as UTF-8


# ---- limits of the server ----


@pytest.mark.parametrize("fill", ["x", "é"])
def test_line_limit(fill: str) -> None:
    room = 1022 - len("X: ")
    value = "y" * (room % len(fill.encode())) + fill * (room // len(fill.encode()))
    assert b"\r\nX: " + value.encode() + b"\r\n" in Action("Ping", {"X": value}).wire
    with pytest.raises(LineTooLong) as caught:
        Action("Ping", {"X": "y" + value})
    error = caught.value
    assert (error.field, error.limit, error.actual) == ("X", 1022, 1023)
    # The limit is the server's, and applies to actions only.
    assert len(Event("X", {"A": "y" * 5000}).wire) > 5000


@pytest.mark.parametrize("name, field", [("B", "B"), ("\udcff", "\ufffd")])
def test_error_names_the_first_long_line(name: str, field: str) -> None:
    with pytest.raises(LineTooLong) as caught:
        Action("Ping", [("A", "x"), (name, "y" * 2000), ("C", "z" * 3000)])
    assert (caught.value.field, caught.value.actual) == (field, 2003)


@pytest.mark.parametrize(
    "pairs",
    [
        {"x" * 5_000_000: "y"},
        {"x" * 5_000_000: "\n"},
        {"x:" * 5_000_000: "y"},
        {"x" * 5_000_000: 5},
        {"x" * 5_000_000: "\ud800"},
    ],
    ids=["line", "line end", "colon", "type", "surrogate"],
)
def test_errors_shorten_long_names(pairs: Any) -> None:
    with pytest.raises((LocalProtocolError, TypeError)) as caught:
        Action("Ping", pairs)
    assert len(str(caught.value)) < 300


def test_limit_of_lines() -> None:
    headers = [("X", str(number)) for number in range(127)]
    assert Action("Ping", headers).wire.count(b"\r\n") == 129
    (received,) = feed(opened(Role.SERVER), Action("Ping", headers).wire)
    full = Action("Ping", headers[1:], action_id="1").with_action_id("22")
    assert full.wire.count(b"\r\n") == 129 and full.action_id == "22"
    builders: List[Callable[[], object]] = [
        lambda: Action("Ping", headers, action_id="1"),
        lambda: Action("Ping", headers).with_action_id("1"),
        lambda: received.with_action_id("1"),
        lambda: Action("Ping", [*headers, ("X", "")]),
    ]
    for build in builders:
        with pytest.raises(TooManyLines) as caught:
            build()
        assert (caught.value.limit, caught.value.actual) == (128, 129)


def builders_with(action_id: str) -> List[Callable[[], Action]]:
    return [
        lambda: Action("Ping", action_id=action_id),
        lambda: Action("Ping", {"ActionId": action_id}),
        lambda: Action("Ping").with_action_id(action_id),
    ]


@pytest.mark.parametrize("longest", ["x" * 67, "é" * 33 + "x", "\udcff" * 67])
def test_limit_of_action_ids(longest: str) -> None:
    for build in builders_with(longest):
        assert build().action_id == longest
    for build in [*builders_with(longest + "x"), *builders_with("x" + longest)]:
        with pytest.raises(LineTooLong) as caught:
            build()
        error = caught.value
        assert (error.field, error.limit, error.actual) == ("ActionID", 67, 68)


@pytest.mark.parametrize("action_id", ["", " x", "\tx", "\x1fx", "a\r\nb", "a\0", "\ud800"])
def test_action_id_that_server_would_not_echo_is_rejected(action_id: str) -> None:
    builders: List[Callable[[], Message]] = [*builders_with(action_id)]
    if action_id[:1] > " ":  # a line of a server can have any other text
        builders += [
            lambda: Event("X").with_action_id(action_id),
            lambda: Response("Success").with_action_id(action_id),
        ]
    for build in builders:
        with pytest.raises(InvalidHeader) as caught:
            build()
        assert caught.value.field == "ActionID"


# ---- Response ----


def test_output_in_both_forms() -> None:
    lines = ["Asterisk 11.25.3", "", "  two", ""]
    new = Response("Success", {"Message": "Command output follows"}, action_id="1", output=lines)
    old = follows(*lines, action_id="1")
    assert new.output == old.output == tuple(lines)
    assert old.wire == (
        b"Response: Follows\r\nPrivilege: Command\r\nActionID: 1\r\n"
        b"Asterisk 11.25.3\n\n  two\n\n--END COMMAND--\r\n\r\n"
    )
    assert (new.name, new.message) == ("Success", "Command output follows")
    assert (old.name, old.message) == ("Follows", "")
    assert new.headers.get_all("output") == lines and old.headers.get_all("output") == []
    assert old.headers.keys() == ["Response", "Privilege", "ActionID"]


@pytest.mark.parametrize(
    "text, output, keys",
    [
        (b"", (), 2), (b"\n", ("",), 2), (b"a", ("a",), 2), (b"a\n", ("a",), 2),
        (b"a\r\n\r\nb\n", ("a\r", "\r", "b"), 2),
        (b"Privilege: Command\r\n", ("Privilege: Command\r",), 2), (b"ActionID: 1\r\n", (), 3),
        (b"actionid:1\r\nx\n", ("x",), 3), (b"ActionID: 1\nx\n", ("ActionID: 1", "x"), 2),
        (b"X: y\r\nActionID: 1\r\n", ("X: y\r", "ActionID: 1\r"), 2), (b"ActionID: x", (), 3),
        (b"\xff\n", ("\udcff",), 2),
    ],
)  # fmt: skip
def test_raw_output_starts_after_the_headers(text: bytes, output: object, keys: int) -> None:
    (response,) = feed(opened(Role.CLIENT, OLD_BANNER), FOLLOWS + text + END_COMMAND)
    assert type(response) is Response and response.output == output
    assert len(response.headers) == keys


# ---- Banner, InvalidAction ----


VERSIONS = {
    "1.3": 1, "5.0.4": 5, "11.0.0": 11, "22": 22, "": None, "x.1": None, "1x": None, "-1.2": None,
    "²": None, "99999.1": 99999, "100000.1": None,
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_banner(version: str) -> None:
    banner = Banner(version)
    assert (banner.version, banner.major) == (version, VERSIONS[version])
    assert banner.wire == f"Asterisk Call Manager/{version}\r\n".encode()
    assert banner.headers == Headers() and banner.action_id is None
    assert repr(banner) == f"<Banner {version}>"
    lf = Banner.from_wire(banner.wire.replace(b"\r", b""))
    assert banner == lf and hash(banner) == hash(lf) and banner != Banner(version + "0")


def test_limit_of_banner() -> None:
    longest = "x" * (256 - len("Asterisk Call Manager/\r"))
    assert received(Banner(longest)) == Banner(longest)
    with pytest.raises(InvalidHeader) as caught:
        Banner(longest + "x")
    error = caught.value
    assert (error.field, error.limit, error.actual) == ("version", 256, 257)


def test_invalid_action() -> None:
    message = InvalidAction(b"To: x\0y\r\n\r\n", LINE_TOO_LONG)
    assert message.reason == LINE_TOO_LONG and message.headers == Headers({"To": "x"})
    assert pickle.loads(pickle.dumps(message)).reason == LINE_TOO_LONG
    assert message.action_id is None and InvalidAction.from_wire(b"\r\n").reason == MISSING_ACTION
    for lines in (b"ActionID: \t7\r\nActionID: 8\r\n\r\n", b"X: y\nactionid:7\0z\n\n"):
        (message,) = feed(opened(Role.SERVER), lines)
        assert type(message) is InvalidAction and message.action_id == "7"
