"""Decoding of recorded streams: known counts, the same bytes when encoded again, any chunks."""

from __future__ import annotations

import random
from typing import List, Sequence, Tuple

import pytest

from amiproto import LINE_TOO_LONG, MISSING_ACTION, TOO_MANY_LINES, Message, Response
from amiproto._text import to_bytes
from tests import captures

#: Positions of surplus blank lines. On 16 and 22 they follow a value that ends in a line break
#: (AppData of the call to "breaks", one per round), and a TestEvent of MessageSend.
SURPLUS = {
    "asterisk-11-style": [4141, 4143],
    "asterisk-16": [117157, 303789, 391223],
    "asterisk-22": [121635, 301398, 404264],
}

#: Messages of the responses without ActionID: three are forged in values (of two calls and one
#: Getvar); the others are the server's own, to an empty line, a long line and too many lines.
WITHOUT_ACTION_ID = ["after", "after", "after", MISSING_ACTION, LINE_TOO_LONG, TOO_MANY_LINES]

each_capture = pytest.mark.parametrize("name", captures.NAMES)
each_recorded = pytest.mark.parametrize("name", captures.RECORDED)


def identities(messages: Sequence[Message]) -> List[Tuple[type, bytes]]:
    return [(type(message), message.wire) for message in messages]


def whole(name: str) -> List[Message]:
    messages, end = captures.decode([captures.load(name)])
    assert end.clean
    return messages


@each_capture
def test_counts(name: str) -> None:
    assert captures.counts(whole(name)) == captures.COUNTS[name]


@each_capture
def test_encoding_gives_the_same_bytes(name: str) -> None:
    data = captures.load(name)
    messages = whole(name)
    assert captures.surplus(data, messages) == SURPLUS[name]
    for position in reversed(SURPLUS[name]):
        data = data[:position] + data[position + 2 :]
    assert b"".join([message.wire for message in messages]) == data
    assert captures.encode(messages) == data


@each_recorded
def test_stanzas_match_a_split_at_blank_lines(name: str) -> None:
    # A reference implementation. It is too simple for the raw text of Asterisk 11.
    banner, _, rest = captures.load(name).partition(b"\r\n")
    pieces = [piece for piece in rest.split(b"\r\n\r\n") if piece.strip(b"\r\n")]
    # A surplus blank line is at the start of the next piece.
    expected = [banner + b"\r\n", *(piece.lstrip(b"\r\n") + b"\r\n\r\n" for piece in pieces)]
    assert [message.wire for message in whole(name)] == expected


@each_capture
def test_headers_hold_every_line(name: str) -> None:
    for message in whole(name)[1:]:
        lines = message.wire[:-4].split(b"\r\n")
        if isinstance(message, Response) and message.name == "Follows":
            lines = lines[: len(message.headers)]
        items = message.headers.items()
        assert len(items) == len(lines)
        for line, (key, value) in zip(lines, items):
            forms = (f"{key}: {value}", f"{key}:{value}") if b":" in line else (value,)
            assert line in [to_bytes(form) for form in forms]


@pytest.mark.slow
@each_capture
@pytest.mark.parametrize("largest, seeds", [(1, 1), (3, 1), (50, 2), (1460, 3), (100_000, 3)])
def test_random_chunks(name: str, largest: int, seeds: int) -> None:
    data = captures.load(name)
    expected = identities(whole(name))
    for seed in range(seeds):
        sizes = random.Random(seed)
        pieces, at = [], 0
        while at < len(data):
            size = sizes.randint(1, largest)
            pieces.append(data[at : at + size])
            at += size
        messages, end = captures.decode(pieces)
        assert end.clean
        assert identities(messages) == expected


def responses(name: str) -> List[Response]:
    return [message for message in whole(name) if isinstance(message, Response)]


@each_recorded
def test_responses_without_action_id(name: str) -> None:
    found = [response.message for response in responses(name) if response.action_id is None]
    assert found == WITHOUT_ACTION_ID


@each_recorded
def test_output_of_commands(name: str) -> None:
    follows = "Command output follows"
    outputs = [response.output for response in responses(name) if response.message == follows]
    version = name.partition("-")[2]
    assert any(output[0].startswith(f"Asterisk {version}.") for output in outputs)
    assert any(output[0].startswith("No such command 'no such command'") for output in outputs)
    assert ("",) in outputs
    assert any("" in output[1:-1] for output in outputs)
    assert any(line.endswith("\r") for output in outputs for line in output)


def test_raw_text_of_commands() -> None:
    name = "asterisk-11-style"
    outputs = [response.output for response in responses(name) if response.name == "Follows"]
    assert outputs[0][0].startswith("Asterisk 11.25.3 ")
    assert len(outputs[1]) == 4
    assert outputs[2][-4:-1] == (
        "ends in CR\r", "Message: --END COMMAND-- inside a line", "--END COMMAND--"
    )  # fmt: skip
    assert outputs[3][:3] == ("before\r", "\r", "Response: Success\r")
    assert outputs[4:6] == [(), ("",)]
    assert outputs[6][0].startswith("No such command")
    assert outputs[7] == ("an answer to an action without ActionID",)
    assert outputs[8:] == [("text without a line end at its end",)]
