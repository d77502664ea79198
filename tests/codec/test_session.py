"""Session: login, matching of responses to actions, lists, limits, and the end of the stream."""

from __future__ import annotations

import hashlib
import random
import time
import tracemalloc
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple

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
from tests.strategies import bytewise, cut, cuts, drain, feed, outcome, streams

ENTROPY = b"0123456789abcdef"
FORGED = Response("Error", {"Message": "forged"})


class Server:
    """A server's connection, which accepts the login."""

    def __init__(self, version: str = "5.0.4") -> None:
        self.connection = Connection(Role.SERVER)
        self.greeting = self.connection.send(Banner(version))

    def read(self, data: bytes) -> List[Action]:
        seen = feed(self.connection, data)
        assert all(type(action) is Action for action in seen), seen
        return seen

    def log_in(self, session: Session) -> LoggedIn:
        """Complete the login of a session, by either mechanism."""
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
            response = Response("Success", headers, action_id=action.action_id)
            seen = feed(session, self.connection.send(response))
        (logged_in,) = seen
        assert isinstance(logged_in, LoggedIn)
        return logged_in


def new_session(secret: str = "geheim", **options: Any) -> Session:
    return Session("joe", secret, **{"entropy": ENTROPY, **options})


def logged_in(version: str = "5.0.4", **options: Any) -> Session:
    session = new_session(**options)
    Server(version).log_in(session)
    return session


def send(session: Session, name: str = "Ping", action_id: Optional[str] = None) -> str:
    """Send an action and return its ActionID."""
    sent = session.send(Action(name, action_id=action_id)).action_id
    assert sent is not None
    return sent


def list_start(action_id: str) -> Response:
    return Response("Success", {"EventList": "start"}, action_id=action_id)


def list_end(action_id: str, word: str = "Complete") -> Event:
    return Event("End", {"EventList": word}, action_id=action_id)


# ---- login ----


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_login(mechanism: str) -> None:
    session = new_session(mechanism=mechanism, max_outstanding=1)
    assert session.banner is None and not session.logged_in and session.data_to_send() == b""
    assert repr(session) == "<Session banner logged_in=False outstanding=0>"
    result = Server().log_in(session)
    assert session.logged_in and session.banner == result.banner == Banner("5.0.4")
    assert result.response.name == "Success" and session.outstanding == ()
    assert repr(result).startswith("LoggedIn(banner=<Banner 5.0.4>, response=<Response ")
    assert session.data_to_send() == b"" and session.next_event() is NEED_DATA
    send(session)
    assert repr(session) == "<Session open logged_in=True outstanding=1>"


def test_data_to_send_returns_all_unsent_data() -> None:
    session, other, server = new_session(), new_session(), Server()
    feed(session, server.greeting)
    first = session.data_to_send()
    (challenge,) = server.read(first)
    response = Response("Success", {"Challenge": "1"}, action_id=challenge.action_id).wire
    feed(other, server.greeting + response)
    feed(session, response)
    assert other.data_to_send() == first + session.data_to_send()


def test_failed_login() -> None:
    session, server = new_session("wrong", mechanism=PLAIN), Server()
    feed(session, server.greeting)
    (action,) = server.read(session.data_to_send())
    assert action.headers["Events"] == "off"
    failure = Response("Error", {"Message": "Authentication failed"}, action_id=action.action_id)
    session.receive_data(failure.wire)
    with pytest.raises(LoginFailed) as caught:
        session.next_event()
    assert caught.value.server_message == "Authentication failed"
    assert caught.value.action_id == action.action_id and not session.logged_in
    session.receive_eof()
    assert drain(session) == [EndOfStream(0)]


@pytest.mark.parametrize("mechanism", [MD5, PLAIN])
def test_login_responses_without_action_id(mechanism: str) -> None:
    session = new_session(mechanism=mechanism)
    seen = feed(session, Server().greeting)
    for headers in [{"Challenge": "1"}, {}] if mechanism == MD5 else [{}]:
        assert seen == [] and session.data_to_send()
        seen = feed(session, Response("Success", headers).wire)
    assert isinstance(seen[0], LoggedIn)


def test_unrelated_messages_do_not_disturb_login() -> None:
    session, server = new_session(events="on"), Server()
    feed(session, server.greeting)
    (action,) = server.read(session.data_to_send())
    other = Response("Success", action_id="other")
    unrelated: List[Any] = [Event("X"), other, UnknownMessage({"A": "b"})]
    assert feed(session, b"".join(message.wire for message in unrelated)) == unrelated
    assert session.data_to_send() == b""
    response = Response("Success", {"Challenge": "1"}, action_id=action.action_id)
    assert feed(session, response.wire) == []
    (login,) = server.read(session.data_to_send())
    assert login.headers["Events"] == "on" and login.action_id != action.action_id
    # A response without ActionID may be forged in a value of the event before it.
    forged = Response("Success", {"Message": "Authentication accepted"})
    assert feed(session, Event("X").wire + forged.wire) == [Event("X"), forged]
    assert not session.logged_in


@pytest.mark.parametrize(
    "options, limit, actual", [({"entropy": b"x" * 15}, 16, 15), ({"max_outstanding": 0}, 1, 0)]
)
def test_invalid_options(options: Dict[str, Any], limit: int, actual: int) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        new_session(**options)
    assert [caught.value.field] == list(options)
    assert (caught.value.limit, caught.value.actual) == (limit, actual)


# ---- ActionIDs ----


def test_action_ids_are_unique_and_depend_on_entropy_alone() -> None:
    def ids(entropy: bytes) -> List[str]:
        session = logged_in(entropy=entropy)
        return [send(session) for _ in range(300)]

    one = ids(ENTROPY)
    assert len(set(one)) == 300 and ids(ENTROPY) == one
    for other in (ids(ENTROPY[:-1] + b"g"), ids(ENTROPY + b"x"), ids(ENTROPY + b"\0")):
        assert not set(one) & set(other)
    assert all(len(bytes.fromhex(action_id)) >= 16 for action_id in one)
    # Neither a counter nor the entropy itself is visible in them.
    assert not any(a[:8] == b[:8] for a, b in zip(one, one[1:]))
    assert not any(ENTROPY.hex()[:8] in action_id for action_id in one)


def test_send_keeps_type_and_action_id() -> None:
    session = logged_in()
    own = Action("Ping", action_id="mine")
    assert session.send(own) is own and session.outstanding == ("mine",)
    message = session.send(MessageSend("pjsip:alice", "hello"))
    assert type(message) is MessageSend and message.to == "pjsip:alice"
    assert list(session.outstanding) == ["mine", message.action_id]


def test_rejected_action_changes_nothing() -> None:
    session = logged_in()
    with pytest.raises(TypeError):
        session.send("Ping")  # type: ignore[type-var]
    actions: List[Any] = [Event("X"), Action("X", [("A", str(number)) for number in range(127)])]
    for action in actions:
        with pytest.raises(LocalProtocolError) as caught:
            session.send(action)
        assert isinstance(caught.value, TooManyLines) == isinstance(action, Action)
    assert session.outstanding == () and session.data_to_send() == b""


@pytest.mark.parametrize("reason", ["login", "closed", "logoff", " LOGOFF", "eof", "error"])
def test_no_action_is_sent_before_login_or_after_the_end(reason: str) -> None:
    session = logged_in(max_stanza=1000)
    if reason == "login":
        session = new_session()
        feed(session, Server().greeting)
    elif reason in ("eof", "closed"):
        session = session if reason == "eof" else new_session()
        session.receive_eof()
        assert drain(session) == [EndOfStream(0)]
    elif reason == "error":
        session.receive_data(b"x" * 2000)
        with pytest.raises(RemoteProtocolError):
            drain(session)
    else:
        send(session, reason)
    before = session.outstanding
    with pytest.raises(LocalProtocolError):
        send(session)
    assert session.outstanding == before


@pytest.mark.parametrize("version, known", [("1.3", False), ("2.10.5", False), ("5.0.4", True)])
def test_destination_depends_on_version(version: str, known: bool) -> None:
    session = logged_in(version)
    message = MessageSend("sip:zoe@e", "x", destination="pjsip:a", action_id="7")
    if known:
        assert session.send(message) is message
        return
    with pytest.raises(InvalidAddress) as caught:
        session.send(message)
    assert (caught.value.field, caught.value.action_id) == ("Destination", "7")
    assert session.outstanding == () and session.send(MessageSend("pjsip:a", "x"))


# ---- responses ----


@pytest.mark.parametrize(
    "before",
    [
        Event("X"),
        UnknownMessage({"A": "b"}),
        Response("Success", {"Value": "a"}, action_id="other"),
        Response("Success", {"Variable": "X", "Value": "a"}, action_id="1"),
    ],
)
def test_response_without_action_id_after_untrusted_value_is_not_matched(before: Any) -> None:
    session = logged_in()
    send(session, "Getvar", "1")
    ping = send(session)
    # Any value can hold two line breaks and the forged stanza.
    result, forged = feed(session, before.wire + FORGED.wire)
    assert result in (before, ActionResult("1", before)) and forged == FORGED
    assert session.outstanding[-1] == ping


def test_overtaken_action_gets_no_response_without_action_id() -> None:
    session = logged_in()
    lost, one, two = (send(session) for _ in range(3))
    # Asterisk 11 returns raw text, without a Response, to some actions.
    raw = b"default has 0 calls\r\n\r\n"
    seen = feed(session, raw + Response("Success", action_id=one).wire)
    assert [type(event) for event in seen] == [UnknownMessage, ActionResult]
    (result,) = feed(session, Response("Error", {"Message": "no"}).wire)
    assert result.action_id == two and list(session.outstanding) == [lost]
    assert feed(session, Response("Error").wire) == [Response("Error")]
    (late,) = feed(session, Response("Success", action_id=lost).wire)
    assert late.action_id == lost and session.outstanding == ()


@pytest.mark.parametrize("overtaken_first", [False, True])
def test_abandoned_action_is_forgotten_when_a_later_one_gets_its_response(
    overtaken_first: bool,
) -> None:
    session = logged_in("1.3", max_outstanding=2)
    for _ in range(10):
        # Asterisk 11 returns raw text, without a Response, to some actions.
        queues = send(session, "Queues")
        ping = send(session)
        if not overtaken_first:
            session.abandon(queues)
            with pytest.raises(LocalProtocolError) as caught:
                send(session, action_id="x")
            assert (caught.value.limit, caught.value.actual) == (2, 2)
        pong = Response("Success", {"Ping": "Pong"}, action_id=ping)
        assert feed(session, b"No queues.\r\n\r\n" + pong.wire)[1:] == [ActionResult(ping, pong)]
        if overtaken_first:
            assert session.outstanding == (queues,)
            session.abandon(queues)
        assert session.outstanding == ()
    # A late response belongs to no action, and makes no later one trusted.
    waiting = send(session)
    late = Response("Success", action_id=queues)
    assert feed(session, late.wire + Response("Error").wire) == [late, Response("Error")]
    assert session.outstanding == (waiting,)


def test_actions_that_are_not_abandoned_are_not_forgotten() -> None:
    session = logged_in(max_outstanding=3)
    one, two, three = (send(session) for _ in range(3))
    session.abandon(three)
    assert [x.action_id for x in feed(session, Response("Success", action_id=two).wire)] == [two]
    assert session.outstanding == (one,)
    # The abandoned action is later than the one with a response, so its own is still ignored.
    assert feed(session, Response("Success", action_id=three).wire) == []
    assert [x.action_id for x in feed(session, Response("Success", action_id=one).wire)] == [one]


@pytest.mark.parametrize("cancelled", [False, True])
def test_reused_action_id_does_not_count_as_overtaken(cancelled: bool) -> None:
    session = logged_in()
    send(session, action_id="a")
    send(session, action_id="b")
    feed(session, Response("Success", action_id="b").wire)
    if cancelled:
        session.cancel("a")
    else:
        feed(session, Response("Success", action_id="a").wire)
    send(session, action_id="a")
    (result,) = feed(session, Response("Error").wire)
    assert result.action_id == "a"


def test_no_response_is_expected_for_a_cancelled_action() -> None:
    session = logged_in(max_outstanding=3)
    one, two, three = (send(session) for _ in range(3))
    session.cancel(two)
    session.cancel("unknown")
    assert session.outstanding == (one, three)
    send(session, action_id=two)
    results = feed(session, Response("Error").wire * 3)
    assert [result.action_id for result in results] == [one, three, two]


def test_forged_follows_header_does_not_stall_session() -> None:
    forged = b"Event: UserEvent\r\nText: hi\r\n\r\nResponse: Follows\r\nPrivilege: Command\r\n"
    for more in (b"", b"ActionID: 7\r\n", b"x\r\n"):
        session = logged_in("1.3")
        command, ping = send(session, "Command"), send(session)
        seen = feed(session, forged + more + b"\r\n")
        assert not any(isinstance(event, ActionResult) for event in seen)
        text = Response("Follows", {"Privilege": "Command"}, action_id=command, output=["a", ""])
        pong = Response("Success", {"Ping": "Pong"}, action_id=ping)
        first, second = feed(session, text.wire + pong.wire)
        assert (first.action_id, first.response.output) == (command, ("a", ""))
        assert second.action_id == ping


# ---- lists ----


@pytest.mark.parametrize(
    "version, start, is_list",
    [
        ("5.0.4", "Response: Success\r\nEventList: start\r\nActionID: 7", True),
        ("5.0.4", "Response: Success\r\nActionID: 7\r\nEventList: Start\r\nMessage: x", True),
        ("5.0.4", "Response: Success\r\nActionID: 7\r\nPrivilege: x\r\neventlist: START", True),
        ("5.0.4", "Response: Success\r\nActionID: 7\r\nValue: a\r\nEventList: start", False),
        ("5.0.4", "Response: Success\r\nActionID: 7\r\nPrivilege: EventList", False),
        ("5.0.4", "Response: Success\r\nActionID: 7\r\nMessage: will follow", False),
        # Asterisk 11 announces some lists in the Message only.
        ("1.3", "Response: Success\r\nActionID: 7\r\nMessage: Status will follow", True),
        ("1.3", "Response: Success\r\nActionID: 7\r\nMessage: An EventList will follow", True),
        ("1.3", "Response: Success\r\nActionID: 7\r\nMessage: x", False),
        ("1.3", "Response: Error\r\nActionID: 7\r\nMessage: will follow", False),
        ("1.3", "Response: Success\r\nActionID: 7\r\nValue: x\r\nMessage: will follow", False),
    ],
)
def test_start_of_list(version: str, start: str, is_list: bool) -> None:
    session = logged_in(version)
    send(session, action_id="7")
    response = Response.from_wire(start.encode() + b"\r\n\r\n")
    item, closing = Event("Status", action_id="7"), Event("StatusComplete", action_id="7")
    if version != "1.3":
        headers = {"Privilege": "x", "EventList": "Complete"}
        closing = Event("End", headers, action_id="7")
    other, unrelated = Event("Other", action_id="x"), Event("Unrelated")
    events = (item, other, unrelated, closing)
    seen = feed(session, b"".join(message.wire for message in (response, *events)))
    if is_list:
        assert seen == [other, unrelated, ActionResult("7", response, (item,), closing)]
    else:
        assert seen == [ActionResult("7", response), *events]


def test_items_of_a_list_can_end_in_cr_lf_lf() -> None:
    # As those of CoreShowChannelMap in Asterisk 18.19 and 20.4.
    session = logged_in("7.0.3")
    send(session, action_id="7")
    item = b"Event: CoreShowChannelMap\r\nActionID: 7\r\nConnectedChannel: SIP/x\r\n\n"
    data = list_start("7").wire + item * 3 + list_end("7").wire + Event("X").wire
    for chunks in ([data], bytewise(data)):
        result, other = [event for chunk in chunks for event in feed(session, chunk)]
        assert [event.wire for event in result.events] == [item] * 3
        assert (result.complete, other) == (list_end("7"), Event("X"))
        assert result.events[0].headers["ConnectedChannel"] == "SIP/x"
        send(session, action_id="7")


def test_abandoned_list_is_dropped() -> None:
    session = logged_in(max_list_bytes=100)
    one = send(session)
    feed(session, list_start(one).wire)
    session.abandon(one)
    session.abandon("unknown")
    assert session.outstanding == ()
    # Its events do not count towards the limit. The ActionID is in use until the list is complete.
    assert feed(session, Event("Item", action_id=one).wire * 100) == []
    with pytest.raises(LocalProtocolError):
        send(session, action_id=one)
    assert feed(session, list_end(one).wire) == []
    send(session, action_id=one)


def test_abandoned_list_frees_its_events() -> None:
    item = Event("Item", {"A": "x" * 200}, action_id="7")
    size = len(item.wire) + MESSAGE_OVERHEAD
    session = logged_in(max_list_bytes=1000 * size)
    send(session, action_id="7")
    tracemalloc.start()
    try:
        assert feed(session, list_start("7").wire + item.wire * 1000) == []
        before = tracemalloc.get_traced_memory()[0]
        session.abandon("7")
        assert before - tracemalloc.get_traced_memory()[0] > 900 * len(item.wire)
    finally:
        tracemalloc.stop()
    # More of its events, and those of another list, fit into the limit.
    assert feed(session, item.wire * 1000) == []
    send(session, action_id="8")
    feed(session, list_end("7").wire + list_start("8").wire)
    other = Event("Item", {"A": "x" * 200}, action_id="8")
    (result,) = feed(session, other.wire * 1000 + list_end("8").wire)
    assert result.events == (other,) * 1000


def test_abandoned_list_is_forgotten_when_a_later_action_gets_its_response() -> None:
    session = logged_in(max_outstanding=2)
    for _ in range(10):
        one = send(session)
        feed(session, list_start(one).wire)
        session.abandon(one)
        two = send(session)
        item = Event("Item", action_id=one)
        assert feed(session, item.wire) == []
        pong = Response("Success", action_id=two)
        assert feed(session, pong.wire) == [ActionResult(two, pong)]
    assert feed(session, item.wire + list_end(one).wire) == [item, list_end(one)]


def test_limit_of_lists() -> None:
    item = Event("Item", {"A": "x" * 200}, action_id="7")
    limit = 3 * (len(item.wire) + MESSAGE_OVERHEAD)
    session = logged_in(max_list_bytes=limit)
    for word in ("Complete", "COMPLETE", "cancelled"):
        send(session, action_id="7")
        closing = list_end("7", word)
        (result,) = feed(session, list_start("7").wire + item.wire * 3 + closing.wire)
        assert result == ActionResult("7", list_start("7"), (item, item, item), closing)
        assert repr(result).startswith("<ActionResult <Response ")
        assert repr(result).endswith("events=3>")
    send(session, action_id="7")
    assert feed(session, list_start("7").wire + item.wire * 3) == []
    session.receive_data(item.wire)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            session.next_event()
        assert (caught.value.limit, caught.value.action_id) == (limit, "7")


# ---- time and memory ----


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 100, 5000])
def test_limit_of_lists_bounds_memory(size: int) -> None:
    limit = 4 * 1024 * 1024
    session = logged_in(max_list_bytes=limit)
    one = send(session)
    feed(session, list_start(one).wire)
    items = Event("I", {"A": "x" * size}, action_id=one).wire * 100
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            while True:
                feed(session, items)
        assert limit / 2 < tracemalloc.get_traced_memory()[1] < 2 * limit
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_missing_responses_do_not_fill_memory() -> None:
    session = logged_in(max_outstanding=50)
    tracemalloc.start()
    try:
        for _ in range(10_000):
            with suppress(LocalProtocolError):
                session.abandon(send(session))
            feed(session, b"Event: X\r\n\r\n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 and session.outstanding == ()


@pytest.mark.slow
def test_responses_in_any_order_take_linear_time() -> None:
    def seconds(arrange: Callable[[List[str]], List[str]]) -> float:
        session = logged_in(max_outstanding=10_000)
        ids = arrange([send(session) for _ in range(10_000)])
        data = b"".join([Response("Success", action_id=one).wire for one in ids])
        started = time.perf_counter()
        assert [result.action_id for result in feed(session, data)] == ids
        return time.perf_counter() - started

    in_order = seconds(list)
    # In quadratic time the responses would take many times as long.
    assert seconds(lambda ids: ids[::-1]) < 10 * in_order
    assert seconds(lambda ids: random.Random(5).sample(ids, len(ids))) < 10 * in_order
    assert seconds(lambda ids: ids[5_000:] + ids[:5_000]) < 10 * in_order


@pytest.mark.slow
def test_abandoned_actions_do_not_slow_down_the_next() -> None:
    def seconds(abandoned: int) -> float:
        session = logged_in(max_outstanding=50_000)
        for _ in range(abandoned):
            session.abandon(send(session))
        started = time.perf_counter()
        for _ in range(1000):
            one = send(session)
            (result,) = feed(session, Response("Success", action_id=one).wire)
            assert result.action_id == one
        return time.perf_counter() - started

    assert seconds(40_000) < 10 * seconds(0)


# ---- the end of the session ----


def test_cancelled_logoff_does_not_end_the_session() -> None:
    session = logged_in()
    session.cancel(send(session, "Logoff"))
    session.send(Action("UserEvent", {"X": "Logoff"}))
    assert send(session)


# ---- chunks ----


@given(streams(), cuts, st.sampled_from(["1.3", "5.0.4"]))
def test_events_do_not_depend_on_chunking(data: bytes, places: List[int], version: str) -> None:
    def run(chunks: List[bytes]) -> Any:
        session = logged_in(version, max_stanza=250, max_line=120, max_list_bytes=100)
        for action_id in "1", "7", "x", "a-1":
            send(session, "X", action_id)
        return outcome(session, chunks), session.outstanding

    whole = run([data])
    assert run(cut(data, places)) == whole and run(bytewise(data)) == whole


# ---- state machine ----


class SessionMachine(RuleBasedStateMachine):
    """A session and a model of a single-threaded server, which responds in order.

    Stanzas of the server wait in ``wire`` until they are delivered, in any chunks, so that actions
    are sent and abandoned while responses are in flight. Each response has a different Message.
    """

    MAX_OUTSTANDING = 4

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.todo: Deque[str] = deque()  # actions to which the server has not responded, in order
        self.order: Deque[str] = deque()  # those whose response the session may still receive
        self.lists: Set[str] = set()  # actions with a list that the server has not completed
        self.wire: List[Tuple[str, Optional[str], Any]] = []
        # The expected state of the session. False means abandoned.
        self.waiting: Dict[str, bool] = {}
        self.wanted: Dict[str, bool] = {}
        self.collected: Dict[str, List[Any]] = {}
        self.used: Set[str] = set()
        self.trusted = True  # whether the next response without ActionID is the server's own
        self.logoff = self.ended = False

    @initialize(version=st.sampled_from(["1.3", "5.0.4", "11.0.0"]), plain=st.booleans())
    def log_in(self, version: str, plain: bool) -> None:
        self.old = version == "1.3"
        mechanism = PLAIN if plain else MD5
        self.session = new_session(mechanism=mechanism, max_outstanding=self.MAX_OUTSTANDING)
        self.server = Server(version)
        self.server.log_in(self.session)

    def write(self, kind: str, action_id: Optional[str], message: Any) -> None:
        self.wire.append((kind, action_id, message))

    open_only = precondition(lambda self: not self.ended)

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
        except LocalProtocolError as error:
            assert full or self.logoff
            limit = None if self.logoff else self.MAX_OUTSTANDING
            assert error.limit == error.actual == limit
            assert self.logoff or error.action_id == action.action_id or not own
            assert self.session.outstanding == before
            return
        assert not full and not self.logoff
        (read,) = self.server.read(sent.wire)
        assert read.action_id == sent.action_id is not None
        assert sent.action_id not in self.used
        self.used.add(sent.action_id)
        self.todo.append(sent.action_id)
        self.order.append(sent.action_id)
        self.waiting[sent.action_id] = True
        self.logoff = name == "Logoff"

    @open_only
    @precondition(lambda self: bool(self.waiting))
    @rule(data=st.data())
    def send_used_action_id(self, data: st.DataObject) -> None:
        before = self.session.outstanding
        used = data.draw(st.sampled_from(sorted({*self.waiting, *self.collected})))
        with pytest.raises(LocalProtocolError) as caught:
            self.session.send(Action("Ping", action_id=used))
        expected = (None, None) if self.logoff else ("ActionID", used)
        assert (caught.value.field, caught.value.action_id) == expected
        assert self.session.outstanding == before

    @precondition(lambda self: bool(self.waiting or self.collected))
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        action_id = data.draw(st.sampled_from([*self.waiting, *self.collected]))
        self.session.abandon(action_id)
        if action_id in self.order:
            self.waiting[action_id] = False
        elif action_id in self.waiting:
            del self.waiting[action_id]
        else:
            self.wanted[action_id] = False

    # -- the server --

    @precondition(lambda self: not self.ended and bool(self.todo))
    @rule(
        kind=st.sampled_from(["plain", "no id", "value", "list", "raw text"]),
        name=st.sampled_from(["Success", "Error", "Goodbye"]),
    )
    def respond(self, kind: str, name: str) -> None:
        action_id = self.todo.popleft()
        if kind == "raw text":  # as Asterisk 11 responds to some actions
            self.write("other", None, UnknownMessage({"default has 0 calls": ""}))
            return
        self.number += 1
        headers = {"Message": f"message {self.number}"}
        if kind == "value":
            headers.update(Variable="X", Value="a")
        if kind == "list":
            name = "Success"
            headers = {"EventList": "start", **headers}
            if self.old:
                headers = {"Message": f"message {self.number} will follow"}
            self.lists.add(action_id)
        id_written = None if kind == "no id" else action_id
        self.write(kind, action_id, Response(name, headers, action_id=id_written))

    @precondition(lambda self: not self.ended and bool(self.lists))
    @rule(data=st.data(), end=st.booleans())
    def continue_list(self, data: st.DataObject, end: bool) -> None:
        action_id = data.draw(st.sampled_from(sorted(self.lists)))
        if not end:
            self.write("item", action_id, Event("Item", {"For": action_id}, action_id=action_id))
            return
        self.lists.remove(action_id)
        headers = {"ListItems": "1"} if self.old else {"EventList": "Complete"}
        self.write("end", action_id, Event("ListComplete", headers, action_id=action_id))

    @open_only
    @rule(data=st.data())
    def write_event(self, data: st.DataObject) -> None:
        # An event may have the ActionID of an outstanding action, and a Response header.
        ids = st.sampled_from([None, "else", *self.todo])
        event = Event("OriginateResponse", {"Response": "Failure"}, action_id=data.draw(ids))
        self.write("other", None, event)

    @open_only
    @rule(data=st.data())
    def forge(self, data: st.DataObject) -> None:
        # The stanza is part of the last value of an event or of a response. Its author may know
        # earlier ActionIDs, but not those of outstanding actions.
        if not self.wire or self.wire[-1][0] not in ("value", "item", "forged"):
            self.write("other", None, Event("UserEvent", {"X": "a"}))
        action_id = data.draw(st.sampled_from([None, "1", "own-0", *sorted(self.used)]))
        if action_id in self.waiting or action_id in self.collected:
            action_id = None
        headers = {"Message": "forged", "EventList": "start"}
        self.write("forged", None, Response("Success", headers, action_id=action_id))

    @precondition(lambda self: not self.ended and bool(self.wire))
    @rule(places=cuts)
    def deliver(self, places: List[int]) -> None:
        data = b"".join(message.wire for _, _, message in self.wire)
        seen: List[Any] = []
        for chunk in cut(data, places):
            seen += feed(self.session, chunk)
        expected = [result for item in self.wire for result in [self.expect(*item)] if result]
        self.wire.clear()
        assert len(seen) == len(expected), (seen, expected)
        for event, wanted in zip(seen, expected):
            assert event == wanted
            assert isinstance(event, ActionResult) or event.wire == wanted.wire

    @open_only
    @rule(rest=st.sampled_from([b"", b"Resp", b"Event: X\r\n"]), shutdown=st.booleans())
    def end(self, rest: bytes, shutdown: bool) -> None:
        if shutdown:
            self.write("other", None, Event("Shutdown"))
        if self.wire:
            self.deliver([])
        assert feed(self.session, rest) == []
        self.session.receive_eof()
        assert drain(self.session) == [EndOfStream(len(rest))]
        self.ended = True

    @precondition(lambda self: self.ended)
    @rule()
    def stay_ended(self) -> None:
        assert isinstance(self.session.next_event(), EndOfStream)
        with pytest.raises(LocalProtocolError):
            self.session.send(Action("Ping"))

    # -- the expected events --

    def expect(self, kind: str, action_id: Optional[str], message: Any) -> Any:
        """Return the event that a stanza makes, or None, and update the expected state."""
        if kind in ("other", "forged"):
            self.trusted = False
            return message
        assert action_id is not None
        if kind in ("item", "end"):
            self.trusted = False
            if action_id not in self.collected:  # forgotten
                return message
            if kind == "item":
                if self.wanted[action_id]:
                    self.collected[action_id].append(message)
                return None
            first, *items = self.collected.pop(action_id)
            wanted = self.wanted[action_id]
            return ActionResult(action_id, first, tuple(items), message) if wanted else None
        if kind == "no id" and not self.trusted:
            return message  # it may be forged
        for key in [key for key in self.collected if not self.wanted[key]]:
            del self.collected[key]
        earlier = ""
        while earlier != action_id:
            earlier = self.order.popleft()
            if earlier != action_id and not self.waiting[earlier]:
                del self.waiting[earlier]
        wanted = self.waiting.pop(action_id)
        self.trusted = kind in ("plain", "no id") or kind == "list" and self.old
        if kind == "list":
            self.collected[action_id] = [message]
            self.wanted[action_id] = wanted
            return None
        return ActionResult(action_id, message) if wanted else None

    @invariant()
    def outstanding_is_exact_and_bounded(self) -> None:
        lists = [key for key in self.collected if self.wanted[key]]
        waiting = [key for key, wanted in self.waiting.items() if wanted]
        assert self.session.outstanding == tuple(lists + waiting)
        assert len(self.waiting) + len(self.collected) <= self.MAX_OUTSTANDING


def test_session_matches_model() -> None:
    run_state_machine_as_test(SessionMachine)
