"""The codec on what real servers send now: a stream of every kind, and forged stanzas within."""

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
from tests.live.servers import Live

#: A call that is answered late, so that what else goes on is over by then (the application Answer
#: alone takes half a second where no sound comes); and one that stores what Originate gives it.
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

#: Least that a fresh stream has to hold, so that an empty one does not pass.
AT_LEAST = {
    "Banner": 1,
    "Event": 400,
    "Response": 80,
    "UnknownMessage": 2,
    "Response Success": 60,
    "Response Error": 15,
    "Response Goodbye": 1,
    "Event Newchannel": 20,
    "Event Newexten": 40,
    "Event VarSet": 40,
    "Event Hangup": 20,
    "Event DialBegin": 8,
    "Event BridgeEnter": 4,
    "Event OriginateResponse": 8,
    "Event Cdr": 8,
    "Event QueueCallerJoin": 1,
    "Event UserEvent": 11,
    "Event Forged": 1,
    "Event FullyBooted": 1,
    "Event CoreShowChannelsComplete": 2,
    "Event StatusComplete": 3,
    "Event QueueStatusComplete": 2,
    "Event EndpointListComplete": 1,
    "Event DBGetResponse": 2,
    "Event Reload": 1,
}


@pytest.fixture(scope="module")
def forging(live: Live) -> Iterator[Live]:
    """A server of its own, with a queue, more modules, and dialplan that forges stanzas."""
    extra = {**EXTRA, "extensions.conf": EXTRA["extensions.conf"] + _DIALPLAN}
    with AsteriskServer(live.server.place, phone_port=live.phone.port, extra=extra) as server:
        yield Live(server, live.phone)


def test_fresh_stream_is_read_and_written_again(
    forging: Live, record_property: Callable[[str, object], None]
) -> None:
    data = record(forging.server, rounds=1)
    messages, end = captures.decode([data])
    assert end.clean
    found = captures.counts(messages)
    for name, count in found.items():
        record_property(name, count)
    print(
        f"\nAsterisk {forging.server.version}: {len(data)} bytes, {len(messages)} stanzas\n"
        f"{captures.table(found)}"
    )

    # The same bytes again; what is left are blank lines that belong to nothing.
    surplus = captures.surplus(data, messages)
    print(f"{len(surplus):6} surplus blank lines")
    assert len(surplus) < 10
    kept = bytearray(data)
    for position in reversed(surplus):
        del kept[position : position + 2]
    assert captures.encode(messages) == kept
    # Each byte alone, and still the same.
    select_for_retry, _ = captures.decode(data[at : at + 1] for at in range(len(data)))
    assert [(type(one), one.wire) for one in select_for_retry] == [
        (type(one), one.wire) for one in messages
    ]

    # Every stanza has its kind, and there are enough of every kind.
    banner, *stanzas = messages
    assert isinstance(banner, Banner)
    starts = {Event: b"Event: ", Response: b"Response: "}
    orphans = []
    for message in stanzas:
        if isinstance(message, UnknownMessage):
            orphans.append(message.headers.items()[0])
        else:
            assert message.wire.startswith(starts[type(message)])
    assert orphans == [("Neither", "one nor the other"), ("", "no header at all")]
    for name, least in AT_LEAST.items():
        assert found.get(name, 0) >= least, name


class Client:
    """A session on a plain socket, which notes what comes and what waits at that moment."""

    def __init__(self, connection: socket.socket, server: AsteriskServer, events: str) -> None:
        self._socket = connection
        self.session = Session(
            "admin", server.users["admin"], entropy=os.urandom(16), events=events
        )
        self.answers: Dict[str, ActionResult] = {}
        #: Whatever answers nothing, with the ActionIDs that waited when it came.
        self.others: List[Tuple[Message, Tuple[str, ...]]] = []
        self._read_until(lambda: self.session.logged_in)

    def send(self, *actions: Action) -> List[str]:
        """Send all at once; returns their ActionIDs."""
        sent = [self.session.send(action) for action in actions]
        self._socket.sendall(b"".join([action.wire for action in sent]))
        return [action.action_id or "" for action in sent]

    def exchange(self, *actions: Action) -> List[ActionResult]:
        """Send all at once, and return the answers in the order of the actions."""
        ids = self.send(*actions)
        self._read_until(lambda: all(action_id in self.answers for action_id in ids))
        return [self.answers[action_id] for action_id in ids]

    def await_output(self, command: str, text: str) -> None:
        """Return when a command shows what a call has set."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            # Not by Getvar or DBGet, whose answers are what the tests forge.
            (shown,) = self.exchange(Action("Command", [("Command", command)]))
            if any(text in line for line in shown.response.output):
                return
            assert time.monotonic() < deadline, text
            time.sleep(0.02)

    def forged(self) -> List[Tuple[Message, Tuple[str, ...]]]:
        """What came that says of itself that it is forged."""
        return [
            (message, waiting)
            for message, waiting in self.others
            if message.headers.get("Message") == "forged"
        ]

    def _read_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            event = self.session.next_event()
            if isinstance(event, ActionResult):
                assert event.action_id not in self.answers, "answered twice"
                self.answers[event.action_id] = event
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
    # Encoded whole, so that no character of it means anything on its way to the dialplan.
    variables = [("Variable", f"FORGED={quote(forged, safe='')}")] if forged else []
    return Action(
        "Originate",
        [
            ("Channel", f"Local/{channel}"),
            ("Application", "Wait"),
            ("Data", "2"),
            ("Async", wait),
            *variables,
        ],
    )


def stanza(*lines: str) -> str:
    """A forged stanza after the blank line that ends the real one."""
    return "\r\n\r\n" + "\r\n".join([*lines, "Message: forged"])


#: What may be guessed of an ActionID by whoever knows an earlier one and how many came since.
GUESSES: Dict[str, Callable[[str, int], str]] = {
    "none": lambda earlier, since: "",
    "earlier": lambda earlier, since: f"ActionID: {earlier}",
    "counted on": lambda earlier, since: f"ActionID: {int(earlier, 16) + since:032x}",
    "zero": lambda earlier, since: "ActionID: " + "0" * 32,
    "small": lambda earlier, since: "ActionID: 1",
    "empty": lambda earlier, since: "ActionID: ",
}


def forgery(guess: str, earlier: str, since: int) -> Tuple[str, int]:
    """Forged stanzas with that guess, and how many: answers of each kind, and the end of a list."""
    line = GUESSES[guess](earlier, since)
    lines = [line] if line else []
    forged = [
        stanza("Response: Success", *lines),
        stanza("Response: Error", *lines),
        stanza("Event: DBGetComplete", *lines, "EventList: Complete", "ListItems: 0"),
        stanza("Response: Goodbye", *lines),
    ]
    return "".join(forged), len(forged)


each_guess = pytest.mark.parametrize("guess", GUESSES)


def test_value_set_by_breaks_is_no_answer(forging: Live) -> None:
    with connected(forging.server) as client:
        client.exchange(originate("breaks@capture"))
        client.await_output("dialplan show globals", "BROKEN=before")
        first, real, last = client.exchange(
            Action("Ping"),
            getvar("BROKEN"),
            MessageSend(to="pjsip:alice", body="a text"),
        )
        assert real.response.headers.get("Value") == "before"
        assert first.response.headers.get("Ping") == "Pong"
        assert last.response.message == "Message successfully sent"
        assert forging.phone.next_message().body == b"a text"
        ((forged, waiting),) = client.others
        assert forged.wire == b"Response: Success\r\nMessage: after\r\n\r\n"
        assert waiting == (last.action_id,)


@each_guess
def test_forged_in_getvar(forging: Live, guess: str) -> None:
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
        # The first message comes after these, the call, the other marks and the forged value.
        since = len(earlier) + 1 + len(marks) + 1
        text, count = forgery(guess, earlier[0].action_id, since)
        client.exchange(originate("variable@forging", text))
        client.await_output("dialplan show globals", "FORGED_VALUE=before")

        # The forged ones come in the middle, with all of these after them waiting.
        get_marks = [getvar(f"MARK_{number}") for number in range(len(marks))]
        answers = client.exchange(
            *get_marks,
            getvar("FORGED_VALUE"),
            MessageSend(to="pjsip:alice", body="one"),
            getvar("FORGED_VALUE"),
            *get_marks,
            Action("MessageSend", [("To", "nosuch:alice"), ("Body", "x")]),
            Action("DBGet", [("Family", "forging"), ("Key", "real")]),
            Action("Command", [("Command", "core show version")]),
            MessageSend(to="pjsip:alice", body="two"),
        )
        values = [answer.response.headers.get("Value") for answer in answers]
        assert values[:19] == [*marks, "before", None, "before", *marks]
        texts = [answers[position].response.message for position in (9, 19, 21, 22)]
        assert texts == [
            "Message successfully sent",
            "Message technology not found.",
            "Command output follows",
            "Message successfully sent",
        ]
        listed = answers[20]
        assert [event.headers.get("Val") for event in listed.events] == ["stored"]
        assert listed.complete is not None and "Message" not in listed.complete.headers
        assert answers[21].response.output[0].startswith(f"Asterisk {forging.server.version}")
        assert [one.body for one in forging.phone.wait_for(2)] == [b"one", b"two"]

        # Nothing came but the forged ones, as what they are: answers to nothing.
        assert len(client.others) == len(client.forged()) == 2 * count
        assert all(waiting for _, waiting in client.others)
        kinds = [type(message) for message, _ in client.others]
        assert kinds == [Response, Response, Event, Response] * 2


@each_guess
def test_forged_in_events_while_a_message_waits(forging: Live, guess: str) -> None:
    with connected(forging.server, events="on") as client:
        (ping,) = client.exchange(Action("Ping"))
        text, count = forgery(guess, ping.action_id, since=3)
        # The server carries out one action after the other and tells events in between. The slow
        # call gives the first one time to run, so that its events come before the messages' turn.
        answers = client.exchange(
            originate("appdata@forging", text, "false"),
            originate("s@slow", wait="false"),
            MessageSend(to="pjsip:alice", body="one"),
            getvar("GLOBAL(FORGING_UNSET)"),
            Action("MessageSend", [("To", "nosuch:alice"), ("Body", "x")]),
            MessageSend(to="pjsip:alice", body="two"),
        )
        assert [answer.response.message for answer in answers] == [
            "Originate successfully queued",
            "Originate successfully queued",
            "Message successfully sent",
            "",
            "Message technology not found.",
            "Message successfully sent",
        ]
        assert [one.body for one in forging.phone.wait_for(2)] == [b"one", b"two"]
        (newexten,) = [
            message
            for message, _ in client.others
            if isinstance(message, Event) and message.headers.get("AppData") == "before"
        ]
        assert newexten.name == "Newexten"
        forged = client.forged()
        assert len(forged) == count
        waited = [answers[position].action_id for position in (2, 3, 4, 5)]
        for message, waiting in forged:
            assert not isinstance(message, UnknownMessage)
            assert set(waited) <= set(waiting), "the messages were answered before"
        # No other response came that answers nothing.
        responses = [message for message, _ in client.others if isinstance(message, Response)]
        assert responses == [message for message, _ in forged if isinstance(message, Response)]


def test_forged_start_of_a_list(forging: Live) -> None:
    with connected(forging.server) as client:
        (action_id,) = client.send(getvar("URIDECODE(before%0D%0AEventList: start)"))
        # Answers come in order, so that with this one the other is there, too.
        client.exchange(Action("Ping"))
        assert action_id in client.answers
        assert client.session.outstanding == ()


def test_forged_end_of_a_list(forging: Live) -> None:
    with connected(forging.server) as client:
        client.exchange(originate("s@storing", "\r\nEventList: Complete"))
        client.await_output("database show storing", "before")
        answer, _ = client.exchange(
            Action("DBGet", [("Family", "storing"), ("Key", "key")]), Action("Ping")
        )
        assert [event.name for event in answer.events] == ["DBGetResponse"]
        assert answer.complete is not None and answer.complete.name == "DBGetComplete"
        assert client.others == []


def test_guessable_action_id_is_taken_in(forging: Live) -> None:
    # Why an ActionID must not be guessable, and proof that the tests above really forge: whoever
    # gives an ActionID of their own choice loses the protection.
    with connected(forging.server) as client:
        client.exchange(Action("Setvar", [("Variable", "FORGED_VALUE"), ("Value", "unset")]))
        forged = stanza("Response: Success", "ActionID: 7")
        client.exchange(originate("variable@forging", forged))
        client.await_output("dialplan show globals", "FORGED_VALUE=before")
        _, taken_in = client.exchange(
            getvar("FORGED_VALUE"),
            Action("MessageSend", [("To", "nosuch:alice"), ("Body", "x")], action_id="7"),
        )
        assert taken_in.response.message == "forged"
