"""A session: each answer to the action it answers, whatever the server and its values do."""

from __future__ import annotations

import hashlib
import random
import time
import tracemalloc
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Set, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from amiproto import (
    MD5,
    NEED_DATA,
    PLAIN,
    Action,
    ActionResult,
    Banner,
    Connection,
    EndOfStream,
    Event,
    InvalidAddress,
    LocalProtocolError,
    LoggedIn,
    LoginFailed,
    MessageSend,
    RemoteProtocolError,
    Response,
    Role,
    Session,
    TooManyLines,
    UnknownMessage,
)
from amiproto.limits import MESSAGE_OVERHEAD
from tests.strategies import bytewise, cut, cuts, drain, exactly, feed, opened, streams

ENTROPY = b"0123456789abcdef"
FORGED = b"Response: Error\r\nMessage: forged\r\n\r\n"


class Server:
    """The other end: a connection in the server's role that lets everybody in."""

    def __init__(self, version: str = "5.0.4") -> None:
        self.connection = Connection(Role.SERVER)
        self.greeting = self.connection.send(Banner(version))

    def read(self, data: bytes) -> List[Action]:
        seen = feed(self.connection, data)
        assert all(type(action) is Action for action in seen), seen
        return seen

    def logs_in(self, session: Session) -> LoggedIn:
        """Bring a session through its login, by either mechanism."""
        seen = feed(session, self.greeting)
        while not seen:
            (action,) = self.read(session.data_to_send())
            headers = {"Message": "Authentication accepted"}
            if action.name == "Challenge":
                headers = {"Challenge": "123456"}
            elif "Key" in action.headers:
                assert action.headers["Key"] == hashlib.md5(b"123456geheim").hexdigest()
            else:
                assert action.headers["Secret"] == "geheim"
            answer = Response("Success", headers, action_id=action.action_id)
            seen = feed(session, self.connection.send(answer))
        (logged_in,) = seen
        assert isinstance(logged_in, LoggedIn)
        return logged_in


def logged_in(version: str = "5.0.4", **options: Any) -> Tuple[Session, Server]:
    session, server = Session("joe", "geheim", entropy=ENTROPY, **options), Server(version)
    server.logs_in(session)
    return session, server


def key_of(action: Action) -> str:
    assert action.action_id is not None
    return action.action_id


# ---- login ----


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_login(mechanism: str) -> None:
    session, server = Session("joe", "geheim", entropy=ENTROPY, mechanism=mechanism), Server()
    assert session.banner is None and not session.logged_in and session.data_to_send() == b""
    told = server.logs_in(session)
    assert session.logged_in and session.banner == told.banner == Banner("5.0.4")
    assert told.response.name == "Success" and session.outstanding == ()
    assert repr(told).startswith("LoggedIn(banner=<Banner 5.0.4>, response=<Response ")
    assert session.data_to_send() == b"" and session.next_event() is NEED_DATA


def test_what_is_not_fetched_goes_with_what_comes_after_it() -> None:
    session, server = Session("joe", "geheim", entropy=ENTROPY), Server()
    feed(session, server.greeting)
    first = session.data_to_send()
    (challenge,) = server.read(first)
    answer = Response("Success", {"Challenge": "1"}, action_id=challenge.action_id).wire
    other = Session("joe", "geheim", entropy=ENTROPY)  # which draws the same ActionIDs
    feed(other, server.greeting + answer)
    feed(session, answer)
    assert other.data_to_send() == first + session.data_to_send()


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_a_refused_login_is_an_error_of_its_own(mechanism: str) -> None:
    session, server = Session("joe", "wrong", entropy=ENTROPY, mechanism=mechanism), Server()
    feed(session, server.greeting)
    (action,) = server.read(session.data_to_send())
    if mechanism == MD5:
        feed(session, Response("Success", {"Challenge": "1"}, action_id=action.action_id).wire)
        (action,) = server.read(session.data_to_send())
    refusal = Response("Error", {"Message": "Authentication failed"}, action_id=action.action_id)
    session.receive_data(refusal.wire)
    with pytest.raises(LoginFailed) as caught:
        session.next_event()
    assert caught.value.server_message == "Authentication failed"
    assert caught.value.action_id == action.action_id and not session.logged_in
    assert "wrong" not in repr(session) + str(caught.value)
    session.receive_eof()
    assert drain(session) == [EndOfStream(0)]


@pytest.mark.parametrize("answers", [[{}], [{"Challenge": "1"}, {}]])
def test_answers_to_the_login_may_come_without_action_id(answers: List[Dict[str, str]]) -> None:
    session = Session(
        "joe", "geheim", entropy=ENTROPY, mechanism=MD5 if len(answers) == 2 else PLAIN
    )
    seen = feed(session, Server().greeting)
    for headers in answers:
        assert seen == [] and session.data_to_send()
        seen = feed(session, Response("Success", headers).wire)
    assert isinstance(seen[0], LoggedIn)


def test_what_comes_in_between_does_not_disturb_the_login() -> None:
    session, server = Session("joe", "geheim", entropy=ENTROPY, events="on"), Server()
    feed(session, server.greeting)
    (action,) = server.read(session.data_to_send())
    odd: List[Any] = [
        Event("X"),
        Response("Success", action_id="not-ours"),
        UnknownMessage({"A": "b"}),
    ]
    assert feed(session, b"".join(message.wire for message in odd)) == odd
    assert session.data_to_send() == b""
    answer = Response("Success", {"Challenge": "1"}, action_id=action.action_id)
    assert feed(session, answer.wire) == []
    (login,) = server.read(session.data_to_send())
    assert login.headers["Events"] == "on" and login.action_id != action.action_id
    # Without ActionID, after an event that could hold it, it lets nobody in.
    forged = Response("Success", {"Message": "Authentication accepted"})
    assert feed(session, Event("X").wire + forged.wire) == [Event("X"), forged]
    assert not session.logged_in
    with pytest.raises(LocalProtocolError, match="log in first"):
        session.send(Action("Ping"))


@pytest.mark.parametrize("data", [b"", b"Asterisk Call Manager/5.0.4\r\n", b"Asterisk"])
def test_a_server_that_closes_at_once(data: bytes) -> None:
    session = Session("joe", "geheim", entropy=ENTROPY)
    feed(session, data)
    session.receive_eof()
    (end,) = drain(session)
    assert isinstance(end, EndOfStream) and not session.logged_in


def test_less_randomness_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="entropy has 15 bytes") as caught:
        Session("joe", "geheim", entropy=b"x" * 15)
    error = caught.value
    assert (error.field, error.limit, error.actual) == ("entropy", 16, 15)


def test_a_session_that_could_not_even_log_in_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="max_outstanding is 0") as caught:
        Session("joe", "geheim", entropy=ENTROPY, max_outstanding=0)
    error = caught.value
    assert (error.field, error.limit, error.actual) == ("max_outstanding", 1, 0)


def test_no_repr_shows_a_secret_and_none_is_kept() -> None:
    session = Session("joe", "S3CR3T", entropy=ENTROPY)
    assert repr(session) == "<Session banner logged_in=False outstanding=0>"
    session, _ = logged_in()
    action = session.send(Action("Ping"))
    assert repr(session) == "<Session open logged_in=True outstanding=1>"
    (answer,) = feed(session, Response("Success", {"Secret": "x"}, action_id=action.action_id).wire)
    assert "Secret: '<redacted>'" in repr(answer)
    assert repr(answer).startswith("<ActionResult <Response")


# ---- ActionIDs ----


def test_action_ids_are_unique_and_depend_on_entropy_alone() -> None:
    def ids(entropy: bytes) -> List[str]:
        session = Session("joe", "geheim", entropy=entropy)
        Server().logs_in(session)
        return [key_of(session.send(Action("Ping"))) for _ in range(300)]

    one = ids(ENTROPY)
    assert len(set(one)) == 300 and ids(ENTROPY) == one
    for other in (ids(ENTROPY[:-1] + b"g"), ids(ENTROPY + b"x"), ids(ENTROPY + b"\0")):
        assert not set(one) & set(other)
    assert all(len(bytes.fromhex(action_id)) >= 16 for action_id in one)
    # Nothing of one is in the next: a counter, or the randomness itself, would show.
    assert not any(a[:8] == b[:8] for a, b in zip(one, one[1:]))
    assert not any(ENTROPY.hex()[:8] in action_id for action_id in one)


def test_an_action_may_bring_its_own_action_id_and_any_type() -> None:
    session, _ = logged_in()
    own = Action("Ping", action_id="mine")
    assert session.send(own) is own and session.outstanding == ("mine",)
    message = session.send(MessageSend("pjsip:alice", "hello"))
    assert type(message) is MessageSend and message.to == "pjsip:alice"
    assert list(session.outstanding) == ["mine", key_of(message)]
    with pytest.raises(LocalProtocolError, match="waits for its answer") as caught:
        session.send(Action("Other", action_id="mine"))
    assert (caught.value.field, caught.value.action_id) == ("ActionID", "mine")
    session.abandon("mine")
    with pytest.raises(LocalProtocolError, match="waits for its answer"):
        session.send(Action("Other", action_id="mine"))  # its answer may still come
    assert feed(session, Response("Success", action_id="mine").wire) == []
    assert session.send(own) is own


#: What a session says that is not open to any action.
CLOSED = {
    "state": "log in first: the server answers nothing else before",
    "left": "Logoff was sent; open another session to ask for more",
    "eof": "the server has ended the session; open another",
}


@pytest.mark.parametrize("kind", ["state", "type", "full", "lines", "left", "eof", "error"])
def test_a_refused_send_changes_nothing(kind: str) -> None:
    session, server = logged_in(max_outstanding=2, max_stanza=1000)
    with pytest.raises(TypeError, match="action is an Action, not str"):
        session.send("Ping")  # type: ignore[type-var]
    first = session.send(Action("Ping"))
    action: Any = Action("Other")
    if kind == "type":
        action = Event("X")
    elif kind == "full":
        session.send(Action("Ping"))
    elif kind == "lines":
        action = Action("X", [("A", str(number)) for number in range(127)])
    elif kind == "left":
        session.send(Action("Logoff"))
    elif kind == "eof":
        session.receive_eof()
        drain(session)
    elif kind == "error":
        session.receive_data(b"x" * 2000)
        with pytest.raises(RemoteProtocolError):
            drain(session)
    elif kind == "state":
        session = Session("joe", "geheim", entropy=ENTROPY)
        feed(session, server.greeting)
    before = session.outstanding, session.data_to_send(), repr(session)
    with pytest.raises(LocalProtocolError) as caught:
        session.send(action)
    assert isinstance(caught.value, TooManyLines) == (kind == "lines")
    if kind in CLOSED:
        assert str(caught.value) == CLOSED[kind]
    if kind == "full":
        assert (caught.value.limit, caught.value.actual) == (2, 2)
    assert (session.outstanding, b"", repr(session)) == (before[0], b"", before[2])
    if kind in ("type", "full", "lines"):
        (answer,) = feed(session, Response("Success", action_id=first.action_id).wire)
        assert answer.action_id == first.action_id and session.send(Action("Ping"))


# ---- answers ----


def test_an_answer_carries_the_action_id_of_its_action() -> None:
    session, _ = logged_in()
    actions = [session.send(Action("Ping")) for _ in range(3)]
    responses = [Response("Success", action_id=action.action_id) for action in actions]
    data = b"".join(response.wire + Event("X").wire for response in responses)
    answers = [event for event in feed(session, data) if isinstance(event, ActionResult)]
    assert [answer.action_id for answer in answers] == [action.action_id for action in actions]
    assert [answer.response for answer in answers] == responses
    assert all(answer.events == () and answer.complete is None for answer in answers)
    # What comes a second time answers nothing.
    assert feed(session, responses[0].wire) == [responses[0]]


def test_a_response_without_action_id_answers_the_oldest_action() -> None:
    session, _ = logged_in()
    one, two = (key_of(session.send(Action("Ping"))) for _ in range(2))
    error = Response("Error", {"Message": "Missing action in request"})
    first, second, third = feed(session, error.wire * 3)
    assert (first.action_id, second.action_id) == (one, two) and third == error


@pytest.mark.parametrize(
    "before",
    [
        Event("X"),
        UnknownMessage({"A": "b"}),
        Response("Success", {"Value": "a"}, action_id="not-ours"),
    ],
)
def test_no_id_after_values_that_could_hold_the_answer(before: Any) -> None:
    session, _ = logged_in()
    session.send(Action("Ping"))
    forged = Response.from_wire(FORGED)
    assert feed(session, before.wire + FORGED) == [before, forged]
    assert len(session.outstanding) == 1


def test_no_id_after_an_answer_that_holds_a_value() -> None:
    session, _ = logged_in()
    getvar, ping = (key_of(session.send(Action(name))) for name in ("Getvar", "Ping"))
    # The variable's value is "a", two line ends, and the forged stanza.
    data = b"Response: Success\r\nActionID: %s\r\nVariable: X\r\nValue: a\r\n\r\n%s\r\n\r\n"
    answer, forged = feed(session, data % (getvar.encode(), FORGED[:-4]))
    assert answer.action_id == getvar and forged == Response.from_wire(FORGED)
    assert session.outstanding == (ping,)


def test_an_overtaken_action_gets_no_other_answer() -> None:
    session, _ = logged_in()
    lost, one, two = (key_of(session.send(Action("Ping"))) for _ in range(3))
    # Asterisk 11 answers some actions in raw text, without a Response.
    raw = b"default has 0 calls\r\n\r\n"
    seen = feed(session, raw + Response("Success", action_id=one).wire)
    assert [type(event) for event in seen] == [UnknownMessage, ActionResult]
    (answer,) = feed(session, Response("Error", {"Message": "no"}).wire)
    assert answer.action_id == two and list(session.outstanding) == [lost]
    assert feed(session, Response("Error").wire) == [Response("Error")]
    (late,) = feed(session, Response("Success", action_id=lost).wire)
    assert late.action_id == lost and session.outstanding == ()


def test_an_action_id_used_again_is_not_taken_for_overtaken() -> None:
    session, _ = logged_in()
    for action_id in ("a", "b"):
        session.send(Action("Ping", action_id=action_id))
    for action_id in ("b", "a"):
        feed(session, Response("Success", action_id=action_id).wire)
    session.send(Action("Ping", action_id="a"))
    (answer,) = feed(session, Response("Error").wire)
    assert answer.action_id == "a"


def test_an_abandoned_action_takes_its_answer_along() -> None:
    session, _ = logged_in()
    one, two = (key_of(session.send(Action("Ping"))) for _ in range(2))
    session.abandon(one)
    session.abandon("unknown")
    assert session.outstanding == (two,)
    (answer,) = feed(session, Response("Error").wire * 2)
    assert answer.action_id == two


def test_an_action_that_is_taken_back_waits_no_longer() -> None:
    session, _ = logged_in(max_outstanding=3)
    one, two, three = (key_of(session.send(Action("Ping"))) for _ in range(3))
    session.cancel(two)
    session.cancel("unknown")
    assert session.outstanding == (one, three)
    session.send(Action("Ping", action_id=two))
    answers = feed(session, Response("Error").wire * 3)
    assert [answer.action_id for answer in answers] == [one, three, two]


def test_an_action_taken_back_is_not_taken_for_overtaken() -> None:
    session, _ = logged_in()
    for action_id in ("a", "b"):
        session.send(Action("Ping", action_id=action_id))
    feed(session, Response("Success", action_id="b").wire)
    session.cancel("a")
    session.send(Action("Ping", action_id="a"))
    (answer,) = feed(session, Response("Error").wire)
    assert answer.action_id == "a"


@pytest.mark.parametrize("version, known", [("1.3", False), ("2.10.5", False), ("5.0.4", True)])
def test_a_destination_goes_only_to_servers_that_may_know_it(version: str, known: bool) -> None:
    session, _ = logged_in(version)
    message = MessageSend("pjsip:a", "x", destination="pjsip:a", action_id="7")
    if known:
        assert session.send(message) is message
        return
    with pytest.raises(InvalidAddress, match=f"AMI {version} knows no Destination") as caught:
        session.send(message)
    assert (caught.value.field, caught.value.action_id) == ("Destination", "7")
    assert session.outstanding == () and session.send(MessageSend("pjsip:a", "x"))


def test_an_originate_response_is_no_answer_to_the_originate() -> None:
    session, _ = logged_in()
    one = key_of(session.send(Action("Originate")))
    event = Event("OriginateResponse", {"Response": "Failure"}, action_id=one)
    assert feed(session, event.wire) == [event] and session.outstanding == (one,)


# ---- lists ----


@pytest.mark.parametrize("start", ["start", "Start"])
@pytest.mark.parametrize("end", ["Complete", "cancelled"])
def test_a_list_is_one_answer(start: str, end: str) -> None:
    session, _ = logged_in()
    one, two = (key_of(session.send(Action("PJSIPShowEndpoints"))) for _ in range(2))
    response = Response("Success", {"EventList": start, "Message": "follows"}, action_id=one)
    items = [Event("EndpointList", {"ObjectName": str(n)}, action_id=one) for n in range(3)]
    closing = Event("EndpointListComplete", {"EventList": end, "ListItems": "3"}, action_id=one)
    between = [Event("Other"), Event("Other", action_id="x"), Event("Other", action_id=two)]
    seen = feed(session, response.wire)
    for item, other in zip(items, between):
        seen += feed(session, item.wire + other.wire)
    assert seen == between and session.outstanding == (one, two)
    (answer,) = feed(session, closing.wire)
    assert (answer.action_id, answer.response) == (one, response)
    assert answer.events == tuple(items) and answer.complete == closing
    assert repr(answer).endswith("events=3>") and list(session.outstanding) == [two]
    assert feed(session, closing.wire) == [closing]


def test_old_lists_end_with_an_event_named_complete() -> None:
    session, _ = logged_in("1.3")
    one = key_of(session.send(Action("Status")))
    response = Response("Success", {"Message": "Channel status will follow"}, action_id=one)
    item, closing = Event("Status", action_id=one), Event("StatusComplete", action_id=one)
    (answer,) = feed(session, response.wire + item.wire + closing.wire)
    assert answer.events == (item,) and answer.complete == closing


@pytest.mark.parametrize(
    "version, name, message",
    [("5.0.4", "Success", "will follow"), ("1.3", "Error", "will follow"), ("1.3", "Success", "x")],
)
def test_the_words_alone_start_no_list_elsewhere(version: str, name: str, message: str) -> None:
    session, _ = logged_in(version)
    one = key_of(session.send(Action("X")))
    (answer,) = feed(session, Response(name, {"Message": message}, action_id=one).wire)
    assert answer.complete is None


def test_a_value_that_says_eventlist_starts_no_list() -> None:
    session, _ = logged_in("1.3")
    one = key_of(session.send(Action("X")))
    headers = {"Value": "EventList: start", "Message": "will follow"}
    (answer,) = feed(session, Response("Success", headers, action_id=one).wire)
    assert answer.complete is None


def test_an_abandoned_list_is_dropped_whole() -> None:
    session, _ = logged_in(max_list_bytes=100)
    one = key_of(session.send(Action("X")))
    start = Response("Success", {"EventList": "start"}, action_id=one)
    feed(session, start.wire)
    session.abandon(one)
    assert session.outstanding == ()
    # Its events count for nothing, and the ActionID is taken until it is complete.
    assert feed(session, Event("Item", action_id=one).wire * 100) == []
    with pytest.raises(LocalProtocolError):
        session.send(Action("X", action_id=one))
    assert feed(session, Event("End", {"EventList": "Complete"}, action_id=one).wire) == []
    session.send(Action("X", action_id=one))


def test_a_list_that_is_not_complete_counts_as_outstanding() -> None:
    session, _ = logged_in(max_outstanding=2)
    one = key_of(session.send(Action("X")))
    feed(session, Response("Success", {"EventList": "start"}, action_id=one).wire)
    session.send(Action("Ping"))
    with pytest.raises(LocalProtocolError, match="2 actions wait") as caught:
        session.send(Action("Ping", action_id="3"))
    error = caught.value
    assert (error.limit, error.actual, error.action_id) == (2, 2, "3")


@pytest.mark.parametrize(
    "start",
    [
        b"Response: Success\r\nEventList: start\r\nActionID: 7\r\n\r\n",
        b"Response: Success\r\nActionID: 7\r\nEventList: start\r\nMessage: x\r\n\r\n",
        b"Response: Success\r\nActionID: 7\r\nPrivilege: all\r\neventlist: START\r\n\r\n",
    ],
)
def test_a_list_starts_where_the_servers_own_headers_say_so(start: bytes) -> None:
    session, _ = logged_in()
    session.send(Action("X", action_id="7"))
    closing = b"Event: End\r\nActionID: 7\r\nPrivilege: x\r\nEventList: Complete\r\n\r\n"
    (answer,) = feed(session, start + closing)
    assert isinstance(answer, ActionResult) and answer.complete == Event.from_wire(closing)


def test_an_eventlist_below_a_value_is_part_of_it() -> None:
    session, _ = logged_in()
    session.send(Action("X", action_id="7"))
    headers = {"Value": "a", "EventList": "start"}
    (answer,) = feed(session, Response("Success", headers, action_id="7").wire)
    assert isinstance(answer, ActionResult) and answer.complete is None


def test_words_about_an_eventlist_are_words() -> None:
    session, _ = logged_in("1.3")
    session.send(Action("X", action_id="7"))
    start = Response("Success", {"Message": "An EventList will follow"}, action_id="7")
    closing = Event("XComplete", action_id="7")
    (answer,) = feed(session, start.wire + closing.wire)
    assert isinstance(answer, ActionResult) and answer.complete == closing


def test_a_list_is_none_where_only_a_value_says_so() -> None:
    session, _ = logged_in()
    one = key_of(session.send(Action("X")))
    (answer,) = feed(session, Response("Success", {"Privilege": "EventList"}, action_id=one).wire)
    assert isinstance(answer, ActionResult) and answer.complete is None


def test_lists_are_bounded() -> None:
    session, _ = logged_in(max_list_bytes=1500)
    for _ in range(3):
        one = key_of(session.send(Action("X")))
        start = Response("Success", {"EventList": "start"}, action_id=one)
        item = Event("Item", {"A": "x" * 200}, action_id=one)
        closing = Event("End", {"EventList": "Complete"}, action_id=one)
        (answer,) = feed(session, start.wire + item.wire * 3 + closing.wire)
        assert len(answer.events) == 3
    one = key_of(session.send(Action("X")))
    start = Response("Success", {"EventList": "start"}, action_id=one)
    session.receive_data(start.wire + Event("I", {"A": "x" * 200}, action_id=one).wire * 5)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="take over 1500 bytes") as caught:
            drain(session)
        assert (caught.value.limit, caught.value.action_id) == (1500, one)


def test_a_list_may_take_just_the_limit() -> None:
    item = Event("Item", action_id="7")
    limit = 3 * (len(item.wire) + MESSAGE_OVERHEAD)
    start = Response("Success", {"EventList": "start"}, action_id="7")
    session, _ = logged_in(max_list_bytes=limit)
    session.send(Action("X", action_id="7"))
    assert feed(session, start.wire + item.wire * 3) == []
    session.receive_data(item.wire)
    with pytest.raises(RemoteProtocolError, match=f"take over {limit} bytes"):
        session.next_event()


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 100, 5000])
def test_an_endless_list_costs_what_the_limit_says(size: int) -> None:
    limit = 4 * 1024 * 1024
    session, _ = logged_in(max_list_bytes=limit)
    one = key_of(session.send(Action("X")))
    feed(session, Response("Success", {"EventList": "start"}, action_id=one).wire)
    items = Event("I", {"A": "x" * size}, action_id=one).wire * 100
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="lists take over"):
            while True:
                feed(session, items)
        assert limit / 2 < tracemalloc.get_traced_memory()[1] < 2 * limit
    finally:
        tracemalloc.stop()


def answers_in(order: str, count: int) -> float:
    """Seconds in which a session pairs so many answers that come in that order."""
    session, _ = logged_in(max_outstanding=count)
    ids = [key_of(session.send(Action("Ping"))) for _ in range(count)]
    if order == "reverse":
        ids.reverse()
    elif order == "random":
        random.Random(5).shuffle(ids)
    elif order == "inside out":
        ids = ids[count // 2 :] + ids[: count // 2]
    data = b"".join([Response("Success", action_id=one).wire for one in ids])
    started = time.perf_counter()
    assert [answer.action_id for answer in feed(session, data)] == ids
    return time.perf_counter() - started


@pytest.mark.slow
def test_answers_in_any_order_take_linear_time() -> None:
    # Quadratic, 15,000 would take eight seconds, and the right order takes half a second.
    in_order = answers_in("right", 15_000)
    for order in ("reverse", "random", "inside out"):
        assert answers_in(order, 15_000) < 10 * in_order, order


@pytest.mark.slow
def test_abandoned_actions_do_not_slow_down_the_next() -> None:
    def seconds(abandoned: int) -> float:
        session, server = logged_in(max_outstanding=50_000)
        for _ in range(abandoned):
            session.abandon(key_of(session.send(Action("Ping"))))
        started = time.perf_counter()
        for _ in range(1000):
            one = key_of(session.send(Action("Ping")))
            (answer,) = feed(session, Response("Success", action_id=one).wire)
            assert answer.action_id == one
        return time.perf_counter() - started

    assert seconds(40_000) < 10 * seconds(0)


def test_a_forged_start_of_raw_text_makes_nobody_deaf() -> None:
    forged = b"Event: UserEvent\r\nText: hi\r\n\r\nResponse: Follows\r\nPrivilege: Command\r\n"
    for more in (b"", b"ActionID: 7\r\n", b"x\r\n"):
        session, _ = logged_in("1.3")
        command = key_of(session.send(Action("Command", {"Command": "x"})))
        ping = key_of(session.send(Action("Ping")))
        seen = feed(session, forged + more + b"\r\n")
        assert not any(isinstance(event, ActionResult) for event in seen)
        text = Response("Follows", {"Privilege": "Command"}, action_id=command, output=["a", ""])
        pong = Response("Success", {"Ping": "Pong"}, action_id=ping)
        first, second = feed(session, text.wire + pong.wire)
        assert (first.action_id, first.response.output) == (command, ("a", ""))
        assert second.action_id == ping


@pytest.mark.slow
def test_a_server_that_never_answers_fills_no_memory() -> None:
    session, _ = logged_in(max_outstanding=50)
    tracemalloc.start()
    try:
        for _ in range(20_000):
            try:
                session.abandon(key_of(session.send(Action("Ping"))))
            except LocalProtocolError:
                pass
            feed(session, b"Event: X\r\n\r\n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000 and session.outstanding == ()


# ---- the end ----


def test_goodbye_then_the_end() -> None:
    session, _ = logged_in()
    logoff = session.send(Action("LOGOFF"))
    with pytest.raises(LocalProtocolError, match="Logoff was sent"):
        session.send(Action("Ping"))
    goodbye = Response("Goodbye", {"Message": "Thanks for all the fish."})
    session.receive_data(goodbye.wire)
    session.receive_eof()
    answer, end = drain(session)
    assert answer.action_id == logoff.action_id and answer.response == goodbye
    assert end == EndOfStream(0)


def test_logoff_in_a_value_is_no_logoff() -> None:
    session, _ = logged_in()
    session.send(Action("UserEvent", {"X": "Logoff"}))
    session.send(Action("Ping"))
    session.send(Action(" logoff"))
    with pytest.raises(LocalProtocolError, match="Logoff was sent"):
        session.send(Action("Ping"))


@pytest.mark.parametrize("rest", [b"", b"Response: Succ"])
def test_a_shutdown_leaves_actions_without_an_answer(rest: bytes) -> None:
    session, _ = logged_in()
    one = key_of(session.send(Action("Ping")))
    shutdown = Event("Shutdown", {"Shutdown": "Cleanly"})
    seen = feed(session, shutdown.wire + rest)
    session.receive_eof()
    assert seen + drain(session) == [shutdown, EndOfStream(len(rest))]
    assert session.outstanding == (one,)


# ---- any cutting ----


@given(streams(), cuts, st.sampled_from(["1.3", "5.0.4"]))
def test_any_cutting_gives_the_same(data: bytes, places: List[int], version: str) -> None:
    def run(chunks: List[bytes]) -> List[Any]:
        session, _ = logged_in(version, max_stanza=250, max_line=120, max_list_bytes=100)
        for name in "1", "7", "x", "a-1":
            session.send(Action("X", action_id=name))
        seen: List[Any] = []
        try:
            for chunk in chunks:
                session.receive_data(chunk)
                while True:
                    event = session.next_event()
                    if event is NEED_DATA:
                        break
                    if isinstance(event, ActionResult):
                        items = [*map(exactly, event.events), exactly(event.complete)]
                        seen.append((event.action_id, exactly(event.response), items))
                    else:
                        seen.append(exactly(event))
        except RemoteProtocolError as error:
            seen.append((type(error), vars(error)))
        return [*seen, session.outstanding]

    whole = run([data])
    assert run(cut(data, places)) == whole and run(bytewise(data)) == whole


# ---- the machine ----


class SessionMachine(RuleBasedStateMachine):
    """A session against a model of a server: one thread that answers strictly in order.

    Every response of the server has a number in its Message; ``truth`` knows whose it is. What the
    server writes waits in ``wire`` until it is delivered, cut anywhere, so that actions are sent
    and abandoned while answers are under way.
    """

    MAX_OUTSTANDING = 4

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.truth: Dict[str, str] = {}
        self.todo: Deque[str] = deque()  # not answered yet, in the order the server will
        self.lists: Set[str] = set()  # answered with a list that the server has not completed
        self.wire: List[Tuple[str, Optional[str], Any]] = []
        # The session as it ought to be: what waits, and what is collected.
        self.waiting: Dict[str, bool] = {}
        self.collected: Dict[str, List[Any]] = {}
        self.wanted: Dict[str, bool] = {}
        self.overtaken: Set[str] = set()
        self.answered: Set[str] = set()
        self.pairs = True  # whether the next response without ActionID is the server's own
        self.leaving = self.ended = False

    @initialize(version=st.sampled_from(["1.3", "5.0.4", "11.0.0"]), plain=st.booleans())
    def login(self, version: str, plain: bool) -> None:
        self.old = version == "1.3"
        mechanism = PLAIN if plain else MD5
        self.session, self.server = logged_in(
            version, mechanism=mechanism, max_outstanding=self.MAX_OUTSTANDING
        )

    def tag(self, action_id: str) -> str:
        self.number += 1
        tag = f"tag {self.number}"
        self.truth[tag] = action_id
        return tag

    def write(self, kind: str, action_id: Optional[str], message: Any) -> None:
        self.wire.append((kind, action_id, message))

    open_only = precondition(lambda self: not self.ended)
    has_todo = precondition(lambda self: not self.ended and bool(self.todo))

    # -- the client --

    @open_only
    @rule(own=st.booleans(), name=st.sampled_from(["Ping", "Getvar", "Logoff"]))
    def send(self, own: bool, name: str) -> None:
        self.number += 1
        action = Action(name, action_id=f"own-{self.number}" if own else None)
        before = self.session.outstanding
        full = len(self.waiting) + len(self.collected) >= self.MAX_OUTSTANDING
        try:
            sent = self.session.send(action)
        except LocalProtocolError:
            assert full or self.leaving
            assert self.session.outstanding == before
            return
        assert not full and not self.leaving
        (read,) = self.server.read(sent.wire)
        assert read.action_id == sent.action_id is not None
        assert sent.action_id not in self.truth.values()
        self.todo.append(sent.action_id)
        self.waiting[sent.action_id] = True
        self.leaving = name == "Logoff"

    @open_only
    @precondition(lambda self: bool(self.waiting))
    @rule(data=st.data())
    def send_the_same_action_id(self, data: st.DataObject) -> None:
        before = self.session.outstanding
        used = data.draw(st.sampled_from(sorted({*self.waiting, *self.collected})))
        with pytest.raises(LocalProtocolError):
            self.session.send(Action("Ping", action_id=used))
        assert self.session.outstanding == before

    @precondition(lambda self: bool(self.waiting or self.collected))
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        action_id = data.draw(st.sampled_from([*self.waiting, *self.collected]))
        self.session.abandon(action_id)
        if action_id in self.waiting:
            self.waiting[action_id] = False
        else:
            self.wanted[action_id] = False

    # -- the server --

    @has_todo
    @rule(name=st.sampled_from(["Success", "Error", "Goodbye"]))
    def answers(self, name: str) -> None:
        action_id = self.todo.popleft()
        headers = {"Message": self.tag(action_id)}
        self.write("own", action_id, Response(name, headers, action_id=action_id))

    @has_todo
    @rule()
    def answers_without_action_id(self) -> None:
        action_id = self.todo.popleft()
        self.write("bare", action_id, Response("Error", {"Message": self.tag(action_id)}))

    @has_todo
    @rule(forged=st.booleans(), data=st.data())
    def answers_with_a_value(self, forged: bool, data: st.DataObject) -> None:
        action_id = self.todo.popleft()
        headers = {"Message": self.tag(action_id), "Variable": "X", "Value": "a"}
        self.write("value", action_id, Response("Success", headers, action_id=action_id))
        if forged:
            self.writes_a_forged_stanza(data)

    @has_todo
    @rule()
    def answers_in_raw_text(self) -> None:
        self.todo.popleft()
        self.write("other", None, UnknownMessage({"default has 0 calls": ""}))

    @has_todo
    @rule()
    def starts_a_list(self) -> None:
        action_id = self.todo.popleft()
        message = self.tag(action_id)
        headers = {"EventList": "start", "Message": message}
        if self.old:
            self.truth[f"{message} will follow"] = self.truth.pop(message)
            headers = {"Message": f"{message} will follow"}
        self.lists.add(action_id)
        self.write("list", action_id, Response("Success", headers, action_id=action_id))

    @precondition(lambda self: not self.ended and bool(self.lists))
    @rule(data=st.data(), end=st.booleans())
    def goes_on_with_a_list(self, data: st.DataObject, end: bool) -> None:
        action_id = data.draw(st.sampled_from(sorted(self.lists)))
        if not end:
            self.write("item", action_id, Event("Item", {"For": action_id}, action_id=action_id))
            return
        self.lists.remove(action_id)
        headers = {"ListItems": "1"} if self.old else {"EventList": "Complete"}
        self.write("end", action_id, Event("ListComplete", headers, action_id=action_id))

    @open_only
    @rule(data=st.data())
    def tells_an_event(self, data: st.DataObject) -> None:
        # An event may carry the ActionID of an action that waits, and a Response header.
        ids = st.sampled_from([None, "else", *self.todo])
        event = Event("OriginateResponse", {"Response": "Failure"}, action_id=data.draw(ids))
        self.write("other", None, event)

    @open_only
    @rule(data=st.data())
    def writes_a_forged_stanza(self, data: st.DataObject) -> None:
        # After an event, or an answer with a value, that holds it in its last value. Whoever
        # wrote it can know the ActionIDs of the past, and none of those that wait.
        if not self.wire or self.wire[-1][0] not in ("value", "item", "forged"):
            self.write("other", None, Event("UserEvent", {"X": "a"}))
        action_id = data.draw(st.sampled_from([None, "1", "own-0", *sorted(self.answered)]))
        if action_id in self.waiting or action_id in self.collected:
            action_id = None
        headers = {"Message": "forged", "EventList": "start"}
        self.write("forged", None, Response("Success", headers, action_id=action_id))

    @precondition(lambda self: not self.ended and bool(self.wire))
    @rule(places=cuts)
    def delivers(self, places: List[int]) -> None:
        data = b"".join(message.wire for _, _, message in self.wire)
        seen: List[Any] = []
        for chunk in cut(data, places):
            seen += feed(self.session, chunk)
        expected = [result for item in self.wire for result in [self.expect(*item)] if result]
        self.wire.clear()
        assert len(seen) == len(expected), (seen, expected)
        for event, wanted in zip(seen, expected):
            if isinstance(wanted, ActionResult):
                self.check_answer(event, wanted)
            else:
                assert type(event) is type(wanted) and event.wire == wanted.wire

    @open_only
    @rule(rest=st.sampled_from([b"", b"Resp", b"Event: X\r\n"]), shutdown=st.booleans())
    def ends(self, rest: bytes, shutdown: bool) -> None:
        if shutdown:
            self.write("other", None, Event("Shutdown"))
        if self.wire:
            self.delivers([])
        assert feed(self.session, rest) == []
        self.session.receive_eof()
        assert drain(self.session) == [EndOfStream(len(rest))]
        self.ended = True

    @precondition(lambda self: self.ended)
    @rule()
    def stays_ended(self) -> None:
        assert isinstance(self.session.next_event(), EndOfStream)
        with pytest.raises(LocalProtocolError):
            self.session.send(Action("Ping"))

    # -- what ought to come of it --

    def expect(self, kind: str, action_id: Optional[str], message: Any) -> Any:
        if kind == "item" or kind == "end":
            self.pairs = False
            assert action_id is not None
            if action_id not in self.collected:
                return message  # its list began before the end of something: not of this session
            if kind == "item":
                if self.wanted[action_id]:
                    self.collected[action_id].append(message)
                return None
            first, *items = self.collected.pop(action_id)
            wanted = self.wanted[action_id]
            return ActionResult(action_id, first, tuple(items), message) if wanted else None
        if kind in ("other", "forged"):
            self.pairs = False
            return message
        assert action_id is not None
        if kind == "bare" and not self.pairs:
            return message  # could be forged: nobody gets it
        for older in self.waiting:
            if older == action_id:
                break
            self.overtaken.add(older)
        wanted = self.waiting.pop(action_id)
        self.overtaken.discard(action_id)
        self.answered.add(action_id)
        self.pairs = kind in ("own", "bare") or kind == "list" and self.old
        if kind == "list":
            self.collected[action_id] = [message]
            self.wanted[action_id] = wanted
            return None
        return ActionResult(action_id, message) if wanted else None

    def check_answer(self, event: Any, wanted: ActionResult) -> None:
        assert isinstance(event, ActionResult)
        assert self.truth[event.response.message] == event.action_id == wanted.action_id
        assert event.response == wanted.response
        assert list(event.events) == list(wanted.events) and event.complete == wanted.complete
        assert all(item.headers["For"] == event.action_id for item in event.events)

    @invariant()
    def what_waits_is_known_and_bounded(self) -> None:
        lists = [key for key in self.collected if self.wanted[key]]
        waiting = [key for key, wanted in self.waiting.items() if wanted]
        assert self.session.outstanding == tuple(lists + waiting)
        assert len(self.waiting) + len(self.collected) <= self.MAX_OUTSTANDING


def test_each_answer_goes_to_the_right_action() -> None:
    run_state_machine_as_test(SessionMachine)


# ---- client and server wired to each other ----


@given(
    st.lists(st.sampled_from(["answer", "list", "event", "none"]), max_size=12),
    cuts,
    st.sampled_from([MD5, PLAIN]),
)
def test_a_session_and_a_server_wired_to_each_other(
    plan: List[str], places: List[int], mechanism: str
) -> None:
    session, server = logged_in(mechanism=mechanism)
    sent = [session.send(MessageSend("pjsip:a", f"number {n}")) for n in range(len(plan))]
    read: List[Action] = []
    for chunk in cut(b"".join(action.wire for action in sent), places):
        read += server.read(chunk)
    assert [action.wire for action in read] == [message.wire for message in sent]
    data = b""
    expected = []
    for action, step in zip(read, plan):
        if step == "event":
            data += server.connection.send(Event("Something"))
        if step == "none":
            continue
        expected.append(action.action_id)
        headers = {"EventList": "start"} if step == "list" else {"Message": "yes"}
        answer = Response("Success", headers, action_id=action.action_id)
        data += server.connection.send(answer)
        if step == "list":
            for end in ("", "Complete"):
                item = Event("Item", {"EventList": end}, action_id=action.action_id)
                data += server.connection.send(item)
    seen: List[Any] = []
    for chunk in cut(data, places):
        seen += feed(session, chunk)
    assert [event.action_id for event in seen if isinstance(event, ActionResult)] == expected
    silent = [m.action_id for m, step in zip(sent, plan) if step == "none"]
    assert session.outstanding == tuple(silent)


def test_a_session_reads_what_a_connection_reads() -> None:
    assert feed(opened(Role.CLIENT), Event("X").wire) == feed(logged_in()[0], Event("X").wire)


def test_a_logoff_that_was_taken_back_ends_nothing() -> None:
    session, _ = logged_in()
    logoff = session.send(Action("Logoff"))
    assert logoff.action_id is not None
    session.cancel(logoff.action_id)
    assert session.send(Action("Ping")).name == "Ping"
