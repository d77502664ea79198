"""The codec with real servers: a stream with every kind of stanza, and forged stanzas."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Tuple
from urllib.parse import quote

import pytest

from amiproto import (
    NEED_DATA,
    Action,
    ActionResult,
    Banner,
    Event,
    LoggedIn,
    Message,
    MessageSend,
    Response,
    Session,
    UnknownMessage,
)
from tests import captures
from tests.live.ami import TIMEOUT
from tests.live.asterisk import AsteriskServer
from tests.live.capture import EXTRA, record
from tests.live.delivery import require
from tests.live.servers import Live
from tests.live.versions import OUTPUT_HEADERS

#: An extension that answers after other calls have ended (Answer alone takes half a second without
#: sound), and one that stores a value from Originate.
_DIALPLAN = """
[slow]
exten = s,1,Wait(1.5)
 same = n,Answer()
 same = n,Hangup()

[storing]
exten = s,1,Answer()
 same = n,Set(DB(storing/key)=before${URIDECODE(${FORGED})})
 same = n,Hangup()
"""

#: The minimum number of stanzas by kind, so that an empty stream does not pass.
AT_LEAST = {
    "Event": 400, "Event BridgeEnter": 4, "Event Cdr": 8, "Event CoreShowChannelsComplete": 2,
    "Event DBGetResponse": 2, "Event DialBegin": 8, "Event Forged": 1,
    "Event FullyBooted": 1, "Event Hangup": 20, "Event Newchannel": 20,
    "Event Newexten": 40, "Event OriginateResponse": 8, "Event QueueCallerJoin": 1,
    "Event QueueStatusComplete": 2, "Event Reload": 1, "Event StatusComplete": 3,
    "Event UserEvent": 11, "Event VarSet": 40, "Response": 80, "Response Error": 15,
    "Response Goodbye": 1, "Response Success": 55, "UnknownMessage": 2,
}  # fmt: skip

#: The end of the list of phones.
LAST_PHONE = {"pjsip": "Event EndpointListComplete", "sip": "Event PeerlistComplete"}


@pytest.fixture(scope="module")
def forging(live: Live) -> Iterator[Live]:
    """A separate server with a queue, more modules, and dialplan that forges stanzas."""
    require(live, OUTPUT_HEADERS)
    extra = {**EXTRA, "extensions.conf": EXTRA["extensions.conf"] + _DIALPLAN}
    with live.another_server(extra) as server:
        yield Live(server, live.phone)


def test_recorded_stream_is_decoded_and_encoded(forging: Live) -> None:
    data = record(forging.server, rounds=1)
    messages, end = captures.decode([data])
    assert end.clean
    # Encoding returns the same bytes, except surplus blank lines between stanzas.
    surplus = captures.surplus(data, messages)
    assert len(surplus) < 10
    expected = bytearray(data)
    for position in reversed(surplus):
        del expected[position : position + 2]
    assert captures.encode(messages) == expected
    # The result is the same if the stream arrives byte by byte.
    bytewise, _ = captures.decode(data[at : at + 1] for at in range(len(data)))
    assert [(type(m), m.wire) for m in bytewise] == [(type(m), m.wire) for m in messages]

    # Each stanza has the right type, and there are enough of each.
    banner, *stanzas = messages
    assert isinstance(banner, Banner)
    starts = {Event: b"Event: ", Response: b"Response: "}
    unknown = []
    for message in stanzas:
        if isinstance(message, UnknownMessage):
            unknown.append(message.headers.items()[0])
        else:
            assert message.wire.startswith(starts[type(message)])
    assert unknown == [("Neither", "one nor the other"), ("", "no header at all")]
    found = captures.counts(messages)
    for name, least in {**AT_LEAST, LAST_PHONE[forging.technology]: 1}.items():
        assert found.get(name, 0) >= least, name


class Client:
    """A session over a plain socket that records messages and the actions outstanding then."""

    def __init__(self, connection: socket.socket, server: AsteriskServer, events: str) -> None:
        self._socket = connection
        secret = server.users["admin"]
        self.session = Session("admin", secret, entropy=os.urandom(16), events=events)
        self.results: Dict[str, ActionResult] = {}
        #: Messages that belong to no action, with the ActionIDs outstanding when they arrived.
        self.others: List[Tuple[Message, Tuple[str, ...]]] = []
        self._read_until(lambda: self.session.logged_in)

    def send(self, *actions: Action) -> List[str]:
        """Send actions in one write, and return their ActionIDs."""
        sent = [self.session.send(action) for action in actions]
        self._socket.sendall(b"".join([action.wire for action in sent]))
        return [action.action_id or "" for action in sent]

    def exchange(self, *actions: Action) -> List[ActionResult]:
        """Send actions in one write, and return their results in order."""
        ids = self.send(*actions)
        self._read_until(lambda: all(action_id in self.results for action_id in ids))
        return [self.results[action_id] for action_id in ids]

    def await_output(self, command: str, text: str) -> None:
        """Repeat a CLI command until its output contains a text."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            # Not Getvar or DBGet, because the tests forge their responses.
            (shown,) = self.exchange(Action("Command", [("Command", command)]))
            if any(text in line for line in shown.response.output):
                return
            assert time.monotonic() < deadline, text
            time.sleep(0.02)

    def forged(self) -> List[Tuple[Message, Tuple[str, ...]]]:
        """Return the messages with the header that marks forged ones."""
        return [one for one in self.others if one[0].headers.get("Message") == "forged"]

    def _read_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            event = self.session.next_event()
            if isinstance(event, ActionResult):
                assert event.action_id not in self.results, "two responses"
                self.results[event.action_id] = event
            elif isinstance(event, Message):
                self.others.append((event, self.session.outstanding))
            elif event is NEED_DATA:
                if condition():
                    return
                self._socket.sendall(self.session.data_to_send())
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                self.session.receive_data(self._socket.recv(65536))
            else:
                assert isinstance(event, LoggedIn), event


@contextmanager
def connected(server: AsteriskServer, events: str = "off") -> Iterator[Client]:
    with socket.create_connection((server.host, server.port), TIMEOUT) as connection:
        yield Client(connection, server, events)


def getvar(name: str) -> Action:
    return Action("Getvar", [("Variable", name)])


def originate(channel: str, forged: str = "", wait: str = "true") -> Action:
    # Encoded, so that no character is special before it reaches the dialplan.
    variables = [("Variable", f"FORGED={quote(forged, safe='')}")] if forged else []
    call = [("Channel", f"Local/{channel}"), ("Application", "Wait"), ("Data", "2")]
    return Action("Originate", [*call, ("Async", wait), *variables])


def stanza(*lines: str) -> str:
    """Return a forged stanza, after the blank line that ends the real one."""
    return "\r\n\r\n" + "\r\n".join([*lines, "Message: forged"])


SENT = "Message successfully sent"

#: Ways to guess an ActionID from an earlier one and the number of actions since.
GUESSES: Dict[str, Callable[[str, int], str]] = {
    "none": lambda earlier, since: "",
    "earlier": lambda earlier, since: f"ActionID: {earlier}",
    "incremented": lambda earlier, since: f"ActionID: {int(earlier, 16) + since:032x}",
    "zero": lambda earlier, since: "ActionID: " + "0" * 32,
    "small": lambda earlier, since: "ActionID: 1",
    "empty": lambda earlier, since: "ActionID: ",
}


def forgery(guess: str, earlier: str, since: int) -> str:
    """Return four forged stanzas with a guessed ActionID."""
    lines = list(filter(None, [GUESSES[guess](earlier, since)]))
    return (
        stanza("Response: Success", *lines)
        + stanza("Response: Error", *lines)
        + stanza("Event: DBGetComplete", *lines, "EventList: Complete", "ListItems: 0")
        + stanza("Response: Goodbye", *lines)
    )


each_guess = pytest.mark.parametrize("guess", GUESSES)


@each_guess
def test_forged_stanzas_inside_a_response(forging: Live, guess: str) -> None:
    with connected(forging.server) as client:
        marks = [f"mark {number}" for number in range(8)]
        earlier = client.exchange(
            *(
                Action("Setvar", [("Variable", f"MARK_{number}"), ("Value", mark)])
                for number, mark in enumerate(marks)
            ),
            Action("DBPut", [("Family", "forging"), ("Key", "real"), ("Val", "stored")]),
            Action("Setvar", [("Variable", "FORGED_VALUE"), ("Value", "unset")]),
        )
        # Before the first message come these actions, the call, the marks and the forged value.
        since = len(earlier) + 1 + len(marks) + 1
        forged = forgery(guess, earlier[0].action_id, since)
        client.exchange(originate("variable@forging", forged))
        client.await_output("dialplan show globals", "FORGED_VALUE=before")

        # The forged stanzas arrive while the actions after them are outstanding.
        get_marks = [getvar(f"MARK_{number}") for number in range(len(marks))]
        results = client.exchange(
            *get_marks,
            getvar("FORGED_VALUE"),
            MessageSend(forging.to, body="one"),
            getvar("FORGED_VALUE"),
            *get_marks,
            Action("MessageSend", [("To", "nosuch:alice"), ("Body", "x")]),
            Action("DBGet", [("Family", "forging"), ("Key", "real")]),
            Action("Command", [("Command", "core show version")]),
            MessageSend(forging.to, body="two"),
        )
        values = [result.response.headers.get("Value") for result in results]
        assert values[:19] == [*marks, "before", None, "before", *marks]
        texts = [results[position].response.message for position in (9, 19, 21, 22)]
        assert texts == [SENT, "Message technology not found.", "Command output follows", SENT]
        listed = results[20]
        assert [event.headers.get("Val") for event in listed.events] == ["stored"]
        assert listed.complete is not None and "Message" not in listed.complete.headers
        assert results[21].response.output[0].startswith(f"Asterisk {forging.server.version}")
        assert [one.body for one in forging.phone.wait_for(2)] == [b"one", b"two"]

        # All other messages are the forged ones, and none was matched to an action.
        assert len(client.others) == len(client.forged()) == 2 * 4
        assert all(waiting for _, waiting in client.others)
        kinds = [type(message) for message, _ in client.others]
        assert kinds == [Response, Response, Event, Response] * 2


@each_guess
def test_forged_stanzas_inside_events(forging: Live, guess: str) -> None:
    with connected(forging.server, events="on") as client:
        (ping,) = client.exchange(Action("Ping"))
        text = forgery(guess, ping.action_id, since=3)
        # The server sends events between actions, which it processes in order. The slow call gives
        # the first one time to run, so that its events arrive before the messages are processed.
        results = client.exchange(
            originate("appdata@forging", text, "false"),
            originate("s@slow", wait="false"),
            MessageSend(forging.to, body="one"),
            getvar("GLOBAL(FORGING_UNSET)"),
            Action("MessageSend", [("To", "nosuch:alice"), ("Body", "x")]),
            MessageSend(forging.to, body="two"),
        )
        texts = [result.response.message for result in results]
        assert texts[:2] == ["Originate successfully queued"] * 2
        assert texts[2:] == [SENT, "", "Message technology not found.", SENT]
        assert [one.body for one in forging.phone.wait_for(2)] == [b"one", b"two"]
        others = [message for message, _ in client.others]
        (newexten,) = [one for one in others if one.headers.get("AppData") == "before"]
        assert isinstance(newexten, Event) and newexten.name == "Newexten"
        forged = client.forged()
        assert len(forged) == 4
        ids = [results[position].action_id for position in (2, 3, 4, 5)]
        for message, waiting in forged:
            assert not isinstance(message, UnknownMessage)
            assert set(ids) <= set(waiting), "the forged stanzas arrived too late"
        # No other response was left unmatched.
        responses = [message for message in others if isinstance(message, Response)]
        assert responses == [message for message, _ in forged if isinstance(message, Response)]


def test_forged_start_of_a_list(forging: Live) -> None:
    with connected(forging.server) as client:
        (action_id,) = client.send(getvar("URIDECODE(before%0D%0AEventList: start)"))
        # Responses arrive in order, so the first one is complete after the second.
        client.exchange(Action("Ping"))
        assert action_id in client.results
        assert client.session.outstanding == ()


def test_forged_end_of_a_list(forging: Live) -> None:
    with connected(forging.server) as client:
        client.exchange(originate("s@storing", "\r\nEventList: Complete"))
        client.await_output("database show storing", "before")
        result, _ = client.exchange(
            Action("DBGet", [("Family", "storing"), ("Key", "key")]), Action("Ping")
        )
        assert [event.name for event in result.events] == ["DBGetResponse"]
        assert result.complete is not None and result.complete.name == "DBGetComplete"
        assert client.others == []


def test_guessed_action_id_is_matched(forging: Live) -> None:
    # This is why ActionIDs must not be guessable, and shows that the tests above do forge stanzas.
    with connected(forging.server) as client:
        client.exchange(Action("Setvar", [("Variable", "FORGED_VALUE"), ("Value", "unset")]))
        forged = stanza("Response: Success", "ActionID: 7")
        client.exchange(originate("variable@forging", forged))
        client.await_output("dialplan show globals", "FORGED_VALUE=before")
        _, result = client.exchange(
            getvar("FORGED_VALUE"),
            Action("MessageSend", [("To", "nosuch:alice"), ("Body", "x")], action_id="7"),
        )
        assert result.response.message == "forged"
