"""An open connection: a :class:`amiproto.Session` over a transport, and its queues.

:class:`AMIConnection` sends actions and collects their results. Unsent actions are in its
:class:`SendQueue` and unread events in its :class:`EventBuffer`. :class:`ClientState` holds the
lock and the current connection, which the threads of a process share.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from time import monotonic
from types import GeneratorType
from typing import Any, Callable, Deque, Dict, List, Optional, Type, Union

from amiproto import (
    NEED_DATA,
    Action,
    ActionResult,
    AMIError,
    EndOfStream,
    Event,
    LocalProtocolError,
    RemoteProtocolError,
    Response,
    Session,
    UnknownMessage,
)
from amiproto.exceptions import quote

from ._lock import Claim, FairLock, LockTimeout
from ._transport import MAX_TIMEOUT, Closed, Deadline, Expired, Transport
from .exceptions import EventOverflow, ReentrantCall, SendTimeout
from .results import unanswered_error

logger = logging.getLogger("amiclient")

#: What :meth:`amiclient.Client.events` yields; each has ``name`` and ``headers``.
UnsolicitedMessage = Union[Event, Response, UnknownMessage]

Owner = Optional["GeneratorType[Any, Any, Any]"]

#: The default number of events to buffer; at some kilobytes each, tens of megabytes at most.
MAX_EVENTS = 10_000

#: The default size of the event buffer in bytes on the wire. An event of Asterisk has one or two
#: thousand; much larger ones may be an attack.
MAX_EVENT_BYTES = 32 * 1024 * 1024

#: Maximum number of reads (16 MiB, more than a socket buffers) before an action is sent, and after
#: a write failed: a peer that keeps sending must not block the call.
_MAX_DRAIN_READS = 256

#: Seconds that close() waits for the call that uses the connection, at most. A call that looks up a
#: host cannot be interrupted.
CLOSE_WAIT = 0.05

#: Why a connection has ended, or none is opened.
CLIENT_CLOSED = "the client was closed"

#: Why the connection ended, if the server did not respond to a Ping.
_NO_PONG = "no response to the health check"


class PendingAction:
    """An action that waits for its response.

    :param owner: the generator that waits for the result, or None for a call. Once it has ended,
        for whatever reason, the action is cancelled.
    """

    __slots__ = ("name", "action_id", "wire", "start", "result", "is_cancelled", "owner")

    def __init__(self, name: str, action_id: str, wire: bytes, owner: Owner = None) -> None:
        self.name = name
        self.action_id = action_id
        self.wire = wire
        self.start = monotonic()
        #: The result, once it has arrived.
        self.result: Optional[ActionResult] = None
        #: Set by any thread to stop waiting; if the action is not sent yet, it never is.
        self.is_cancelled = False
        self.owner = owner

    def log(self, outcome: str) -> None:
        """Log the outcome and the elapsed time, never the content."""
        logger.debug(
            "%s, ActionID %s: %s after %.4f s",
            self.name, self.action_id, outcome, monotonic() - self.start,
        )  # fmt: skip


class SendQueue(Deque[PendingAction]):
    """The actions that are not completely written, oldest first.

    :param is_tls: whether each write becomes a TLS record. Then each line is written alone:
        Asterisk polls the socket and not the TLS layer, so that what exceeds 1024 bytes of a record
        waits for the next record (11.25, 16.28, 22.10). The last CR and the last LF are written
        separately: Asterisk 11 reads up to 1024 bytes across records, and if a read ended between
        the two, the LF would stay inside the TLS layer.
    """

    def __init__(self, is_tls: bool) -> None:
        super().__init__()
        self._is_tls = is_tls
        self._offset = 0  # bytes of the oldest action that are written

    def next_chunk(self) -> bytes:
        """Return the next chunk to write."""
        first = self[0].wire
        start = self._offset
        if self._is_tls:
            end = first.find(b"\n", start) + 1
            if end == len(first) and end - start == 2:
                end -= 1
            return first[start:end]
        if len(self) == 1:
            return first[start:]
        return b"".join([pending.wire for pending in self])[start:]

    def advance(self, count: int) -> None:
        """Remove ``count`` bytes (int) that were written."""
        self._offset += count
        while self and self._offset >= len(self[0].wire):
            self._offset -= len(self.popleft().wire)

    def cancel(self, pending: PendingAction) -> bool:
        """Remove an action; return True if a part of it was written."""
        is_partly_sent = pending is self[0] and self._offset > 0
        self.remove(pending)
        return is_partly_sent


class EventBuffer:
    """Events in order, up to a number and a size on the wire; the rest is dropped and counted."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: Deque[UnsolicitedMessage] = deque()
        self._bytes = 0
        self._dropped = 0  # after the last event in the buffer

    def __bool__(self) -> bool:
        return bool(self._events or self._dropped)

    def add(self, event: UnsolicitedMessage) -> None:
        """Add an event, or drop it if the buffer is full."""
        # After a dropped event all are dropped, so that the gap is reported in the right place.
        size = self._bytes + len(event.wire)
        if self._dropped or len(self._events) >= self._max_events or size > self._max_bytes:
            self._dropped += 1
        else:
            self._events.append(event)
            self._bytes = size

    def popleft(self) -> UnsolicitedMessage:
        """Return and remove the oldest event, or raise EventOverflow where events were dropped."""
        if not self._events:
            dropped, self._dropped = self._dropped, 0
            raise EventOverflow(
                f"{dropped} events were dropped; the buffer holds {self._max_events} events and "
                f"{self._max_bytes} bytes",
                limit=self._max_events,
                actual=dropped,
            )
        event = self._events.popleft()
        self._bytes -= len(event.wire)
        return event


class AMIConnection:
    """A connection in use; it cannot be used again after it has failed. Calls need the lock.

    Methods that wait raise Expired if their deadline passes. If the connection ends or the server
    violates the protocol, they close it and raise Closed.

    :param health_check_interval: seconds without data (float), or None for no health checks.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        events: EventBuffer,
        health_check_interval: Optional[float],
    ) -> None:
        self.transport = transport
        self.events = events
        #: Why nothing can be sent any more, or None.
        self.failure: Optional[str] = None
        self._session = session
        self._send_queue = SendQueue(transport.is_tls)
        self._pending: Dict[str, PendingAction] = {}
        self._interval = MAX_TIMEOUT if health_check_interval is None else health_check_interval
        self._last_received = monotonic()
        #: The deadline of the health check for which :meth:`next_event` waits, or None.
        self._ping_end: Optional[Deadline] = None

    def close(self, reason: str, expected: bool = False) -> None:
        """Close the connection; later calls fail with the first reason given."""
        if self.failure is None:
            self.failure = self.transport.close_reason or reason
            if not expected and self._session.logged_in and self.transport.close_reason is None:
                logger.warning("the connection ended: %s", reason)
        self.transport.close()

    def log_in(self, deadline: Deadline) -> None:
        """Read the banner and log in; raise LoginFailed if the server rejects that."""
        while not self._session.logged_in:
            self.pump(deadline)
            self._queue_login()

    def _queue_login(self) -> None:
        # Its own function: with the mechanism "plain" the data holds the secret, so it must not be
        # in a frame through which an exception passes.
        data = self._session.data_to_send()
        if data:
            self._send_queue.append(PendingAction("Login", "", data))

    def check_alive(self, deadline: Deadline) -> bool:
        """Process pending input, send a Ping if it is due, and return whether it is still open."""
        if self.transport.close_reason is not None:
            self.close(self.transport.close_reason)
        if self.failure is not None:
            return False
        try:
            if self.transport.is_tls or self.transport.poll(write=False, seconds=0.0):
                self._drain(deadline)
            if self._send_queue:
                self._remove_unwanted()
            if deadline.remaining() == 0.0:
                raise Expired
            if monotonic() - self._last_received >= self._interval:
                self._ping(deadline)
        except Closed:
            return False
        return self.failure is None

    def call(self, action: Action, deadline: Deadline) -> ActionResult:
        """Send an action and wait for its result; raise as :meth:`amiclient.Client.send`."""
        pending = self.enqueue(action)
        reason: Union[Expired, Closed]
        try:
            return self.wait(pending, deadline)
        except (Expired, Closed) as error:
            reason = error.with_traceback(None)  # its traceback refers to this frame: a cycle
        raise self.abandon(pending, reason) from reason

    def enqueue(self, action: Action, owner: Owner = None) -> PendingAction:
        """Add an action for the next :meth:`write`; raise as :meth:`amiproto.Session.send`."""
        action = self._session.send(action)
        pending = PendingAction(action.name, action.action_id or "", action.wire, owner)
        self._pending[pending.action_id] = pending
        self._send_queue.append(pending)
        return pending

    def wait(self, pending: PendingAction, deadline: Deadline) -> ActionResult:
        """Wait for the result of an action."""
        while pending.result is None:
            self.pump(deadline)
        return pending.result

    def _ping(self, deadline: Deadline) -> None:
        """Send Ping and wait for the response; without one, the connection has ended."""
        try:
            self.wait(self.enqueue(Action("Ping")), deadline)
        except Expired:
            self.close(_NO_PONG)
            raise

    def pump(self, deadline: Deadline) -> None:
        """Write as much as possible, wait for data or for another thread, and process the data."""
        self.write(deadline)
        try:
            data = self.transport.receive_before(bool(self._send_queue), deadline)
            if data is not None:
                self._feed(data)
        except Closed as error:
            self._close_after(error)
            raise

    def _close_after(self, error: Closed) -> None:
        """Close after an error, and make the first reason its text."""
        self.close(str(error))
        error.args = (self.failure,)

    def next_event(
        self, deadline: Deadline, has_waiters: Callable[[], bool], ping_timeout: Optional[float]
    ) -> Optional[UnsolicitedMessage]:
        """Wait for the next event; None if another call waits for the lock.

        :param ping_timeout: seconds to wait for the response to a health check (float or None).
        """
        while not self.events:
            if has_waiters():
                return None
            idle, remaining = monotonic() - self._last_received, deadline.remaining()
            if idle >= self._interval and self._ping_end is None:
                self.enqueue(Action("Ping"))
                self._ping_end = Deadline(ping_timeout)
            # A deadline may pass before that of the Ping: then the next call waits for the rest.
            check = self._ping_end or Deadline(self._interval - idle)
            seconds = check.remaining()
            is_first = remaining is None or seconds is not None and seconds <= remaining
            try:
                self.pump(check if is_first else deadline)
            except Expired:
                if not is_first:
                    raise
                if self._ping_end is not None:
                    self.close(_NO_PONG)
                    raise Closed(self.failure) from None
        return self.events.popleft()

    def abandon(self, pending: PendingAction, reason: Union[Expired, Closed]) -> AMIError:
        """Stop waiting for an action and return the exception; if it was sent, close."""
        sent = pending not in self._send_queue
        if sent:
            self.close("a response did not arrive in time")
        else:
            self._remove(pending)
        error = unanswered_error(reason, sent, pending.action_id)
        pending.log(error.outcome)
        return error

    def _remove(self, pending: PendingAction) -> None:
        if self._send_queue.cancel(pending) or self.transport.has_partial_record:
            # The server would take the next action for the rest of this one.
            self.close("an action was cancelled after a part of it was sent")
        del self._pending[pending.action_id]
        self._session.cancel(pending.action_id)

    def _remove_unwanted(self) -> None:
        """Remove the actions that were cancelled, or whose generator has ended."""
        for pending in list(self._send_queue):
            owner = pending.owner
            if pending.is_cancelled or owner is not None and owner.gi_frame is None:
                self._remove(pending)

    def write(self, deadline: Deadline) -> None:
        """Write as much as possible without waiting; after a failure, read pending input."""
        self._remove_unwanted()
        while self._send_queue and self.failure is None:
            try:
                count = self.transport.send(self._send_queue.next_chunk())
            except Closed as error:
                try:
                    self._drain(deadline)  # responses that arrived before the error still count
                except Closed:
                    pass
                self.close(str(error))
                raise
            if not count:
                return
            self._send_queue.advance(count)
        if self.failure is not None:  # earlier, or because a partly sent action was cancelled
            raise Closed(self.failure)

    def _drain(self, deadline: Deadline) -> None:
        """Process pending input, without waiting for more."""
        try:
            for _ in range(_MAX_DRAIN_READS):
                data = self.transport.receive()
                if data is None:
                    return
                self._feed(data)
                if deadline.remaining() == 0.0:
                    return
        except Closed as error:
            self._close_after(error)
            raise

    def _feed(self, data: bytes) -> None:
        session = self._session
        try:
            if data:
                self._last_received, self._ping_end = monotonic(), None
                session.receive_data(data)
            else:
                session.receive_eof()
            while True:
                event = session.next_event()
                if event is NEED_DATA:
                    return
                if isinstance(event, ActionResult):
                    pending = self._pending[event.action_id]
                    if self._send_queue and pending in self._send_queue:
                        # It cannot be genuine. If it were accepted, the rest of the action would
                        # still be sent.
                        raise RemoteProtocolError(
                            "received a response to an action that is not completely sent"
                        )
                    del self._pending[event.action_id]
                    pending.result = event
                    if logger.isEnabledFor(logging.DEBUG):
                        pending.log(quote(event.response.name))
                    if pending.name.lower() == "logoff":
                        self.close("the client logged off", expected=True)
                elif isinstance(event, (Event, Response, UnknownMessage)):
                    self.events.add(event)
                elif isinstance(event, EndOfStream):
                    raise Closed("the server closed the connection")
        except RemoteProtocolError as error:
            raise Closed(str(error)) from error


class ClientState:
    """The lock and the connection that the threads of a client share; one for each process."""

    def __init__(self, closed: bool = False) -> None:
        self.lock = FairLock()
        #: The transport, from when it is being connected.
        self.transport: Optional[Transport] = None
        #: The connection, from when the login is complete.
        self.connection: Optional[AMIConnection] = None
        #: The version in the banner of the server, once it has been received.
        self.server_version: Optional[str] = None
        #: Whether the client was closed: no call connects then, except connect() and ``with``.
        self.closed = closed
        #: An entry for each ``with`` statement that uses the client; list operations are atomic.
        self.users: List[None] = []
        #: Set while a call uses the connection. If a call finds it set, the last one was
        #: interrupted at an unknown point, and its connection is closed.
        self.in_use = False

    @property
    def is_connected(self) -> bool:
        """True if the connection is open, as far as is known."""
        connection = self.connection
        if connection is None or connection.failure is not None or self.closed:
            return False
        return not self.in_use or self.lock.is_held()

    def wake(self) -> None:
        """Interrupt the current wait, so that a listener releases the lock."""
        transport = self.transport
        if transport is not None:
            transport.wake()

    def close_locked(self, reason: str) -> None:
        """Close the connection, if there is one; the caller holds the lock."""
        if self.connection is not None:
            self.connection.close(reason, expected=True)
        if self.transport is not None:
            self.transport.close()
        self.connection = self.transport = None

    def close(self) -> None:
        """Close the client from any thread; the call that uses the connection, if any, fails."""
        self.closed = True
        transport = self.transport
        if transport is not None:
            transport.request_close(CLIENT_CLOSED)
        try:
            with Call(self, Deadline(CLOSE_WAIT)):
                self.close_locked(CLIENT_CLOSED)
        except (LockTimeout, ReentrantCall):
            pass  # the call that holds the lock closes the connection when it ends


#: The exceptions that a call raises with its connection in a known state. After any other one the
#: connection was closed, or a signal handler may have raised it.
_CLEAN = (Expired, Closed, LocalProtocolError, SendTimeout, EventOverflow)


class Call(Claim):
    """A ``with`` statement that holds the lock while it uses the connection.

    A signal handler may raise at any point. Nothing is cleaned up then: the lock counts as released
    when the frame of the ``with`` statement has ended, and the next call closes the connection.

    :param is_listener: whether the call only waits for events, so that other calls interrupt it.
    """

    __slots__ = ("_state", "_deadline")

    def __init__(self, state: ClientState, deadline: Deadline, is_listener: bool = False) -> None:
        super().__init__(state.wake if is_listener else None)
        self._state = state
        self._deadline = deadline

    def __enter__(self) -> None:
        state = self._state
        self.frame = sys._getframe(1)
        state.lock.acquire(self, self._deadline)
        if state.in_use and not (state.connection and state.connection.failure):
            state.close_locked("a call was interrupted")
        state.in_use = True

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        state = self._state
        if kind is None or issubclass(kind, _CLEAN):
            state.in_use = False
        if state.closed:
            state.close_locked(CLIENT_CLOSED)
        state.lock.release(self)
