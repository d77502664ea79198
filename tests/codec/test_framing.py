"""The ends of stanzas in both directions, and the limits of incomplete and complete ones."""

from __future__ import annotations

import time
from typing import Any, Iterable, List, Optional, Tuple, Union

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amiproto import LINE_TOO_LONG, TOO_MANY_LINES, RemoteProtocolError
from amiproto.framing import ActionReader, StanzaReader
from tests.strategies import END_COMMAND, FOLLOWS, MAX_CALLS, bytewise, cut, cuts

Stanza = Tuple[bytes, Optional[str]]


def all_of(reader: Union[StanzaReader, ActionReader]) -> List[Any]:
    found: List[Any] = []
    for _ in range(MAX_CALLS):
        stanza = reader.next_stanza()
        if stanza is None:
            return found
        found.append(stanza)
    raise AssertionError("next_stanza does not stop")


def reader_of(
    max_line: int = 1000, max_stanza: int = 1000, commands: Iterable[Optional[str]] = (None,)
) -> StanzaReader:
    """Return a reader that has read the banner, with these commands pending."""
    reader = StanzaReader(max_line, max_stanza)
    reader.buffer += b"banner\r\n"
    assert reader.next_banner() == b"banner\r\n"
    reader.commands.update(dict.fromkeys(commands, 1))
    return reader


def stanzas(data: bytes, max_line: int = 1000, max_stanza: int = 1000) -> List[bytes]:
    """Return the stanzas of a server's stream."""
    reader = reader_of(max_line, max_stanza)
    reader.buffer += data
    return all_of(reader)


# ---- from a server ----


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", []),
        (b"A: b\r\n", []),
        (b"A: b\r\n\r\n", [b"A: b\r\n\r\n"]),
        (b"A: b\r\n\n", [b"A: b\r\n\n"]),
        (b"A: b\r\n\nC: d\r\n\r\n", [b"A: b\r\n\n", b"C: d\r\n\r\n"]),
        (b"A: b\r\n\r\nC: d\r\n\n", [b"A: b\r\n\r\n", b"C: d\r\n\n"]),
        (b"A: b\r\n\n\r\n\nC: d\r\n\n\n", [b"A: b\r\n\n", b"C: d\r\n\n"]),
        # A bare CR or LF is part of a value, and blank lines are not.
        (b"A: b\n\n", []),
        (b"A: b\n\r\n", []),
        (b"A: b\n\n\r\nC: d\r\n\r\n", [b"A: b\n\n\r\nC: d\r\n\r\n"]),
        (b"A: b\n\r\n\r\n", [b"A: b\n\r\n\r\n"]),
        (b"A: b\r\r\n\r\n", [b"A: b\r\r\n\r\n"]),
        (b"\r\n\n\r\nA: b\r\n\r\n\n", [b"A: b\r\n\r\n"]),
        (b"A\r\n\r\n\r\nB\r\n\r\n\r\n\n\r\nC\r\n\r\n", [b"A\r\n\r\n", b"B\r\n\r\n", b"C\r\n\r\n"]),
        (b"\r\r\nA\r\n\r\n", [b"\r\r\nA\r\n\r\n"]),
        (b"A\r\n\r\n\r\r\nB\r\n\r\n", [b"A\r\n\r\n", b"\r\r\nB\r\n\r\n"]),
        (b"A\r\n\r\n\rB\r\n\r\n", [b"A\r\n\r\n", b"\rB\r\n\r\n"]),
        (FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND, [FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND]),
        (FOLLOWS + b"a\r\n\r\n", []),
        (FOLLOWS + END_COMMAND + b"A\r\n\n", [FOLLOWS + END_COMMAND, b"A\r\n\n"]),
        (FOLLOWS + b"--END COMMAND--\n\n" + END_COMMAND,
         [FOLLOWS + b"--END COMMAND--\n\n" + END_COMMAND]),
        (b"Response: Follows\r\n\r\n", [b"Response: Follows\r\n\r\n"]),
    ],
)  # fmt: skip
def test_stanza_ends(data: bytes, expected: List[bytes]) -> None:
    # Without a pending command, several stanzas are split together.
    for commands in [(None,)] if FOLLOWS in data else [(None,), ()]:
        reader = reader_of(commands=commands)
        reader.buffer += data
        assert all_of(reader) == expected
        reader = reader_of(commands=commands)
        found = []
        for byte in bytewise(data):
            reader.buffer += byte
            for stanza in all_of(reader):
                found.append(stanza)
                assert len(reader) == 0
        assert found == expected


def test_stanzas_that_were_split_together_count_as_unread() -> None:
    data = b"A\r\n\r\nB\r\n\n\r\nC\r\n\r\nD\r\n"
    reader = reader_of(commands=())
    reader.buffer += data
    for stanza, unread in ((b"A\r\n\r\n", 12), (b"B\r\n\n", 8), (b"C\r\n\r\n", 3)):
        assert reader.next_stanza() == stanza and len(reader) == unread


def test_a_new_command_is_pending_for_all_unread_stanzas() -> None:
    output = FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND
    for size in range(1, 30):
        reader = reader_of(commands=())
        reader.buffer += b"A\r\n\r\nB\r\n\r\n\r\n" + output[:size]
        assert reader.next_stanza() == b"A\r\n\r\n"
        reader.commands[None] = 1
        reader.unsplit()
        reader.buffer += output[size:]
        assert all_of(reader) == [b"B\r\n\r\n", output]
    reader = reader_of(commands=())
    reader.buffer += b"A\r\n\r\n" + output
    assert all_of(reader)[:2] == [b"A\r\n\r\n", FOLLOWS + b"a\r\n\r\n"]


MINE = FOLLOWS + b"ActionID: mine\r\n"


@pytest.mark.parametrize(
    "commands, start, is_raw",
    [
        ((), FOLLOWS, False), ((), MINE, False), (("mine",), FOLLOWS, False),
        (("mine",), MINE, True), (("mine",), FOLLOWS + b"ACTIONID:mine\r\n", True),
        (("other",), MINE, False), ((None,), MINE, False), ((None,), FOLLOWS, True),
        ((None,), FOLLOWS + b"ActionID: a line of the text\n", True),
        ((None,), FOLLOWS + b"x" * 1024 + b"\n", True),
        (("é\udcff",), FOLLOWS + b"ActionID: \xc3\xa9\xff\r\n", True),
        (("X:1",), FOLLOWS + b"ActionID: X:1\r\n", True),
        (("X",), FOLLOWS + b"actionid:X\r\n", True),
        (("5",), FOLLOWS + b"ActionID:  5\r\n", True),
        (("\t5",), FOLLOWS + b"ActionID: \t5\r\n", True),
        # No action can have had an ActionID over the server's input buffer.
        ((None,), FOLLOWS + b"ActionID: " + b"x" * 1024 + b"\r\n", True),
    ],
)  # fmt: skip
def test_only_a_pending_command_can_have_raw_output(
    commands: Tuple[Optional[str], ...], start: bytes, is_raw: bool
) -> None:
    data = start + b"text\n\r\n\r\n--END COMMAND--\r\n\r\nEvent: X\r\n\r\n"
    ends = b"--END COMMAND--\r\n\r\n" if is_raw else b"\r\n\r\n"
    end = data.index(ends) + len(ends)
    for chunks in ([data], bytewise(data)):
        reader = reader_of(10_000, 10_000, commands)
        found = []
        for chunk in chunks:
            reader.buffer += chunk
            found += all_of(reader)
        assert found[0] == data[:end]
        assert found[-1] == b"Event: X\r\n\r\n" and len(reader) == 0


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"", b"A: b\r\n", b"A\n", FOLLOWS])
def test_an_incomplete_line_received_byte_by_byte_takes_linear_time(start: bytes) -> None:
    # Searching from the start for each byte would take half a minute.
    reader = reader_of(20_000_000, 20_000_000)
    reader.buffer += start + b"x" * 10_000_000
    started = time.perf_counter()
    for _ in range(100_000):
        assert reader.next_stanza() is None
        reader.buffer += b"x"
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_limits_hold_for_incomplete_stanzas(end: bytes) -> None:
    start = (b"A" + end) * 10
    for line_limit, size in ((50, 1000), (1000, 50)):
        fits = start + b"x" * (50 - (len(start) if size == 50 else 0))
        assert stanzas(fits, line_limit, size) == []
        with pytest.raises(RemoteProtocolError) as caught:
            stanzas(fits + b"x", line_limit, size)
        assert caught.value.limit == 50


@pytest.mark.parametrize("line, stanza", [(30, 60), (60, 60), (60, 61), (59, 60), (60, 30)])
@pytest.mark.parametrize("start", [b"", b"A\r\n", b"A\n", FOLLOWS])
def test_the_error_does_not_depend_on_the_chunks(line: int, stanza: int, start: bytes) -> None:
    for fill in range(1, 80):
        data = start + b"x" * fill + b"\r\n" + b"y" * 80 + b"\r\n\r\n"
        seen = set()
        for chunks in ([data], bytewise(data), [data[:40], data[40:]]):
            reader = reader_of(line, stanza)
            with pytest.raises(RemoteProtocolError) as caught:
                for chunk in chunks:
                    reader.buffer += chunk
                    reader.next_stanza()
            seen.add(str(caught.value))
            with pytest.raises(RemoteProtocolError, match=caught.value.message):
                reader.next_stanza()
        assert len(seen) == 1, seen


_small = st.integers(1, 12)


@example([[3, 3]], False, (), 4, 12, [])
@example([[3, 3]], False, (), 4, 11, [])
@example([[1, 4]], False, (), 4, 40, [])
@example([[3, 3]], True, (), 4, 11, [])
@example([[3, 3]], True, (), 4, 10, [])
@example([[3, 3], [1], [4]], True, (), 4, 40, [])
@given(st.lists(st.lists(_small, min_size=1, max_size=6), max_size=5), st.booleans(),
       st.sampled_from([(), (None,)]), st.integers(2, 40), st.integers(2, 40), cuts)  # fmt: skip
def test_limits_equal_those_of_a_byte_counter(
    sizes: List[List[int]], is_lf: bool, commands: Tuple[None, ...], max_line: int, max_stanza: int,
    places: List[int],
) -> None:  # fmt: skip
    end = b"\n" if is_lf else b"\r\n"
    wires = [b"".join([b"x" * size + b"\r\n" for size in lines]) + end for lines in sizes]
    expected: List[object] = []
    for wire in wires:
        line = 0
        for count, byte in enumerate(wire, start=1):
            line = 0 if byte == 0x0A else line + 1
            if line > max_line or count > max_stanza:
                break
        else:
            expected.append(wire)
            continue
        expected.append(max_line if line > max_line else max_stanza)
        break
    reader = reader_of(max_line, max_stanza, commands)
    found: List[object] = []
    try:
        for chunk in cut(b"".join(wires), places):
            reader.buffer += chunk
            found += iter(reader.next_stanza, None)
    except RemoteProtocolError as error:
        found.append(error.limit)
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("commands", [(), (None,)])
@pytest.mark.parametrize("max_line", [1000, 1_000_000])
@pytest.mark.parametrize(
    "stanza",
    [b"A\r\n\n", b"A\r\n\r\n\r\n", b"A: b\r\n\r\n", b"\n", b"A\r\n" * 9000 + b"\n",
     FOLLOWS + b"x\n"],
)  # fmt: skip
def test_many_stanzas_at_once_take_linear_time(
    stanza: bytes, max_line: int, commands: Tuple[None, ...]
) -> None:
    # Searching to the end of the buffer for each stanza would take half a minute.
    data = stanza * (1_000_000 // len(stanza))
    started = time.perf_counter()
    reader = reader_of(max_line, len(data), commands)
    reader.buffer += data
    while reader.next_stanza() is not None:
        pass
    assert time.perf_counter() - started < 5


# ---- from a client ----


def actions(data: bytes) -> List[Stanza]:
    reader = ActionReader()
    reader.buffer += data
    return all_of(reader)


HEAD = b"Action: Ping\r\n"


@pytest.mark.parametrize(
    "line, rest",
    [
        (b"X: ".ljust(1022, b"y") + b"\r\n", None),
        (b"X: ".ljust(1023, b"y") + b"\r\n", b"\r\n"),
        (b"X: ".ljust(1024, b"y") + b"\r\n", b"y\r\n"),
        (b"X: ".ljust(2046, b"y") + b"\r\n", b"\r\n"),
        (b"X: ".ljust(1023, b"y") + b"Action: Evil\r\n", b"Action: Evil\r\n"),
    ],
)
def test_the_rest_of_a_line_over_the_buffer_is_a_separate_line(
    line: bytes, rest: Optional[bytes]
) -> None:
    tail = b"To: z\r\n\r\n"
    if rest is None:
        expected: List[Stanza] = [(HEAD + line + tail, None)]
    elif rest == b"\r\n":  # a blank line, which ends the action
        expected = [(HEAD + rest, LINE_TOO_LONG), (tail, None)]
    else:
        expected = [(HEAD + rest + tail, LINE_TOO_LONG)]
    assert actions(HEAD + line + tail) == expected


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"\r\n\n\r\n", [b"\r\n", b"\n", b"\r\n"]),
        (b"Action: Ping\n\nAction: Ping\n\n", [b"Action: Ping\n\n"] * 2),
        (b"A\r\n\0B\r\nC\r\n\r\n", [b"A\r\n\0B\r\n", b"C\r\n\r\n"]),
        (b"A\0B\r\n\r\n", [b"A\0B\r\n\r\n"]), (b" \r\n\r\n", [b" \r\n\r\n"]),
        (b"\r\r\n\r\n", [b"\r\r\n\r\n"]),
    ],
)  # fmt: skip
def test_lf_ends_a_line_and_a_leading_nul_ends_the_action(
    data: bytes, expected: List[bytes]
) -> None:
    assert actions(data) == [(stanza, None) for stanza in expected]


_lengths = st.one_of(
    st.integers(0, 5), st.sampled_from([*range(1018, 1030), *range(2042, 2052), 3069, 3070])
)
_action_lines = st.tuples(
    _lengths.map(lambda size: b"X: y".ljust(size, b"z")[:size]),
    st.sampled_from([b"\r\n", b"\r\n", b"\n"]),
).map(b"".join)
_client_streams = st.lists(
    st.one_of(
        _action_lines,
        st.sampled_from([b"Action: Ping\r\n", b"\r\n", b"\0x\r\n", b"\0\n", b"L\r\n" * 128]),
    ),
    max_size=12,
).map(b"".join)


def model(data: bytes, keeps_last_byte: bool) -> Tuple[List[Stanza], bytes]:
    """Asterisk's input loop: return the stanzas, and the bytes that remain in the buffer."""
    found: List[Stanza] = []
    lines: List[bytes] = []
    long = lost = False
    while True:
        end = data.find(b"\n")
        if 0 <= end < 1024:
            line, data = data[: end + 1], data[end + 1 :]
        elif len(data) >= 1024:
            long, data = True, data[1023 if keeps_last_byte else 1024 :]
            continue
        else:
            return found, b"".join(lines) + data
        text = line.rstrip(b"\n")
        text = text[:-1] if text.endswith(b"\r") else text
        if text.split(b"\0")[0]:
            lost = lost or len(lines) == 128
            lines += [line][: 128 - len(lines)]
            continue
        reason = TOO_MANY_LINES if lost else LINE_TOO_LONG if long else None
        long = long and lost
        found.append((b"".join(lines) + line, reason))
        lines, lost = [], False


@given(_client_streams, cuts, st.booleans())
def test_any_chunks_give_the_same_as_asterisks_input_loop(
    data: bytes, places: List[int], keeps_last_byte: bool
) -> None:
    reader = ActionReader()
    reader.keeps_last_byte = keeps_last_byte
    found: List[Stanza] = []
    for chunk in cut(data, places):
        reader.buffer += chunk
        found += all_of(reader)
    expected, rest = model(data, keeps_last_byte)
    assert found == expected
    assert len(reader) == len(rest) <= 129 * 1024


def test_memory_is_bounded_if_a_line_or_stanza_never_ends() -> None:
    reader = ActionReader()
    for _ in range(1000):
        reader.buffer += b"x" * 1500
        assert reader.next_stanza() is None and len(reader) < 1024
    reader = ActionReader()
    for _ in range(1000):
        reader.buffer += (b"x" * 1021 + b"\r\n") * 2
        assert reader.next_stanza() is None and len(reader) <= 128 * 1024
