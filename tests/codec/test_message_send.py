"""MessageSend: exact or rejected, and read back as the server reads it."""

from __future__ import annotations

import base64
import pickle
import time
from typing import Any, Dict, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import (
    Action,
    BodyTooLong,
    Headers,
    InvalidBody,
    InvalidHeader,
    InvalidVariable,
    LineTooLong,
    LocalProtocolError,
    MessageSend,
    Role,
    TooManyLines,
    parse_message_send,
)
from amiproto._text import to_bytes
from amiproto.messaging.message import decode_base64
from tests.fuzzing.messages import check_exact, exact_or_rejected, on_the_server
from tests.refusals import AMI, REFUSALS, Refusal, name_of, pairs_of
from tests.strategies import any_text, feed, line_text, opened

ADDRESSES = {
    "other": ("other:alice", "anybody"),
    "pjsip": ("pjsip:alice", "sip:door@example.org"),
    "sip": ("sip:alice", "Door <sip:door@example.org>"),
    "xmpp": ("xmpp:alice@example.org", "xmpp:asterisk"),
}
technologies = st.sampled_from(sorted(ADDRESSES))

# Sizes at each limit, of texts that are sent as Body and as Base64Body.
_sizes = st.sampled_from([0, 1, 756, 757, 758, 1015, 1016, 1017, 2000])
_texts = st.one_of(
    any_text,
    st.builds(lambda size, front: front.ljust(size, "x"), _sizes, st.sampled_from(["", " ", "\n"])),
    st.builds(lambda size, last: "x" * (size - 1) + last, _sizes, st.sampled_from("x\n\ré")),
)
bodies = st.one_of(_texts, _texts.map(lambda t: t.encode("utf-8", "surrogatepass")), st.binary())

_names = st.one_of(
    st.sampled_from(["X-A", "x-a", "X-B", "Subject", "Content-Type", "To", "Max-Forwards", "A=B",
                     "", " X", "Übung", "a b", "a:b", "a(b", 'q"', "\ud800", "\udcff", "tab\t"]),
    any_text,
    st.text("ABCabc-", min_size=1, max_size=6),
)  # fmt: skip
_values = st.one_of(st.just(""), st.text('\\",()[] =ab', max_size=12), any_text, line_text)
variables = st.lists(st.tuples(_names, _values), max_size=5)
_safe_variables = st.lists(
    st.tuples(
        st.text("ABCdef-", min_size=1, max_size=6),
        line_text.filter(lambda text: text and not any("\ud800" <= c <= "\udfff" for c in text)),
    ),
    max_size=4,
    unique_by=lambda pair: pair[0].lower(),
)
_addresses = st.one_of(
    st.sampled_from([address for pair in ADDRESSES.values() for address in pair]),
    any_text,
    any_text.map(lambda text: "pjsip:" + text),
    any_text.map(lambda text: "sip:" + text),
    any_text.map(lambda text: f"{text} <sip:a@b>"),
)
_maybe = st.one_of(st.none(), _addresses)


# ---- the lines


def test_minimal_message() -> None:
    assert MessageSend("pjsip:alice", "", action_id="1").wire == (
        b"Action: MessageSend\r\nActionID: 1\r\nTo: pjsip:alice\r\nBody: \r\n\r\n"
    )


def test_variable_names_are_compared_in_lower_case() -> None:
    MessageSend("other:alice", "x", variables=[("ss", "1"), ("ß", "2")])  # equal in upper case
    with pytest.raises(InvalidVariable) as caught:
        MessageSend("other:alice", "x", variables=[("ss", "1"), ("sS", "2")])
    assert caught.value.field == "sS"


# ---- exact or rejected


@given(_addresses, bodies, _maybe, variables, _maybe, st.one_of(st.none(), any_text))
def test_any_arguments_are_exact_or_rejected(
    to: str,
    body: Any,
    from_: Optional[str],
    pairs: List[Tuple[str, str]],
    destination: Optional[str],
    action_id: Optional[str],
) -> None:
    try:
        exact_or_rejected(to, body, from_, pairs, destination, action_id)
    except LocalProtocolError:
        pass


@given(technologies, bodies)
def test_any_body_is_exact_or_rejected(technology: str, body: Any) -> None:
    to, from_ = ADDRESSES[technology]
    data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    plain = not data or data[0] > 0x20 and not set(b"\r\n") & set(data)
    try:
        message = MessageSend(to, body, from_)
    except BodyTooLong as error:
        assert error.limit == (1016 if plain else 757) < len(data) == error.actual
        assert error.field == "Body"
        return
    except InvalidBody as error:
        assert error.field == "Body"
        surrogate = isinstance(body, str) and any("\ud800" <= char <= "\udfff" for char in body)
        assert b"\0" in data or surrogate or technology == "xmpp"
        return
    assert message.body == data and len(data) <= (1016 if plain else 757)
    header = b"\r\nBody: " if plain else b"\r\nBase64Body: "
    assert header in message.wire
    check_exact(message)


@given(st.sampled_from(["other", "pjsip", "sip"]), _safe_variables)
def test_valid_variables_are_exact(technology: str, pairs: List[Tuple[str, str]]) -> None:
    to, from_ = ADDRESSES[technology]
    pairs = [("X-" + name, value) for name, value in pairs]
    message = MessageSend(to, "x", from_, pairs)
    assert message.variables == tuple(pairs) == MessageSend(to, "x", from_, dict(pairs)).variables
    assert message.variables == MessageSend(to, "x", from_, Headers(pairs)).variables
    assert message.wire.count(b"\r\nVariable: ") == len(pairs)
    check_exact(message)


@given(variables)
def test_any_variables_are_exact_or_rejected(pairs: List[Tuple[str, str]]) -> None:
    for technology in ("other", "pjsip", "sip"):
        to, from_ = ADDRESSES[technology]
        try:
            message = MessageSend(to, "x", from_, pairs)
        except (InvalidVariable, LineTooLong) as error:
            assert error.field is not None and str(error)
            continue
        assert message.variables == tuple(pairs)
        check_exact(message)


# ---- the limits


@pytest.mark.parametrize(
    "body, header",
    [
        ("é" * 508, "Body"), ("\n" * 755, "Base64Body"), ("\n" * 756, "Base64Body"),
        ("\n" * 757, "Base64Body"), (bytearray(b"abc"), "Body"), (memoryview(b"abc"), "Body"),
    ],
)  # fmt: skip
def test_body_that_fits(body: Any, header: str) -> None:
    message = MessageSend("pjsip:alice", body)
    data = body.encode() if isinstance(body, str) else bytes(body)
    # The padding of the longest body does not fit, and is not needed.
    value = data if header == "Body" else base64.b64encode(data)[:1010]
    assert f"\r\n{header}: ".encode() + value + b"\r\n\r\n" in message.wire
    check_exact(message)


def test_action_id_always_fits() -> None:
    pairs = [(f"X-{number}", "y") for number in range(124)]
    for action_id in (None, "1"):
        message = MessageSend("pjsip:alice", "x", None, pairs, action_id=action_id)
        check_exact(message)
        message = message.with_action_id("2")
        assert message.wire.count(b"\r\n") - 1 == 128
        check_exact(message)


def test_variables_share_lines_if_there_are_too_many() -> None:
    for count in (125, 126, 1000, 4000):
        pairs = [(f"X-{number}", 'v,"(') for number in range(count)]
        message = MessageSend("pjsip:alice", "x", "sip:d@e", pairs, "pjsip:alice")
        assert message.variables == tuple(pairs)
        check_exact(message.with_action_id("1"))
        assert message.wire.count(b"\r\nVariable: ") < 124
        for line in message.wire.split(b"\r\n"):
            assert line.count(b"X-") <= 63


def test_largest_sip_messages() -> None:
    few = {f"X-{number}": "y" for number in range(53)}
    # A Content-Type replaces chan_sip's own.
    for variables in (few, {**few, "Content-Type": "a/b"}):
        check_exact(MessageSend("sip:alice", "x", "Door", variables))
    long = {f"X-{number}": "v" * 1000 for number in range(100, 163)}
    check_exact(MessageSend("pjsip:alice", "x" * 859, variables=long))
    check_exact(MessageSend("other:alice", "x" * 1000, variables=long))
    for technology, count in (("pjsip", 50), ("sip", 50), ("other", 123)):
        to, from_ = ADDRESSES[technology]
        pairs = {f"X-{number}": "y" * 900 for number in range(count)}
        check_exact(MessageSend(to, "x", from_, pairs, action_id="1"))
    # The backslashes of AMI are not part of the datagram.
    check_exact(MessageSend("pjsip:alice", "", None, {f"X-{n}": "," * 500 for n in range(100)}))


@pytest.mark.parametrize("char, size", [("y", 1), ("é", 2), ("\\", 2), (",", 2)])
def test_escaped_variable_fits_its_line(char: str, size: int) -> None:
    room = 1022 - len("Variable: X-A=")
    value = "z" * (room % size) + char * (room // size)
    check_exact(MessageSend("pjsip:alice", "x", None, {"X-A": value}))
    with pytest.raises(LineTooLong) as caught:
        MessageSend("pjsip:alice", "x", None, {"X-A": "z" + value})
    error = caught.value
    assert (error.field, error.limit, error.actual) == ("X-A", 1022, 1023)


@pytest.mark.parametrize("argument", ["to", "from_", "destination"])
def test_address_fits_its_line(argument: str) -> None:
    field = argument.rstrip("_").capitalize()
    fits = "other:".ljust(1022 - len(field) - 2, "x")
    arguments: Dict[str, Any] = {"to": "other:x", "body": "", argument: fits}
    check_exact(MessageSend(**arguments))
    with pytest.raises(LineTooLong) as caught:
        MessageSend(**{**arguments, argument: fits + "x"})
    error = caught.value
    assert (error.field, error.limit, error.actual) == (field, 1022, 1023)


# ---- unusual but valid arguments


@pytest.mark.parametrize("body", ["<&>\"' \t\n\u0085 日本 👍 \x7f", "\ufffd", "\U0010ffff"])
def test_body_of_valid_xml_characters(body: str) -> None:
    for technology in ("pjsip", "xmpp"):
        to, from_ = ADDRESSES[technology]
        check_exact(MessageSend(to, body, from_))


@pytest.mark.parametrize(
    "name, value",
    [
        ("X-A.!%*_+`'~", "x"), ("Content-Type", "text/html"),
        ("Subject", '=?utf-8?Q?=C3=A9?= \\,"()[]'),
    ],
)  # fmt: skip
def test_variable_for_every_sip_technology(name: str, value: str) -> None:
    for technology in AMI:
        to, from_ = ADDRESSES[technology]
        check_exact(MessageSend(to, "x", from_, {name: value}))


#: Bodies and variables that some technologies reject and this one does not.
ELSEWHERE = [(row, technology) for row in REFUSALS
             if row.error in (InvalidBody, InvalidVariable) and row.limit is None
             for technology in AMI if technology not in row.technologies]  # fmt: skip


@pytest.mark.parametrize("row, technology", ELSEWHERE, ids=name_of)
def test_other_technologies_send_it_exactly(row: Refusal, technology: str) -> None:
    asked = row.asked(technology)
    message = MessageSend(**asked)
    text = asked["body"]
    assert message.body == (text if isinstance(text, bytes) else text.encode())
    assert message.variables == tuple(pairs_of(asked))
    check_exact(message)


def test_xmpp_with_empty_variables() -> None:
    to, from_ = ADDRESSES["xmpp"]
    none: List[Any] = [None, {}, [], iter(()), Headers()]
    for empty in none:
        assert MessageSend(to, "x", from_, empty).variables == ()


@pytest.mark.parametrize(
    "value", ["other:\u00a0x", "other:x ", "o:日本", "other:\u2028", "o:other"]
)
def test_unusual_address_of_another_technology(value: str) -> None:
    check_exact(MessageSend(value, "x", value, destination=value))


@pytest.mark.parametrize(
    "arguments, actual",
    [
        ({"to": None}, "NoneType"), ({"to": b"other:x"}, "bytes"), ({"body": None}, "NoneType"),
        ({"body": ["x"]}, "list"), ({"from_": 5}, "int"), ({"destination": b"x"}, "bytes"),
        ({"action_id": 5}, "int"), ({"variables": 5}, "int"), ({"variables": ["ab", "xy"]}, "str"),
        ({"variables": "ab"}, "str"), ({"variables": {"X": 5}}, "int"),
        ({"variables": [("X", None)]}, "NoneType"), ({"variables": {b"X": "x"}}, "bytes"),
        ({"variables": [("X", "1", "2")]}, "tuple"),
    ],
)  # fmt: skip
def test_type_error_names_the_argument_and_the_type(arguments: Dict[str, Any], actual: str) -> None:
    with pytest.raises(TypeError) as caught:
        MessageSend(**{"to": "other:x", "body": "", **arguments})
    (argument,) = arguments
    assert argument in str(caught.value) and actual in str(caught.value)


# ---- values


@given(_safe_variables, line_text, st.booleans())
def test_message_is_a_value(pairs: List[Tuple[str, str]], text: str, received: bool) -> None:
    pairs = [("X-" + name, value) for name, value in pairs]
    message = MessageSend("sip:alice", to_bytes("x" + text), None, pairs, action_id="7")
    if received:
        message = on_the_server(message)
    other = pickle.loads(pickle.dumps(message))
    assert other == message and other.variables == message.variables
    assert message.with_action_id("7") == message
    other = message.with_action_id("8")
    assert other != message and other.action_id == "8" and type(other) is MessageSend
    assert other.with_action_id("7") == message
    assert message != Action.from_wire(message.wire)
    assert message != MessageSend("other:else", "x")


def test_repr_hides_the_body_and_the_values() -> None:
    message = MessageSend("pjsip:alice", "S3CR3T", "sip:a@b", {"X-A": "S3CR3T"}, action_id="7")
    for shown in ("pjsip:alice", "sip:a@b", "6 bytes", "X-A"):
        assert shown in repr(message) and shown in repr(message.fields)
    assert "S3CR3T" not in repr(message) + repr(message.fields) and "'7'" in repr(message)


def test_technology_is_the_prefix_of_the_target() -> None:
    assert MessageSend("pjsip:alice", "").technology == "pjsip"
    assert MessageSend("other:x", "", destination="Another:y").technology == "another"
    assert parsed(b"To: PJSIP:alice").technology == "pjsip"


# ---- as the server understands it


def parsed(lines: bytes) -> MessageSend:
    ended = lines + b"\r\n" if lines else b""
    (action,) = feed(opened(Role.SERVER), b"Action: MessageSend\r\n" + ended + b"\r\n")
    assert isinstance(action, Action)
    return parse_message_send(action)


@pytest.mark.parametrize(
    "lines, expected",
    [
        (b"To: a\r\nTo: b", {"to": "a"}), (b"TO:  \t a ", {"to": "a "}),
        (b"To:\r\nTo: b", {"to": ""}),
        (b"From:\r\nDestination:", {"from_": None, "destination": None, "to": ""}),
        (b"From: f\r\nDestination: d", {"from_": "f", "destination": "d"}),
        (b"Body: \x01 x ", {"body": b"x "}), (b"Body: a\0b", {"body": b"a"}),
        (b"Body: a\r\nBase64Body: Yg==", {"body": b"b"}),
        (b"Body: a\r\nBase64Body: ", {"body": b"a"}), (b"Body: a\r\nBase64Body: =", {"body": b""}),
        (b"To: \xff", {"to": "\udcff"}), (b"Variable: a=b", {"variables": (("a", "b"),)}),
        (b"variable:a=b,c=d", {"variables": (("a", "b"), ("c", "d"))}),
        (b"Variable: a=b\r\nVariable: A=c", {"variables": (("a", "c"),)}),
        (b"Variable: a=b,c=d\r\nVariable: A=", {"variables": (("c", "d"),)}),
        (b"Variable: A=", {"variables": ()}),
        (b"Variable: a=1,b=2,a=3", {"variables": (("a", "3"), ("b", "2"))}),
        (b"Variable: =x,y,z=\\,", {"variables": (("z", ","),)}),
        (b"Variable : a=b", {"variables": ()}),
        (b"", {"to": "", "body": b"", "text": "", "variables": (), "technology": ""}),
    ],
)  # fmt: skip
def test_message_is_read_as_the_server_reads_it(lines: bytes, expected: Dict[str, object]) -> None:
    message = parsed(lines)
    assert {name: getattr(message, name) for name in expected} == expected


@pytest.mark.parametrize(
    "data, text",
    [
        (b"", b""), (b"YWJj", b"abc"), (b"YWI=", b"ab"), (b"YWI", b"ab"), (b"Y", b""),
        (b"YW", b"a"), (b"YWJjZ", b"abc"), (b"YQ==YQ==", b"a"), (b"YQBi", b"a"),
        (b"////", b"\xff\xff\xff"), (b"!!!!", b"\xff\xff\xff"), (b"YW!j", b"ao\xe3"),
        (b"YW/j", b"ao\xe3"),
    ],
)  # fmt: skip
def test_base64_is_decoded_leniently(data: bytes, text: bytes) -> None:
    assert decode_base64(data) == text


@given(st.binary(max_size=50))
def test_any_base64_is_decoded(data: bytes) -> None:
    assert b"\0" not in decode_base64(data)
    assert decode_base64(base64.b64encode(data)) == data.split(b"\0")[0]


@given(st.lists(st.tuples(st.sampled_from(
    ["To", "FROM", "Body", "Base64Body", "Variable", "Destination", "ActionID", "X"]
), st.binary(max_size=20)), max_size=8))  # fmt: skip
def test_any_action_of_that_name_is_read(lines: List[Tuple[str, bytes]]) -> None:
    data = b"Action: MessageSend\r\n" + b"".join(
        name.encode() + b": " + value.replace(b"\n", b"") + b"\r\n" for name, value in lines
    )
    for action in feed(opened(Role.SERVER), data + b"\r\n"):
        if type(action) is not Action:
            continue
        message = parse_message_send(action)
        assert message.wire == action.wire and message.headers == action.headers
        assert parse_message_send(message) == message == MessageSend.from_wire(message.wire)
        assert pickle.loads(pickle.dumps(message)) == message
        repr(message), hash(message)
        try:
            other = message.with_action_id("new")
        except InvalidHeader:
            continue  # a line without a header name cannot be written again
        assert other.action_id == "new" and parse_message_send(other) == other
        assert (other.to, other.body, other.variables) == (
            message.to, message.body, message.variables
        )  # fmt: skip


@pytest.mark.parametrize(
    "wire",
    [
        b"Action: MessageSend\nTo: other:x\nActionID: old\nBody: b\n\n",
        b"action: MessageSend\r\nActionID: old\r\nTo: other:x\r\nBody: b\r\n\r\n",
        b"ActionID: old\r\nAction: MessageSend\r\nTo: other:x\r\nBody: b\r\n\r\n",
        b"Action: MessageSend\r\nTo: other:x\r\nactionid:old\nBody: b\r\n\r\n",
    ],
)  # fmt: skip
def test_received_message_with_another_action_id(wire: bytes) -> None:
    (action,) = feed(opened(Role.SERVER), wire)
    message = parse_message_send(action).with_action_id("new")
    (action,) = feed(opened(Role.SERVER), message.wire)
    for other in (message, parse_message_send(action)):
        assert (other.to, other.body, other.action_id) == ("other:x", b"b", "new")


def test_no_action_id_fits_into_128_lines() -> None:
    message = parsed(b"To: other:x\r\n" + b"\r\n".join([b"X: y"] * 126))
    with pytest.raises(TooManyLines):
        message.with_action_id("1")


def test_thousands_of_variables_are_read_in_linear_time() -> None:
    line = b"Variable: " + b",".join(b"%d=x" % number for number in range(100, 163))
    started = time.perf_counter()
    message = parsed(b"\r\n".join(line.replace(b"=", b"-%d=" % n) for n in range(126)))
    assert len(message.variables) == 126 * 63
    assert time.perf_counter() - started < 10
