"""What may leave, and what is refused before it does."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amiproto import (
    Action,
    Banner,
    Event,
    InvalidHeader,
    LineTooLong,
    LocalProtocolError,
    Message,
    Response,
    TooManyLines,
    UnknownMessage,
)
from amiproto.messages import encode_action, encode_stanza
from tests.strategies import any_pairs, any_text, messages, output_lines

Pairs = List[Tuple[str, str]]


def terminators(message: Message) -> int:
    """How often a reader of this kind of message would find its end."""
    wire = message.wire
    if isinstance(message, Banner):
        return wire.count(b"\n")
    if wire.startswith(b"Response: Follows\r\nPrivilege: Command\r\n"):
        return wire.count(b"--END COMMAND--\r\n\r\n")
    assert wire.replace(b"\r\n", b"").count(b"\n") == wire.replace(b"\r\n", b"").count(b"\r") == 0
    return wire.count(b"\r\n\r\n") + wire.startswith(b"\r\n")


@given(messages)
def test_what_is_encoded_has_one_terminator_and_it_is_the_end(message: Message) -> None:
    assert terminators(message) == 1
    end = b"\r\n" if isinstance(message, Banner) else b"\r\n\r\n"
    assert message.wire.endswith(end)


@given(
    st.sampled_from([Action, Event, Response]),
    any_text,
    any_pairs,
    st.one_of(st.none(), any_text),
)
def test_any_text_is_carried_exactly_or_refused(
    kind: Any, name: str, pairs: Pairs, action_id: Optional[str]
) -> None:
    try:
        message = kind(name, pairs, action_id=action_id)
    except LocalProtocolError as error:
        assert error.outcome == "not_sent" and str(error)
        return
    assert terminators(message) == 1
    given_id = action_id
    rest = []
    for key, value in pairs:
        if key.lower() == "actionid":
            given_id = value
        else:
            rest.append((key, value))
    lines = [(kind.__name__, name)] + ([] if given_id is None else [("ActionID", given_id)]) + rest
    if name == "Follows" and kind is Response:
        lines = [lines[0], *rest, *([("ActionID", given_id)] if given_id is not None else [])]
    assert message.wire.startswith(
        "".join(f"{key}: {value}\r\n" for key, value in lines).encode("utf-8", "surrogateescape")
    )


@given(st.lists(st.one_of(any_text, output_lines), max_size=4), st.one_of(st.none(), any_text))
def test_any_output_is_carried_exactly_or_refused(
    lines: List[str], action_id: Optional[str]
) -> None:
    for name in ("Success", "Follows"):
        try:
            response = Response(name, {"Privilege": "Command"}, action_id=action_id, output=lines)
        except LocalProtocolError:
            continue
        assert terminators(response) == 1
        assert [line.encode("utf-8", "surrogateescape") for line in response.output] == [
            line.encode("utf-8", "surrogateescape") for line in lines
        ]


@given(any_pairs)
def test_an_orphan_is_carried_exactly_or_refused(pairs: Pairs) -> None:
    try:
        orphan = UnknownMessage(pairs)
    except LocalProtocolError:
        return
    assert terminators(orphan) == 1
    assert len(orphan.headers) == len(pairs)


@pytest.mark.parametrize(
    "pairs, field",
    [
        ([("X", "a\rb")], "X"),
        ([("Y", "ok"), ("X", "a\nb")], "X"),
        ([("X", "a\0b")], "X"),
        ([("X\r", "a")], "X\r"),
        ([("X\n", "a")], "X\n"),
        ([("X\0", "a")], "X\0"),
        ([("X", "\r\n\r\nAction: Ping")], "X"),
        ([("", "a")], ""),
        ([("a:b", "c")], "a:b"),
        ([("a(b:c", "d")], "a(b:c"),
        ([("Y", "\udcff"), ("X", "\ud800")], "X"),
        ([("\udfff", "x")], "\udfff"),
    ],
)
def test_what_no_line_can_hold_is_refused_by_name(pairs: Pairs, field: str) -> None:
    with pytest.raises(InvalidHeader) as caught:
        encode_stanza(pairs)
    error = caught.value
    assert error.field == field and error.limit is None and error.outcome == "not_sent"
    assert error.__cause__ is None and error.__context__ is None
    str(error).encode()  # the sentence itself can be written anywhere


@pytest.mark.parametrize("character, called", [("\r", "CR"), ("\n", "LF"), ("\0", "NUL")])
def test_what_would_end_the_line_is_named(character: str, called: str) -> None:
    with pytest.raises(InvalidHeader, match=f"the header 'X' holds a {called}, which"):
        encode_stanza([("X", f"a{character}")])


def test_a_colon_between_brackets_ends_no_name() -> None:
    assert encode_stanza([("ChanVariable(SIP/x:1)", "a=b")]) == (
        b"ChanVariable(SIP/x:1): a=b\r\n\r\n"
    )
    # Unless a blank comes after it.
    assert encode_stanza([("a(b", "c): d")]) == b"a(b: c): d\r\n\r\n"


@pytest.mark.parametrize("pair", [(1, "a"), ("a", 1), ("a", b"b"), ("a", None), "ab", ("a",)])
def test_anything_but_pairs_of_str_is_a_type_error(pair: Any) -> None:
    for kind in (Action, Event, Response):
        with pytest.raises(TypeError, match="headers"):
            kind("X", [pair])


@pytest.mark.parametrize("fill", ["x", "é"])
def test_a_line_of_1022_bytes_leaves_and_one_of_1023_does_not(fill: str) -> None:
    room = 1022 - len("X: ")
    value = "y" * (room % len(fill.encode())) + fill * (room // len(fill.encode()))
    assert b"\r\nX: " + value.encode() + b"\r\n" in Action("Ping", {"X": value}).wire
    with pytest.raises(LineTooLong, match="X line has 1023 bytes") as caught:
        Action("Ping", {"X": "y" + value})
    error = caught.value
    assert (error.field, error.limit, error.actual) == ("X", 1022, 1023)


def test_the_first_long_line_is_named() -> None:
    with pytest.raises(LineTooLong) as caught:
        Action("Ping", [("A", "x"), ("B", "y" * 2000), ("C", "z" * 3000)])
    assert (caught.value.field, caught.value.actual) == ("B", 2003)
    with pytest.raises(LineTooLong, match="the \ufffd line has 2003 bytes") as caught:
        Action("Ping", [("\udcff", "y" * 2000)])
    assert caught.value.field == "\ufffd"


def test_other_messages_have_no_line_limit_of_the_server() -> None:
    assert len(Event("X", {"A": "y" * 5000}).wire) > 5000


def test_128_lines_leave_and_129_do_not() -> None:
    headers = [("X", str(number)) for number in range(127)]
    assert Action("Ping", headers).wire.count(b"\r\n") == 129
    refusals: List[Callable[[], object]] = [
        lambda: Action("Ping", headers, action_id="1"),
        lambda: Action("Ping", headers).with_action_id("1"),
        lambda: Action("Ping", [*headers, ("X", "")]),
    ]
    for refused in refusals:
        with pytest.raises(TooManyLines) as caught:
            refused()
        assert (caught.value.limit, caught.value.actual) == (128, 129)


def refusal(action_id: str) -> LocalProtocolError:
    with pytest.raises(LocalProtocolError) as caught:
        Action("Ping").with_action_id(action_id)
    return caught.value


def test_an_action_id_of_67_bytes_leaves_and_one_of_68_does_not() -> None:
    for fits in ("x" * 67, "é" * 33 + "x", "\udcff" * 67):
        assert Action("Ping", action_id=fits).action_id == fits
        assert Action("Ping", {"actionid": fits}).action_id == fits
        for action_id in (fits + "x", "x" + fits):
            with pytest.raises(LineTooLong) as caught:
                Action("Ping", action_id=action_id)
            assert vars(caught.value) == vars(refusal(action_id))
            error = caught.value
            assert (error.field, error.limit, error.actual) == ("ActionID", 67, 68)


@pytest.mark.parametrize("action_id", ["", " x", "\tx", "\x1fx", "a\r\nb", "a\0", "\ud800"])
def test_an_action_id_the_server_would_not_echo_is_refused(action_id: str) -> None:
    refusals: List[Callable[[], object]] = [
        lambda: Action("Ping", action_id=action_id),
        lambda: Action("Ping", {"ActionId": action_id}),
        lambda: Action("Ping").with_action_id(action_id),
    ]
    for refused in refusals:
        with pytest.raises(InvalidHeader) as caught:
            refused()
        assert caught.value.field == "ActionID"


def test_an_action_id_is_a_str() -> None:
    for wrong in (5, b"x"):
        with pytest.raises(TypeError):
            Action("Ping").with_action_id(wrong)  # type: ignore[arg-type]


@given(any_pairs)
def test_a_refused_action_is_a_local_protocol_error(pairs: Pairs) -> None:
    try:
        wire = encode_action(pairs)
    except LocalProtocolError:
        return
    assert all(len(line) <= 1022 for line in wire.split(b"\r\n"))
    assert wire.count(b"\r\n") == len(pairs) + 1
