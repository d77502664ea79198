"""Calls and network faults in random order, compared with a model of the possible outcomes.

A proxy between the client and the loopback server holds responses back or cuts the connection, and
the server sends events at any time. Every outcome must agree with the messages received.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Dict, Iterator, List, Optional, Tuple, Type, Union

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    AMIError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    Event,
    EventOverflow,
    MessageSend,
    NotConnected,
    NotSent,
    Receipt,
    ResponseTimeout,
    SendFailed,
    SendResult,
    SendTimeout,
)
from amiclient.loopback import LoopbackServer
from tests.faults import Proxy, client_of

pytestmark = pytest.mark.slow

#: Timeout of a call that must end by its deadline, and of one that should end earlier.
_SHORT = 0.03
_LONG = 5.0

#: The size of the client's event buffer.
_MAX_EVENTS = 40


class ClientMachine(RuleBasedStateMachine):
    """Calls and faults as rules, and invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.server = LoopbackServer()
        self.server.open()
        self.proxy = Proxy(self.server.port)
        self.client = client_of(self.proxy.port, _LONG, events="user", max_events=_MAX_EVENTS)
        #: The outcome of each message by its text, in the order of sending.
        self.outcomes: Dict[str, str] = {}
        self.action_ids: Dict[str, str] = {}
        #: Whether a rule closed the client: then no call connects.
        self.closed = False
        self.events_sent = 0
        self.last_event = -1
        #: A thread that waits for events.
        self.pool = ThreadPoolExecutor(1)
        self.listener: Optional["Future[None]"] = None
        self.stop_listening = threading.Event()

    # -- The state of the model.

    @property
    def held(self) -> bool:
        """True while responses are held back."""
        return self.proxy.down.is_stalled

    @property
    def doomed(self) -> bool:
        """True after a cut, and before a planned one."""
        return self.proxy.up.cut is not None or self.proxy.down.cut is not None

    @property
    def timeout(self) -> float:
        return _SHORT if self.held else _LONG

    def call(self, function: Callable[[], object]) -> Optional[AMIError]:
        """Make a call and return its error or None; check its duration and its class."""
        start = time.monotonic()
        error: Optional[AMIError] = None
        try:
            function()
        except AMIError as caught:
            error = caught
        assert time.monotonic() - start < self.timeout + 2.0
        if self.closed:
            assert type(error) is NotConnected
        elif not (self.held or self.doomed):  # after any failure, the client reconnects
            assert error is None or error.outcome == FAILED, error
            assert self.client.connected
        else:
            assert error is not None or not self.held
            assert error is None or isinstance(error, self.possible_errors), error
        if isinstance(error, (ResponseTimeout, ConnectionLost, SendFailed)) and not self.listener:
            assert not self.client.connected
        return error

    @property
    def possible_errors(self) -> Tuple[Type[AMIError], ...]:
        """The errors of a call at the moment."""
        late = (ResponseTimeout, SendTimeout, ConnectTimeout) if self.held else ()
        cut = (ActionFailed, ConnectionLost, SendFailed, ConnectError) if self.doomed else ()
        return late + cut

    def note(self, text: str, result: Union[Receipt, AMIError, SendResult[MessageSend]]) -> None:
        self.outcomes[text] = result.outcome
        if isinstance(result, Receipt):
            assert result.response.action_id == result.action_id
            self.action_ids[text] = result.action_id

    # -- Calls.

    @precondition(lambda self: not (self.held or self.doomed))
    @rule()
    def connect(self) -> None:
        self.client.connect()
        assert self.client.connected
        self.closed = False

    @precondition(lambda self: self.held)
    @rule()
    def connect_in_vain(self) -> None:
        self.client.timeout = _SHORT
        with pytest.raises((ConnectTimeout, ConnectError)):
            self.client.connect()
        self.client.timeout = _LONG
        self.closed = False

    @precondition(lambda self: not (self.held or self.doomed))
    @rule()
    def join(self) -> None:
        """Use the client in ``with`` statements; only the last one to end closes it."""
        with self.client:
            with self.client:
                self.client.ping()
            assert self.client.connected
            self.closed = False
            self.call(self.client.ping)
        assert not self.client.connected
        self.closed = True

    @rule(count=st.integers(1, 3), invalid=st.booleans())
    def send(self, count: int, invalid: bool) -> None:
        for _ in range(count):
            text = f"message {len(self.outcomes)}"
            to = "smoke:signal" if invalid else "pjsip:alice"
            receipts: List[Receipt] = []

            def function() -> None:
                receipts.append(self.client.send_message(to, text, timeout=self.timeout))

            error = self.call(function)
            assert error is not None or not invalid
            self.note(text, receipts[0] if error is None else error)

    @rule(
        count=st.integers(1, 12),
        window=st.sampled_from([1, 2, 5, 32]),
        stop=st.integers(1, 12),
        bad=st.sets(st.integers(0, 11), max_size=2),
        nested=st.booleans(),
    )
    def send_many(self, count: int, window: int, stop: int, bad: "set[int]", nested: bool) -> None:
        """Send messages, some invalid, with pings in between or with an early stop."""
        start = len(self.outcomes)
        texts = [f"message {start + number}" for number in range(count)]
        taken: List[str] = []

        def each() -> Iterator[MessageSend]:
            for number, text in enumerate(texts):
                taken.append(text)
                yield MessageSend("smoke:signal" if number in bad else "pjsip:alice", text)

        begun = time.monotonic()
        got: List[SendResult[MessageSend]] = []
        results = self.client.send_messages(each(), window=window, timeout=self.timeout)
        try:
            for result in results:
                got.append(result)
                if nested and not self.held and not self.doomed:
                    self.client.ping()
                if len(got) == stop:
                    break
        except NotSent as error:  # it could not connect
            assert not taken
            assert isinstance(error, NotConnected if self.closed else self.possible_errors), error
            return
        assert not self.closed
        results.close()
        assert time.monotonic() - begun < self.timeout + 2.0
        for number, result in enumerate(got):
            assert isinstance(result.message, MessageSend)
            assert result.message.text == texts[number]
            self.note(texts[number], result.receipt or result)
            if not (self.held or self.doomed):
                assert result.outcome == (FAILED if number in bad else ACCEPTED)
        outcomes = [result.outcome for result in got]
        if UNKNOWN in outcomes:  # then nothing more was sent
            first = outcomes.index(UNKNOWN)
            last = len(outcomes) - outcomes[::-1].index(UNKNOWN)
            assert set(outcomes[first:last]) == {UNKNOWN}
            assert set(outcomes[last:]) <= {NOT_SENT}
        for text in taken[len(got) :]:
            self.outcomes[text] = UNKNOWN  # in flight at the end

    @rule()
    def ping(self) -> None:
        self.call(lambda: self.client.ping(timeout=self.timeout))

    def take_events(self, timeout: float) -> None:
        for event in self.client.events(timeout=timeout):
            assert isinstance(event, Event), event
            number = int(event.headers["Number"])
            assert number > self.last_event  # in order, without duplicates
            self.last_event = number

    @precondition(lambda self: self.listener is None)
    @rule()
    def listen(self) -> None:

        def listen() -> None:
            while not self.stop_listening.is_set():
                try:
                    self.take_events(0.02)
                except EventOverflow:
                    pass
                except (NotSent, ConnectionLost):
                    time.sleep(0.002)

        self.stop_listening.clear()
        self.listener = self.pool.submit(listen)

    @precondition(lambda self: self.listener is not None)
    @rule()
    def stop_listener(self) -> None:
        assert self.listener is not None
        self.stop_listening.set()
        self.listener.result(10.0)  # which raises an unexpected error
        self.listener = None

    @precondition(lambda self: self.listener is None)
    @rule()
    def read_events(self) -> None:
        try:
            self.take_events(0.005)
        except EventOverflow as error:
            assert error.actual is not None and error.actual > 0
        except NotConnected:
            assert self.closed
        except (ConnectionLost, ConnectTimeout, ConnectError):
            pass  # the connection had ended, or it takes longer to connect

    @rule(logoff=st.booleans())
    def close(self, logoff: bool) -> None:
        if logoff:
            try:
                self.client.logoff(timeout=self.timeout)
            except NotConnected:
                pass
            except AMIError:
                assert self.held or self.doomed
        self.client.close()
        self.closed = True

    # -- Faults.

    @rule(count=st.integers(1, 30))
    def send_events(self, count: int) -> None:
        for _ in range(count):
            event = Event("Tick", [("Number", str(self.events_sent))])
            self.events_sent += 1
            self.server.send_event(event)

    @precondition(lambda self: not self.held)
    @rule()
    def hold_responses(self) -> None:
        self.proxy.down.stall = 0

    @precondition(lambda self: self.held or self.doomed)
    @rule()
    def end_faults(self) -> None:
        if self.doomed:
            self.proxy.cut()
        self.proxy.up.cut = self.proxy.down.cut = self.proxy.down.stall = None
        for attempt in range(3):
            try:
                self.client.ping()
                break
            except NotConnected:
                assert self.closed
                break
            except (ConnectError, SendFailed, ConnectionLost):
                assert attempt < 2  # the thread of the proxy may cut late

    @precondition(lambda self: not self.doomed)
    @rule(up=st.booleans(), after=st.integers(0, 400))
    def cut_connection(self, up: bool, after: int) -> None:
        way = self.proxy.up if up else self.proxy.down
        way.cut = len(way.passed) + after
        if not after:
            self.proxy.cut()

    # -- Invariants.

    @invariant()
    def closed_client_is_not_connected(self) -> None:
        assert not (self.closed and self.client.connected)

    def teardown(self) -> None:
        """Compare all outcomes with the messages received."""
        if self.listener is not None:
            self.stop_listener()
        self.pool.shutdown()
        self.client.close()
        self.proxy.__exit__(None, None, None)
        self.server.close()
        messages = self.server.messages
        texts = [message.text for message in messages]
        assert len(texts) == len(set(texts)), "a message was sent twice"
        order = list(self.outcomes)
        assert texts == sorted(texts, key=order.index), "messages are out of order"
        for text, outcome in self.outcomes.items():
            if outcome == ACCEPTED:
                assert text in texts, text
            elif outcome in (NOT_SENT, FAILED):
                assert text not in texts, (text, outcome)
        for message in messages:
            if message.text in self.action_ids:
                assert self.action_ids[message.text] == message.action_id


TestClientMachine = ClientMachine.TestCase
TestClientMachine.settings = settings(
    max_examples={50: 10, 100: 20}.get(settings().max_examples, 2000),
    stateful_step_count=40,
    deadline=None,
)
