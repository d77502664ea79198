"""Where stanzas end, in both directions, and what is too long, complete or not."""

from __future__ import annotations

import time
from typing import Any, Iterable, List, Optional, Tuple, Union

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amiproto import LINE_TOO_LONG, MISSING_ACTION, TOO_MANY_LINES, RemoteProtocolError
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
    raise AssertionError("next_stanza never comes to an end")


def reader_of(
    max_line: int = 1000, max_stanza: int = 1000, commands: Iterable[Optional[str]] = (None,)
) -> StanzaReader:
    """A reader that is past the banner, and expects the raw text of these commands."""
    reader = StanzaReader(max_line, max_stanza)
    reader.feed(b"banner\r\n")
    assert reader.next_banner() == b"banner\r\n"
    reader.commands.update(dict.fromkeys(commands, 1))
    return reader


def stanzas(data: bytes, max_line: int = 1000, max_stanza: int = 1000) -> List[bytes]:
    """The stanzas of a server's stream."""
    reader = reader_of(max_line, max_stanza)
    reader.feed(data)
    return all_of(reader)


# ---- what a server sends ----


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", []),
        (b"A: b\r\n", []),
        (b"A: b\r\n\r\n", [b"A: b\r\n\r\n"]),
        (b"A: b\n\n", [b"A: b\n\n"]),
        (b"A: b\n\r\n", [b"A: b\n\r\n"]),
        (b"A: b\nC: d\r\n\nE: f\n\n", [b"A: b\nC: d\r\n\n", b"E: f\n\n"]),
        (b"A: b\n\n\r\nC: d\r\n\r\n", [b"A: b\n\n", b"C: d\r\n\r\n"]),
        (b"A: b\r\n\nc\n\nd\r\n\r\n", [b"A: b\r\n\nc\n\nd\r\n\r\n"]),
        (b"\r\n\n\r\nA: b\r\n\r\n\n", [b"A: b\r\n\r\n"]),
        (b"\r\r\nA\r\n\r\n", [b"\r\r\nA\r\n\r\n"]),
        (b"\rA\n\n", [b"\rA\n\n"]),
        (FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND, [FOLLOWS + b"a\r\n\r\nb\n" + END_COMMAND]),
        (FOLLOWS + b"a\r\n\r\n", []),
        (FOLLOWS + END_COMMAND + b"A\n\n", [FOLLOWS + END_COMMAND, b"A\n\n"]),
        (FOLLOWS + b"--END COMMAND--\n\n" + END_COMMAND,
         [FOLLOWS + b"--END COMMAND--\n\n" + END_COMMAND]),
        (b"Response: Follows\r\n\r\n", [b"Response: Follows\r\n\r\n"]),
    ],
)  # fmt: skip
def test_where_a_servers_stanzas_end(data: bytes, expected: List[bytes]) -> None:
    assert stanzas(data) == expected
    reader = reader_of()
    found = []
    for byte in bytewise(data):
        reader.feed(byte)
        stanza = reader.next_stanza()
        if stanza is not None:
            found.append(stanza)
            assert len(reader) == 0
    assert found == expected


MINE = FOLLOWS + b"ActionID: mine\r\n"


@pytest.mark.parametrize(
    "commands, start, is_text",
    [
        ((), FOLLOWS, False),
        ((), MINE, False),
        (("mine",), FOLLOWS, False),
        (("mine",), MINE, True),
        (("mine",), FOLLOWS + b"ACTIONID:mine\r\n", True),
        (("other",), MINE, False),
        ((None,), MINE, False),
        ((None,), FOLLOWS, True),
        ((None,), FOLLOWS + b"ActionID: a line of the text\n", True),
        ((None,), FOLLOWS + b"x" * 1024 + b"\n", True),
        (("é\udcff",), FOLLOWS + b"ActionID: \xc3\xa9\xff\r\n", True),
    ],
)
def test_only_a_command_that_waits_starts_raw_text(
    commands: Tuple[Optional[str], ...], start: bytes, is_text: bool
) -> None:
    data = start + b"text\n\r\n\r\n--END COMMAND--\r\n\r\nEvent: X\r\n\r\n"
    ends = b"--END COMMAND--\r\n\r\n" if is_text else b"\r\n\r\n"
    end = data.index(ends) + len(ends)
    for chunks in ([data], bytewise(data)):
        reader = reader_of(10_000, 10_000, commands)
        found = []
        for chunk in chunks:
            reader.feed(chunk)
            found += all_of(reader)
        assert found[0] == data[:end]
        assert found[-1] == b"Event: X\r\n\r\n" and len(reader) == 0


@pytest.mark.parametrize(
    "line, action_id",
    [
        (b"ActionID: X:1", "X:1"),
        (b"actionid:X", "X"),
        (b"ActionID:  5", "5"),
        (b"ActionID: \t5", "\t5"),
    ],
)
def test_a_text_belongs_to_the_action_that_it_names(line: bytes, action_id: str) -> None:
    text = FOLLOWS + line + b"\r\na\r\n\r\nb\n" + END_COMMAND
    reader = reader_of(commands=[action_id])
    reader.feed(text)
    assert all_of(reader) == [text]


def test_an_action_id_longer_than_any_is_text() -> None:
    # Nobody was asked under it, so that the text is that of a command without an ActionID.
    text = FOLLOWS + b"ActionID: " + b"x" * 1024 + b"\r\n\r\na\n" + END_COMMAND
    reader = reader_of(2000, 2000)
    reader.feed(text)
    assert all_of(reader) == [text]


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"", b"A: b\r\n", b"A\n", FOLLOWS])
def test_a_line_in_single_bytes_takes_linear_time(start: bytes) -> None:
    # To look for its end, or the stanza's, from the start each time would take half a minute.
    reader = reader_of(20_000_000, 20_000_000)
    reader.feed(start + b"x" * 10_000_000)
    started = time.perf_counter()
    for _ in range(100_000):
        assert reader.next_stanza() is None
        reader.feed(b"x")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("size", [257, 258])
def test_the_first_line_is_no_longer_than_a_banner(size: int) -> None:
    line = b"x" * (size - 1) + b"\n"
    for chunks in ([line], bytewise(line), [line[:-1], line[-1:]]):
        reader = StanzaReader(1000, 1000)
        if size > 257:  # the LF is not counted
            with pytest.raises(RemoteProtocolError, match="over 256 bytes") as caught:
                for chunk in chunks:
                    reader.feed(chunk)
                    reader.next_stanza()
            assert caught.value.limit == 256
            continue
        for chunk in chunks:
            assert reader.next_stanza() is None
            reader.feed(chunk)
        assert reader.next_stanza() == line


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n"])
def test_a_line_over_the_limit_fails_complete_or_not(end: bytes) -> None:
    limit = 50 + (end[0] == 0x0D)  # the CR is part of what lies between two LF
    fits = b"A: " + b"x" * 47 + end
    assert stanzas(fits, max_line=limit) == [fits]
    for data in (b"A: " + b"x" * 48 + end, b"A: ".ljust(limit + 1, b"x")):
        with pytest.raises(RemoteProtocolError, match=f"line of over {limit} bytes") as caught:
            stanzas(data, max_line=limit)
        assert caught.value.limit == limit
    assert stanzas(b"A: ".ljust(limit, b"x"), max_line=limit) == []


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n"])
def test_a_stanza_over_the_limit_fails_complete_or_not(end: bytes) -> None:
    line = b"A: 12345" + end[: len(end) // 2]
    fits = 4 * line + b"B: " + b"x" * (100 - 4 * len(line) - 3 - len(end)) + end
    assert len(fits) == 100 and stanzas(fits, max_stanza=100) == [fits]
    longer = fits[: -len(end)] + b"x" + end
    for data in (longer, longer[:-1] + b"y", fits[: -len(end)] + b"y" * 30):
        with pytest.raises(RemoteProtocolError, match="stanza of over 100 bytes") as caught:
            stanzas(data, max_stanza=100)
        assert caught.value.limit == 100
    assert stanzas(fits[:-1], max_stanza=100) == []


@pytest.mark.parametrize("line, stanza", [(30, 60), (60, 60), (60, 61), (59, 60), (60, 30)])
@pytest.mark.parametrize("start", [b"", b"A\r\n", b"A\n", FOLLOWS])
def test_what_comes_first_in_the_stream_is_the_error(line: int, stanza: int, start: bytes) -> None:
    for fill in range(1, 80):
        data = start + b"x" * fill + b"\r\n" + b"y" * 80 + b"\r\n\r\n"
        seen = set()
        for chunks in ([data], bytewise(data), [data[:40], data[40:]]):
            reader = reader_of(line, stanza)
            with pytest.raises(RemoteProtocolError) as caught:
                for chunk in chunks:
                    reader.feed(chunk)
                    reader.next_stanza()
            seen.add(str(caught.value))
        assert len(seen) == 1, seen


_small = st.integers(1, 12)


@example([[3, 3]], False, 4, 12, [])
@example([[3, 3]], False, 4, 11, [])
@example([[1, 4]], False, 4, 40, [])
@given(st.lists(st.lists(_small, min_size=1, max_size=6), max_size=5), st.booleans(),
       st.integers(2, 14), st.integers(2, 40), cuts)  # fmt: skip
def test_limits_are_those_of_who_counts_each_byte(
    sizes: List[List[int]], is_lf: bool, max_line: int, max_stanza: int, places: List[int]
) -> None:
    end = b"\n" if is_lf else b"\r\n"
    wires = [b"".join([b"x" * size + end for size in lines]) + end for lines in sizes]
    expected: List[str] = []
    for wire in wires:
        line = 0
        for count, byte in enumerate(wire, start=1):
            line = 0 if byte == 0x0A else line + 1
            if line > max_line or count > max_stanza:
                break
        else:
            expected.append("whole")
            continue
        expected.append(f"line of over {max_line}" if line > max_line else f"over {max_stanza}")
        break
    reader = reader_of(max_line, max_stanza)
    found: List[str] = []
    try:
        for chunk in cut(b"".join(wires), places):
            reader.feed(chunk)
            while reader.next_stanza() is not None:
                found.append("whole")
    except RemoteProtocolError as error:
        found.append(error.message)
    assert len(found) == len(expected)
    assert all(map(str.__contains__, found, expected)), (found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("stanza", [b"A\n\n", b"A\n\r\n", b"A: b\r\n\r\n", b"\n", FOLLOWS + b"x\n"])
def test_many_stanzas_at_once_take_linear_time(stanza: bytes) -> None:
    # A search that goes on to the end of what waits for each stanza took minutes here.
    data = stanza * (3_000_000 // len(stanza))
    started = time.perf_counter()
    reader = reader_of(1000, len(data))
    reader.feed(data)
    while reader.next_stanza() is not None:
        pass
    assert time.perf_counter() - started < 20


# ---- what a client sends ----


def actions(data: bytes, keeps_last_byte: bool = True) -> List[Stanza]:
    reader = ActionReader()
    reader.keeps_last_byte = keeps_last_byte
    reader.feed(data)
    return all_of(reader)


HEAD = b"Action: Ping\r\n"


def test_a_line_of_1022_bytes_is_read() -> None:
    data = HEAD + b"X: ".ljust(1022, b"y") + b"\r\n\r\n"
    assert actions(data) == [(data, None)]
    lf = HEAD + b"X: ".ljust(1023, b"y") + b"\n\n"
    assert actions(lf) == [(lf, None)]  # the CR is what takes the last place


def test_a_line_of_1023_bytes_ends_the_action() -> None:
    data = HEAD + b"X: ".ljust(1023, b"y") + b"\r\nTo: z\r\n\r\n"
    assert actions(data) == [(HEAD + b"\r\n", LINE_TOO_LONG), (b"To: z\r\n\r\n", None)]
    # Without CR, 1024 bytes before the LF: the last of them is a line of its own.
    data = HEAD + b"X: ".ljust(1024, b"y") + b"\nTo: z\n\n"
    assert actions(data) == [(HEAD + b"y\nTo: z\n\n", LINE_TOO_LONG)]


def test_of_a_longer_line_what_is_left_is_a_line_of_its_own() -> None:
    for size in (1024, 1025, 2045):
        data = HEAD + b"X: ".ljust(size, b"y") + b"\r\nTo: z\r\n\r\n"
        rest = b"y" * (size - 1023)
        assert actions(data) == [(HEAD + rest + b"\r\nTo: z\r\n\r\n", LINE_TOO_LONG)]
    data = HEAD + b"X: ".ljust(1023, b"y") + b"Action: Evil\r\nTo: z\r\n\r\n"
    assert actions(data) == [(HEAD + b"Action: Evil\r\nTo: z\r\n\r\n", LINE_TOO_LONG)]


def test_a_line_over_the_buffer_twice_may_end_the_action_too() -> None:
    data = HEAD + b"X: ".ljust(2 * 1023, b"y") + b"\r\nTo: z\r\n\r\n"
    assert actions(data) == [(HEAD + b"\r\n", LINE_TOO_LONG), (b"To: z\r\n\r\n", None)]


def test_without_a_kept_byte_other_sizes_end_the_action() -> None:
    early = []
    for size in range(1020, 3080):
        data = HEAD + b"X: ".ljust(size, b"y") + b"\r\nTo: z\r\n\r\n"
        found = actions(data, keeps_last_byte=False)
        if len(found) == 2:
            assert found[0][0].rstrip() == HEAD.rstrip() and found[0][1] == LINE_TOO_LONG
            assert found[1] == (b"To: z\r\n\r\n", None)
            early.append(size)
    assert early == [1023, 1024, 2047, 2048, 3071, 3072]


def test_128_lines_are_read_and_of_more_the_rest_is_lost() -> None:
    lines = [b"X: %d\r\n" % number for number in range(130)]
    fits = b"".join(lines[:128]) + b"\r\n"
    assert actions(fits) == [(fits, None)]
    for count in (129, 130):
        assert actions(b"".join(lines[:count]) + b"\r\n") == [(fits, TOO_MANY_LINES)]


def test_too_many_lines_are_answered_before_a_long_line() -> None:
    data = b"X: y\r\n" * 129 + b"z" * 1030 + b"\r\n\r\nA: b\r\n\r\nC: d\r\n\r\n"
    assert [reason for _, reason in actions(data)] == [TOO_MANY_LINES, LINE_TOO_LONG, None]


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"\r\n\n\r\n", [b"\r\n", b"\n", b"\r\n"]),
        (b"Action: Ping\n\nAction: Ping\n\n", [b"Action: Ping\n\n"] * 2),
        (b"A\r\n\0B\r\nC\r\n\r\n", [b"A\r\n\0B\r\n", b"C\r\n\r\n"]),
        (b"A\0B\r\n\r\n", [b"A\0B\r\n\r\n"]),
        (b" \r\n\r\n", [b" \r\n\r\n"]),
        (b"\r\r\n\r\n", [b"\r\r\n\r\n"]),
    ],
)
def test_each_lf_ends_a_line_and_each_nul_a_message(data: bytes, expected: List[bytes]) -> None:
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


def by_the_book(data: bytes, keeps_last_byte: bool) -> Tuple[List[Stanza], bytes]:
    """The server's input loop, written as Asterisk's is: a buffer, a cursor, one line a call."""
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
def test_any_cutting_gives_what_the_servers_loop_gives(
    data: bytes, places: List[int], keeps_last_byte: bool
) -> None:
    reader = ActionReader()
    reader.keeps_last_byte = keeps_last_byte
    found: List[Stanza] = []
    for chunk in cut(data, places):
        reader.feed(chunk)
        found += all_of(reader)
    expected, waiting = by_the_book(data, keeps_last_byte)
    assert found == expected
    assert len(reader) == len(waiting) <= 129 * 1024


def test_a_client_that_never_ends_a_line_fills_no_memory() -> None:
    reader = ActionReader()
    for _ in range(1000):
        reader.feed(b"x" * 1500)
        assert reader.next_stanza() is None and len(reader) < 1024
    reader = ActionReader()
    reader.feed(b"x" * 1024)
    assert reader.next_stanza() is None and len(reader) == 1  # the others are dropped at once
    reader = ActionReader()
    for _ in range(1000):
        reader.feed((b"x" * 1021 + b"\r\n") * 2)
        assert reader.next_stanza() is None and len(reader) <= 128 * 1024


def test_the_reasons_are_what_asterisk_answers() -> None:
    assert MISSING_ACTION == "Missing action in request"
    assert LINE_TOO_LONG == "Failed to parse message: line too long"
    assert TOO_MANY_LINES == "Too many lines in message or allocation failure"
