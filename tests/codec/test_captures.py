"""The recorded streams, however they arrive: the same messages, the same bytes again, known counts.

Separate from the tests of framing, whose stanzas are made up: these are what servers really send.
"""

from __future__ import annotations

import random
from itertools import chain
from typing import Dict, List, Sequence, Tuple

import pytest

from amiproto import Banner, Event, Message, Response, UnknownMessage
from amiproto._text import to_bytes
from tests import captures

#: Of each capture, how many of what there are. Recorded once, and so exact.
COUNTS: Dict[str, Dict[str, int]] = {
    "asterisk-11-style": {
        "Banner": 1,
        "Event": 17,
        "UnknownMessage": 3,
        "Response": 20,
        "Response Error": 3,
        "Response Follows": 9,
        "Response Goodbye": 1,
        "Response Success": 7,
        "Event Bridge": 1,
        "Event FullyBooted": 1,
        "Event MeetmeListComplete": 1,
        "Event Newchannel": 1,
        "Event Newexten": 2,
        "Event OriginateResponse": 1,
        "Event PeerEntry": 1,
        "Event PeerlistComplete": 1,
        "Event QueueParams": 1,
        "Event QueueStatusComplete": 1,
        "Event Registry": 1,
        "Event Status": 2,
        "Event StatusComplete": 1,
        "Event UserEvent": 2,
    },
    "asterisk-16": {
        "Banner": 1,
        "Event": 910,
        "UnknownMessage": 3,
        "Response": 96,
        "Response Error": 18,
        "Response Goodbye": 1,
        "Response Success": 77,
        "Event AgentCalled": 2,
        "Event AgentComplete": 2,
        "Event AgentConnect": 2,
        "Event AorDetail": 1,
        "Event AorList": 1,
        "Event AorListComplete": 1,
        "Event BridgeCreate": 4,
        "Event BridgeDestroy": 4,
        "Event BridgeEnter": 8,
        "Event BridgeLeave": 8,
        "Event BridgeListComplete": 1,
        "Event Cdr": 32,
        "Event ChannelHungup": 4,
        "Event ChannelsHungupListComplete": 2,
        "Event ContactStatusDetail": 1,
        "Event CoreShowChannel": 29,
        "Event CoreShowChannelsComplete": 3,
        "Event DBGetComplete": 2,
        "Event DBGetResponse": 2,
        "Event DeviceStateChange": 87,
        "Event DeviceStateListComplete": 1,
        "Event DialBegin": 20,
        "Event DialEnd": 20,
        "Event EndpointDetail": 1,
        "Event EndpointDetailComplete": 1,
        "Event EndpointList": 2,
        "Event EndpointListComplete": 1,
        "Event Forged": 2,
        "Event FullyBooted": 1,
        "Event Hangup": 42,
        "Event HangupRequest": 20,
        "Event ListDialplan": 34,
        "Event LocalBridge": 20,
        "Event NewAccountCode": 40,
        "Event NewCallerid": 40,
        "Event NewConnectedLine": 40,
        "Event Newchannel": 42,
        "Event Newexten": 107,
        "Event Newstate": 36,
        "Event OriginateResponse": 16,
        "Event PeerEntry": 1,
        "Event PeerlistComplete": 1,
        "Event QueueCallerJoin": 2,
        "Event QueueCallerLeave": 2,
        "Event QueueMember": 3,
        "Event QueueMemberStatus": 4,
        "Event QueueParams": 3,
        "Event QueueStatusComplete": 3,
        "Event QueueSummary": 1,
        "Event QueueSummaryComplete": 1,
        "Event Reload": 1,
        "Event RequestBadFormat": 3,
        "Event ShowDialPlanComplete": 1,
        "Event SoftHangupRequest": 20,
        "Event Status": 32,
        "Event StatusComplete": 4,
        "Event SuccessfulAuth": 1,
        "Event TestEvent": 29,
        "Event TransportDetail": 1,
        "Event UserEvent": 15,
        "Event VarSet": 100,
    },
    "asterisk-22": {
        "Banner": 1,
        "Event": 939,
        "UnknownMessage": 3,
        "Response": 95,
        "Response Error": 20,
        "Response Goodbye": 1,
        "Response Success": 74,
        "Event AgentCalled": 2,
        "Event AgentComplete": 2,
        "Event AgentConnect": 2,
        "Event AorDetail": 1,
        "Event AorList": 1,
        "Event AorListComplete": 1,
        "Event BridgeCreate": 4,
        "Event BridgeDestroy": 4,
        "Event BridgeEnter": 8,
        "Event BridgeLeave": 8,
        "Event BridgeListComplete": 1,
        "Event Cdr": 32,
        "Event ChannelHungup": 4,
        "Event ChannelsHungupListComplete": 2,
        "Event ContactStatusDetail": 1,
        "Event CoreShowChannel": 31,
        "Event CoreShowChannelsComplete": 3,
        "Event DBGetComplete": 2,
        "Event DBGetResponse": 2,
        "Event DeviceStateChange": 87,
        "Event DeviceStateListComplete": 1,
        "Event DialBegin": 20,
        "Event DialEnd": 20,
        "Event EndpointDetail": 1,
        "Event EndpointDetailComplete": 1,
        "Event EndpointList": 2,
        "Event EndpointListComplete": 1,
        "Event Forged": 2,
        "Event FullyBooted": 1,
        "Event Hangup": 42,
        "Event HangupRequest": 20,
        "Event ListDialplan": 34,
        "Event LocalBridge": 20,
        "Event NewAccountCode": 40,
        "Event NewCallerid": 40,
        "Event NewConnectedLine": 40,
        "Event Newchannel": 42,
        "Event Newexten": 107,
        "Event Newstate": 36,
        "Event OriginateResponse": 16,
        "Event QueueCallerJoin": 2,
        "Event QueueCallerLeave": 2,
        "Event QueueMember": 3,
        "Event QueueMemberStatus": 4,
        "Event QueueParams": 3,
        "Event QueueStatusComplete": 3,
        "Event QueueSummary": 1,
        "Event QueueSummaryComplete": 1,
        "Event Reload": 1,
        "Event RequestBadFormat": 5,
        "Event ShowDialPlanComplete": 1,
        "Event SoftHangupRequest": 20,
        "Event Status": 31,
        "Event StatusComplete": 4,
        "Event SuccessfulAuth": 1,
        "Event TestEvent": 29,
        "Event TransportDetail": 1,
        "Event UserEvent": 15,
        "Event VarSet": 128,
    },
}

#: Where surplus blank lines are. On 16 and 22, after a value that ends in a line break (AppData of
#: the call to "breaks", one a round), and after a TestEvent of MessageSend, which has one itself.
SURPLUS = {
    "asterisk-11-style": [4141, 4143],
    "asterisk-16": [117157, 303789, 391223],
    "asterisk-22": [121635, 301398, 404264],
}

#: First lines of the stanzas that are neither a response nor an event.
ORPHANS = {
    "asterisk-11-style": [
        b"Uniqueid: 1325376000.1",
        b"support has 0 calls (max unlimited) in 'ringall' strategy (0s holdtime, 0s talktime), "
        b"W:0, C:0, A:0, SL:0.0% within 0s",
        b"sales has 1 calls (max 5) in 'random' strategy (2s holdtime, 1s talktime), "
        b"W:0, C:1, A:0, SL:0.0% within 0s",
    ],
    "asterisk-16": [b"Neither: one nor the other"] * 2 + [b"no header at all"],
    "asterisk-22": [b"Neither: one nor the other"] * 2 + [b"no header at all"],
}

#: What answers without ActionID say: the rests of values, in two calls and one Getvar; then the
#: server's own, to a blank line, a line too long, and too many lines.
WITHOUT_ACTION_ID = [
    "after",
    "after",
    "after",
    "Missing action in request",
    "Failed to parse message: line too long",
    "Too many lines in message or allocation failure",
]

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
    found = captures.counts(whole(name))
    print(f"\n{name}, {len(captures.load(name))} bytes\n{captures.table(found)}")
    assert found == COUNTS[name]


@each_capture
def test_encoded_again_it_is_the_same_bytes(name: str) -> None:
    data = captures.load(name)
    messages = whole(name)
    assert captures.surplus(data, messages) == SURPLUS[name]
    for position in reversed(SURPLUS[name]):
        data = data[:position] + data[position + 2 :]
    assert b"".join([message.wire for message in messages]) == data
    assert captures.encode(messages) == data


@each_capture
def test_every_stanza_has_its_kind(name: str) -> None:
    banner, *messages = whole(name)
    assert isinstance(banner, Banner)
    first_words = {Event: b"Event:", Response: b"Response:"}
    orphans = []
    for message in messages:
        if isinstance(message, UnknownMessage):
            orphans.append(message.wire.partition(b"\r\n")[0])
        else:
            assert message.wire.startswith(first_words[type(message)]), message
    assert orphans == ORPHANS[name]


@each_recorded
def test_stanzas_are_those_that_blank_lines_divide(name: str) -> None:
    # The plainest reader there is, as a second opinion; the old style needs more than that.
    banner, _, rest = captures.load(name).partition(b"\r\n")
    pieces = [piece for piece in rest.split(b"\r\n\r\n") if piece.strip(b"\r\n")]
    # A surplus blank line is in front of the piece after it.
    expected = [banner + b"\r\n", *(piece.lstrip(b"\r\n") + b"\r\n\r\n" for piece in pieces)]
    assert [message.wire for message in whole(name)] == expected


@each_capture
def test_headers_lose_nothing(name: str) -> None:
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
def test_byte_by_byte(name: str) -> None:
    data = captures.load(name)
    messages, end = captures.decode(data[at : at + 1] for at in range(len(data)))
    assert end.clean
    assert identities(messages) == identities(whole(name))


@pytest.mark.slow
@each_capture
@pytest.mark.parametrize("largest", [3, 50, 1460, 100_000])
def test_random_pieces(name: str, largest: int) -> None:
    data = captures.load(name)
    expected = identities(whole(name))
    for seed in range(3):
        sizes = random.Random(seed)
        pieces, at = [], 0
        while at < len(data):
            size = sizes.randint(1, largest)
            pieces.append(data[at : at + size])
            at += size
        messages, end = captures.decode(pieces)
        assert end.clean
        assert identities(messages) == expected


@each_capture
@pytest.mark.parametrize(
    ("trailing", "unread"),
    [
        (b"E", 1),
        (b"Event: Cut\r\nKey: val", 20),
        (b"Event: Cut\r\nKey: value\r\n", 24),
        (b"Response: Follows\r\nPrivilege: Command\r\n", 39),
        (b"\r", 1),
        (b"\r\n", 0),
        (b"\r\n\r\n\n", 0),
    ],
)
def test_trailing_data(name: str, trailing: bytes, unread: int) -> None:
    data = captures.load(name)
    expected = identities(whole(name))
    for pieces in ([data + trailing], [data, trailing], [*chain([data], _bytes_of(trailing))]):
        messages, end = captures.decode(pieces)
        assert end.unread == unread
        assert identities(messages) == expected


@each_capture
def test_another_stream_after_it(name: str) -> None:
    data = captures.load(name)
    more = data.partition(b"\r\n")[2]
    messages, end = captures.decode([data + more])
    assert end.clean
    expected = identities(whole(name))
    assert identities(messages) == expected + expected[1:]


@pytest.mark.slow
@each_capture
def test_cut_off_anywhere(name: str) -> None:
    # In steps of a prime, so that the cuts fall everywhere in lines and stanzas.
    data = captures.load(name)
    expected = identities(whole(name))
    for size in range(0, len(data), 7 if len(data) < 10_000 else 9973):
        messages, end = captures.decode([data[:size]])
        assert identities(messages) == expected[: len(messages)]
        read = size - end.unread
        expected_surplus = [position for position in SURPLUS[name] if position < read]
        assert captures.surplus(data[:read], messages) == expected_surplus


@each_recorded
def test_answers_without_action_id(name: str) -> None:
    answers = [message for message in whole(name) if isinstance(message, Response)]
    found = [answer.message for answer in answers if answer.action_id is None]
    assert found == WITHOUT_ACTION_ID


@each_recorded
def test_output_of_commands(name: str) -> None:
    outputs = [
        message.output
        for message in whole(name)
        if isinstance(message, Response) and message.message == "Command output follows"
    ]
    version = name.partition("-")[2]
    assert any(output[0].startswith(f"Asterisk {version}.") for output in outputs)
    assert any(output[0].startswith("No such command 'no such command'") for output in outputs)
    assert ("",) in outputs
    assert any("" in output[1:-1] for output in outputs)
    assert any(line.endswith("\r") for output in outputs for line in output)


def test_old_output_of_commands() -> None:
    outputs = [
        message.output
        for message in whole("asterisk-11-style")
        if isinstance(message, Response) and message.name == "Follows"
    ]
    assert outputs[0][0].startswith("Asterisk 11.25.3 ")
    assert len(outputs[1]) == 4
    assert outputs[2] == (
        "first",
        "",
        "",
        "after two blank lines",
        "  Response: Success",
        "\r",
        "\r",
        "behind CR LF CR LF",
        "ends in CR\r",
        "Message: --END COMMAND-- inside a line",
        "--END COMMAND--",
        "that was no end",
    )
    assert outputs[3][:3] == ("before\r", "\r", "Response: Success\r")
    assert outputs[4:6] == [(), ("",)]
    assert outputs[6][0].startswith("No such command")
    assert outputs[7:] == [
        ("an answer to an action without ActionID",),
        ("text without a line end at its end",),
    ]


def test_old_variables_of_a_channel() -> None:
    found = [
        pair
        for message in whole("asterisk-11-style")
        for pair in message.headers.items()
        if pair[0].startswith("ChanVariable")
    ]
    assert found == [
        ("ChanVariable(SIP/x-1)", "a=b"),
        ("ChanVariable(SIP/x-1)", "empty="),
        ("ChanVariable(SIP/x-1)", "a=b: c (d): e"),
        ("ChanVariable(SIP/x-1)", "a=b"),
        ("ChanVariable(SIP/y-2)", "a=b"),
    ]


@each_recorded
def test_variables_of_a_channel(name: str) -> None:
    events = [message.headers for message in whole(name) if isinstance(message, Event)]
    assert ["PLAIN=one", "ODD=a: b"] in [headers.get_all("ChanVariable") for headers in events]


def _bytes_of(data: bytes) -> List[bytes]:
    return [data[at : at + 1] for at in range(len(data))]
