"""The messages: their bytes, what is read out of them, and that they are values."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Callable, List, Optional

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
    Login,
    Message,
    MessageSend,
    Response,
    Role,
    TooManyLines,
    UnknownMessage,
)
from amiproto._text import to_bytes, to_text
from tests.strategies import (
    BANNER,
    END_COMMAND,
    FOLLOWS,
    OLD_BANNER,
    action_ids,
    ask,
    exactly,
    feed,
    line_text,
    messages,
    opened,
    raw_stanzas,
    streams,
)

malformed_messages = st.builds(
    InvalidAction, raw_stanzas.map(lambda data: data + b"\r\n"), st.just(LINE_TOO_LONG)
)
message_sends = st.builds(
    MessageSend, st.just("pjsip:a"), line_text.map(to_bytes), action_id=action_ids
)
all_messages = st.one_of(messages, malformed_messages, message_sends)


def received(message: Message) -> Message:
    """The message as the other end reads it."""
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


@given(messages)
def test_encode_then_decode_gives_the_message(message: Message) -> None:
    other = received(message)
    assert type(other) is type(message)
    assert other == message and message == other and hash(other) == hash(message)
    assert other.wire == message.wire
    assert other.headers == message.headers and other.action_id == message.action_id
    for attribute in ("name", "message", "output", "version", "major"):
        if hasattr(message, attribute):
            assert getattr(other, attribute) == getattr(message, attribute)


@given(message_sends)
def test_a_message_send_is_read_as_the_action_it_is(message: MessageSend) -> None:
    other = received(message)
    assert type(other) is Action and other.wire == message.wire
    assert other.headers == message.headers


@given(streams(), st.sampled_from([BANNER, OLD_BANNER]))
def test_decode_then_encode_gives_the_bytes(data: bytes, banner: bytes) -> None:
    client, server = opened(Role.CLIENT, banner), opened(Role.SERVER, banner)
    position = 0
    for message in feed(client, data):
        wire = server.send(message)
        assert wire == message.wire
        # In between there is nothing but surplus blank lines.
        found = data.index(wire, position)
        assert not data[position:found].strip(b"\r\n")
        position = found + len(wire)


@given(streams())
def test_a_server_reads_every_byte_into_some_action(data: bytes) -> None:
    position = 0
    for message in feed(opened(Role.SERVER), data):
        position = data.index(message.wire, position) + len(message.wire)
        if isinstance(message, Action):
            assert opened(Role.CLIENT).send(message) == message.wire


@given(all_messages, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_messages_are_picklable_copyable_hashable_values(message: Message, protocol: int) -> None:
    for other in (
        pickle.loads(pickle.dumps(message, protocol)),
        copy.copy(message),
        copy.deepcopy(message),
    ):
        assert exactly(other) == exactly(message)
        assert other == message and not other != message and hash(other) == hash(message)
        assert repr(other) == repr(message)
    assert {message: 1}[copy.copy(message)] == 1
    assert message != message.wire
    assert message != Event("Something", {"else": "entirely"})


@given(all_messages)
def test_messages_cannot_be_changed(message: Message) -> None:
    public = [name for name in dir(message) if not name.startswith("_")]
    for name in [*public, "something_new", "__dict__"]:
        with pytest.raises((AttributeError, TypeError)):
            setattr(message, name, "x")


@given(all_messages, st.sampled_from(["Secret", "key", "CHALLENGE"]))
def test_no_repr_shows_a_secret(message: Message, name: str) -> None:
    for kind in (Action, Response, Event):
        shown = repr(kind("x", [("A", "b"), (name, "S3CR3T")]))
        assert "S3CR3T" not in shown and "A: 'b'" in shown
    assert "S3CR3T" not in repr(UnknownMessage({name: "S3CR3T"}))
    (bad,) = feed(opened(Role.SERVER), f"{name}: S3CR3T\r\n\r\n".encode())
    assert isinstance(bad, InvalidAction) and "S3CR3T" not in repr(bad)
    shown = repr(message)
    assert "\n" not in shown and "\r" not in shown and len(shown) < 3000
    shown.encode()


@pytest.mark.parametrize("name", ["A", "a b", "X" * 80])
def test_a_repr_shows_names_and_values_as_they_are(name: str) -> None:
    event = Event("X", [(name, "b'"), ("C", "")])
    assert repr(event) == f"<Event Event: 'X', {name}: \"b'\", C: ''>"


def test_a_repr_cuts_what_is_long() -> None:
    whole, long = "x" * 80, "x" * 81
    assert repr(Event(whole)) == f"<Event Event: '{whole}'>"
    assert repr(Event(long)) == f"<Event Event: '{whole}...'>"
    assert repr(Event("X", {whole: "1"})) == f"<Event Event: 'X', {whole}: '1'>"
    assert repr(Event("X", {long: "1"})) == f"<Event Event: 'X', '{whole}...': '1'>"
    # What is not printable is shown escaped, however short it is.
    assert repr(Event("\t", {"\x07": "é"})) == "<Event Event: '\\t', '\\x07': 'é'>"


def test_a_repr_counts_the_lines_that_it_leaves_out() -> None:
    def shown(lines: int) -> str:
        return repr(Event("0", [("A", str(number)) for number in range(1, lines)]))

    forty = ", ".join(f"A: '{number}'" for number in range(1, 40))
    assert shown(40) == f"<Event Event: '0', {forty}>"
    assert shown(41) == f"<Event Event: '0', {forty}, and 1 more>"
    assert shown(100) == f"<Event Event: '0', {forty}, and 60 more>"


def test_other_messages_have_other_hashes() -> None:
    assert len({hash(Event(str(number))) for number in range(9)}) > 1
    wire = b"A: b\r\n\r\n"
    assert hash(Event.from_wire(wire)) != hash(UnknownMessage.from_wire(wire))


@given(st.one_of(messages, message_sends))
def test_the_action_id_is_the_header_of_that_name(message: Message) -> None:
    assert message.action_id == message.headers.get("ActionID")


@given(raw_stanzas.map(lambda data: data + b"\r\n\r\n"))
def test_the_action_id_of_a_servers_stanza_is_the_first(data: bytes) -> None:
    for message in feed(opened(Role.CLIENT), data):
        if message.wire.split(b"\n")[0].lower().startswith(b"actionid:"):
            assert isinstance(message, UnknownMessage)
        assert message.action_id == message.headers.get("ActionID")


@pytest.mark.parametrize(
    "wire, action_id",
    [
        (b"Event: X\r\nActionID: 7 \r\nA: b\r\n\r\n", "7 "),
        (b"Event: X\r\nActionID: 7\nx\r\n\r\n", "7\nx"),
        (b"Event: X\nActionID: 7\n\n", "7"),
        (b"Event: X\nActionID: 7\r\n\n", "7"),
        (b"Event: X\r\nactionid:7\r\n\r\n", "7"),
        (b"Event: X\r\nA: b\r\nActionID: 7\r\nActionID: 8\r\n\r\n", "7"),
        (b"Event: X\r\nActionID: \r\n\r\n", ""),
        (b"Event: X\r\nA: b\r\n\r\n", None),
        (b"ActionID: 7\r\nActionID: 8\r\n\r\n", "7"),
    ],
)
def test_where_a_server_writes_an_action_id(wire: bytes, action_id: Optional[str]) -> None:
    (message,) = feed(opened(Role.CLIENT), wire)
    assert message.action_id == action_id == message.headers.get("ActionID")


# ---- Action ----


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
    ],
)
def test_an_action_id_is_what_the_server_reads(wire: bytes, action_id: Optional[str]) -> None:
    (action,) = feed(opened(Role.SERVER), wire)
    assert type(action) is Action and action.action_id == action_id and action.name == "Ping"
    other = action.with_action_id("new")
    assert other.action_id == "new" and other.name == "Ping" and type(other) is Action
    assert other.headers.get_all("ActionID") == ["new"]


@given(st.builds(Action, st.just("Ping"), action_id=action_ids), action_ids)
def test_with_action_id_changes_nothing_else(action: Action, action_id: str) -> None:
    other = action.with_action_id(action_id)
    assert other.headers.items()[0] == ("Action", "Ping")
    assert other.action_id == to_text(to_bytes(action_id))
    assert other == Action("Ping", action_id=action_id)


def test_headers_keep_their_order_after_the_action_id() -> None:
    action = Action("Originate", [("Channel", "Local/1"), ("ActionID", "7"), ("Variable", "a=b")])
    assert action.wire == (
        b"Action: Originate\r\nActionID: 7\r\nChannel: Local/1\r\nVariable: a=b\r\n\r\n"
    )
    assert action == Action("Originate", {"Channel": "Local/1", "Variable": "a=b"}, action_id="7")
    assert action == Action("Originate", Headers(action.headers.items()[2:]), action_id="7")


@pytest.mark.parametrize(
    "build, field",
    [
        (lambda: Action("", {"X": "y"}), "Action"),
        (lambda: Action(" \t\x01"), "Action"),
        (lambda: Action("Ping", {"ACTION": "x"}), "Action"),
        (lambda: Response("Success", {"response": "x"}), "Response"),
        (lambda: Event("X", {"event": "x"}), "Event"),
        (lambda: Action("Ping", {"ActionID": "1"}, action_id="2"), "ActionID"),
        (lambda: Event("X", [("ActionID", "1"), ("actionid", "2")]), "ActionID"),
        (lambda: UnknownMessage([]), None),
        (lambda: UnknownMessage({"Event": "x"}), "Event"),
        (lambda: UnknownMessage({"RESPONSE": "x"}), "RESPONSE"),
        (lambda: UnknownMessage({"action": "x"}), "action"),
        (lambda: Response("Follows"), "Response"),
        (lambda: Response("Follows", {"Privilege": "Other"}), "Response"),
        (lambda: Response("Follows", {"Privilege": "Command", "Message": "x"}), "Response"),
        (lambda: Response("Follows", {"Privilege": "Command"}, output=["a\nb"]), "output"),
        (lambda: Response("Follows", {"Privilege": "Command"}, output=["\ud800"]), "output"),
        (
            lambda: Response("Follows", {"Privilege": "Command"}, output=["ActionID: 1\r"]),
            "Response",
        ),
        (
            lambda: Response(
                "Follows", {"Privilege": "Command"}, output=["--END COMMAND--\r", "\r"]
            ),
            "output",
        ),
        (
            lambda: Response(
                "Follows", {"Privilege": "Command"}, action_id="--END COMMAND--", output=["\r"]
            ),
            "output",
        ),
        (lambda: Response("Success", output=["a\rb"]), "Output"),
        (lambda: Banner("1/2"), "version"),
        (lambda: Banner("1.3\r\n"), "version"),
        (lambda: Banner("\ud800"), "version"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(
    build: Callable[[], object], field: Optional[str]
) -> None:
    with pytest.raises(InvalidHeader) as caught:
        build()
    assert caught.value.field == field


def test_a_refused_header_says_what_to_do() -> None:
    for build, sentence in (
        (lambda: Action("Ping", {"Action": "Pong"}), "give Action as the name, not among"),
        (lambda: Event("X", {"ActionID": "1"}, action_id="2"), "give one ActionID: two were given"),
    ):
        with pytest.raises(InvalidHeader, match=f"^{sentence}"):
            build()


WRONG: Any = 5


@pytest.mark.parametrize(
    "build, argument",
    [
        (lambda: Action(WRONG), "name is a str, not int"),
        (lambda: Action("Ping", WRONG), "headers takes a mapping or pairs, not int"),
        (lambda: Action("Ping", {WRONG: "x"}), "a name in headers is a str, not int"),
        (lambda: Action("Ping", {"X": WRONG}), "the value of 'X' in headers is a str, not int"),
        (lambda: Action("Ping", action_id=WRONG), "action_id is a str, not int"),
        (lambda: Action("Ping").with_action_id(WRONG), "action_id is a str, not int"),
        (lambda: Response(WRONG), "name is a str, not int"),
        (lambda: Response("Success", output=[WRONG]), "a line of output is a str, not int"),
        (lambda: Response("Follows", output=[WRONG]), "a line of output is a str, not int"),
        (lambda: UnknownMessage([("X", WRONG)]), "the value of 'X' in headers is a str, not int"),
        (lambda: UnknownMessage(WRONG), "headers takes a mapping or pairs, not int"),
        (lambda: Banner(WRONG), "version is a str, not int"),
        (lambda: Login(WRONG, "geheim"), "username is a str, not int"),
        (lambda: Login("joe", WRONG), "secret is a str or bytes, not int"),
        (lambda: Login("joe", "geheim", mechanism=WRONG), "mechanism is a str, not int"),
        (lambda: Login("joe", "geheim", events=WRONG), "events is a str, not int"),
    ],
)
def test_wrong_types_are_type_errors(build: Callable[[], object], argument: str) -> None:
    with pytest.raises(TypeError, match=f"^{argument}$"):
        build()


# ---- Response ----


def test_one_api_gives_the_output_of_both_styles() -> None:
    lines = ["Asterisk 11.25.3", "", "  two", ""]
    new = Response("Success", {"Message": "Command output follows"}, action_id="1", output=lines)
    old = Response("Follows", {"Privilege": "Command"}, action_id="1", output=lines)
    assert new.output == old.output == tuple(lines)
    assert old.wire == (
        b"Response: Follows\r\nPrivilege: Command\r\nActionID: 1\r\n"
        b"Asterisk 11.25.3\n\n  two\n\n--END COMMAND--\r\n\r\n"
    )
    assert (new.name, old.name, new.message, old.message) == (
        "Success", "Follows", "Command output follows", ""
    )  # fmt: skip
    assert new.headers.get_all("output") == lines and old.headers.get_all("output") == []
    assert old.headers.keys() == ["Response", "Privilege", "ActionID"]


@pytest.mark.parametrize(
    "text, output, keys",
    [
        (b"", (), 2),
        (b"\n", ("",), 2),
        (b"a", ("a",), 2),
        (b"a\n", ("a",), 2),
        (b"a\r\n\r\nb\n", ("a\r", "\r", "b"), 2),
        (b"Privilege: Command\r\n", ("Privilege: Command\r",), 2),
        (b"ActionID: 1\r\n", (), 3),
        (b"actionid:1\r\nx\n", ("x",), 3),
        (b"ActionID: 1\nx\n", ("ActionID: 1", "x"), 2),
        (b"X: y\r\nActionID: 1\r\n", ("X: y\r", "ActionID: 1\r"), 2),
        (b"ActionID: x", (), 3),
        (b"\xff\n", ("\udcff",), 2),
    ],
)
def test_raw_text_starts_after_the_headers_asterisk_11_wrote(
    text: bytes, output: object, keys: int
) -> None:
    (response,) = feed(opened(Role.CLIENT, OLD_BANNER), FOLLOWS + text + END_COMMAND)
    assert type(response) is Response and response.output == output
    assert len(response.headers) == keys


def test_from_ami_3_on_follows_is_a_stanza_like_any_other() -> None:
    response, orphan = feed(opened(Role.CLIENT), FOLLOWS + b"a\r\n\r\nb--END COMMAND--\r\n\r\n")
    assert response.output == () and response.headers.keys() == ["Response", "Privilege", ""]
    assert type(orphan) is UnknownMessage


def test_line_ends_do_not_make_messages_unequal() -> None:
    (lf,) = feed(opened(Role.CLIENT), b"Event: X\nA:b\n\n")
    assert lf == Event("X", {"A": "b"}) and hash(lf) == hash(Event("X", {"A": "b"}))
    assert lf.wire != Event("X", {"A": "b"}).wire
    assert lf != Event("X", {"a": "b"}) and lf != UnknownMessage({"A": "b"})
    (lf,) = feed(opened(Role.CLIENT), b"Response: Success\nOutput: b\n\n")
    assert lf == Response("Success", output=["b"]) != Response("Success", output=["c"])
    with_id = Response("Follows", {"Privilege": "Command"}, action_id="7", output=["a"])
    assert with_id.wire == FOLLOWS + b"ActionID: 7\r\na\n" + END_COMMAND
    unended = Response.from_wire(FOLLOWS + b"a" + END_COMMAND)
    assert unended == Response("Follows", {"Privilege": "Command"}, output=["a"])
    assert unended != Response("Follows", {"Privilege": "Command"}, output=["b"])


@pytest.mark.parametrize(
    "wire, keys",
    [
        (b"Event: X\r\nA: 1\nB: 2\rC\r\n\r\n", ["Event", "A"]),
        (b"Event: X\nA: 1\r\nB: 2\r\n\n", ["Event", "A", "B"]),
        (b"Event: X\nA: 1\r\nB: 2\r\n\r\n", ["Event", "A", "B"]),
        (b"Event: X\r\n\nB: 2\n\nC: 3\r\n\r\n", ["Event", "\nB"]),
        (b"Event: X\r\nno colon\r\n\r\n", ["Event", ""]),
    ],
)
def test_the_first_line_end_says_which_kind_the_stanza_has(wire: bytes, keys: List[str]) -> None:
    (event,) = feed(opened(Role.CLIENT), wire)
    assert type(event) is Event and event.headers.keys() == keys and event.wire == wire


# ---- Banner, InvalidAction ----


@pytest.mark.parametrize(
    "version, major",
    [("1.3", 1), ("5.0.4", 5), ("11.0.0", 11), ("22", 22), ("", None), ("x.1", None),
     ("1x", None), ("-1.2", None), ("²", None), ("99999.1", 99999), ("100000.1", None)],
)  # fmt: skip
def test_a_banner_tells_the_version_of_ami(version: str, major: Optional[int]) -> None:
    banner = Banner(version)
    assert (banner.version, banner.major) == (version, major)
    assert banner.wire == f"Asterisk Call Manager/{version}\r\n".encode()
    assert banner.headers == Headers() and banner.action_id is None
    assert repr(banner) == f"<Banner {version}>"
    lf = Banner.from_wire(banner.wire.replace(b"\r", b""))
    assert banner == lf and hash(banner) == hash(lf) and banner != Banner(version + "0")


def test_a_banner_no_client_reads_is_refused() -> None:
    fits = "x" * (256 - len("Asterisk Call Manager/\r"))
    assert received(Banner(fits)) == Banner(fits)
    with pytest.raises(InvalidHeader) as caught:
        Banner(fits + "x")
    error = caught.value
    assert (error.field, error.limit, error.actual) == ("version", 256, 257)


def test_a_malformed_message_keeps_what_could_be_read() -> None:
    message = InvalidAction(b"To: x\0y\r\n\r\n", LINE_TOO_LONG)
    assert message.reason == LINE_TOO_LONG and message.headers == Headers({"To": "x"})
    assert pickle.loads(pickle.dumps(message)).reason == LINE_TOO_LONG
    assert message.action_id is None and InvalidAction.from_wire(b"\r\n").reason == MISSING_ACTION
    for lines in (b"ActionID: \t7\r\nActionID: 8\r\n\r\n", b"X: y\nactionid:7\0z\n\n"):
        (message,) = feed(opened(Role.SERVER), lines)
        assert type(message) is InvalidAction and message.action_id == "7"


def test_from_wire_takes_bytes_as_if_received() -> None:
    event = Event.from_wire(b"Event: X\r\nA: b\r\n\r\n")
    assert event == Event("X", {"A": "b"}) and event.name == "X"
    with pytest.raises(AttributeError):
        event.name = "Y"  # type: ignore[misc]


def test_limits_hold_under_another_action_id() -> None:
    lines = b"".join(b"X: %d\r\n" % number for number in range(127))
    (action,) = feed(opened(Role.SERVER), b"Action: Ping\r\n" + lines + b"\r\n")
    with pytest.raises(TooManyLines):
        action.with_action_id("1")
    (action,) = feed(opened(Role.SERVER), b"Action: Ping\r\nX: ".ljust(1037, b"y") + b"\n\n")
    with pytest.raises(LineTooLong):
        action.with_action_id("1")
    (action,) = feed(opened(Role.SERVER), b"Action: Ping\r\nno colon\r\n\r\n")
    with pytest.raises(InvalidHeader):
        action.with_action_id("1")


def test_equal_is_asked_only_of_messages() -> None:
    anything: Any = "x"
    assert Event("X") != anything and Banner("1") != anything
