"""An open connection: a :class:`amiproto.Session` over a transport, and its queues.

:class:`AMIConnection` sends actions and collects their results. Unsent actions are in its
:class:`SendQueue` and unread events in its :class:`EventBuffer`. :class:`ClientState` holds the
lock and the current connection, which the threads of a process share.
"""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic
from typing import Callable, Deque, Dict, Iterable, Optional, Tuple, TypeVar, Union

from amiproto import (
    NEED_DATA,
    Action,
    ActionResult,
    AMIError,
    EndOfStream,
    Event,
    LocalProtocolError,
    LoginFailed,
    RemoteProtocolError,
    Response,
    Session,
    UnknownMessage,
)
from amiproto.limits import MAX_OUTSTANDING

from ._lock import FairLock, LockTimeout, Waiter
from ._transport import Closed, Deadline, Expired, Transport
from .exceptions import EventOverflow, ReentrantCall
from .results import not_connected_error, unanswered_error

logger = logging.getLogger("amiclient")

#: What :meth:`amiclient.Client.events` yields; each has ``name`` and ``headers``.
UnsolicitedMessage = Union[Event, Response, UnknownMessage]

T = TypeVar("T")

#: The default number of events to buffer; at some kilobytes each, tens of megabytes at most.
MAX_EVENTS = 10_000

#: The default size of the event buffer in bytes on the wire. An event of Asterisk has one or two
#: thousand; much larger ones may be an attack.
MAX_EVENT_BYTES = 32 * 1024 * 1024

#: Reads (16 MiB, more than a socket buffers) before an action is sent or after a write failed. A
#: peer that keeps sending is alive, but must not block the call.
_MAX_DRAIN_READS = 256

#: Seconds that a thread which closes the client waits for the lock before it asks again for the
#: connection to be closed, because another thread may have reconnected.
_CLOSE_RETRY = 0.05


class PendingAction:
    """An action that waits for its response."""

    __slots__ = ("action_id", "name", "start")

    def __init__(self, action_id: str, name: str) -> None:
        self.action_id = action_id
        self.name = name
        self.start = monotonic()

    def log(self, outcome: str) -> None:
        """Log the outcome and the elapsed time, never the content."""
        logger.debug(
            "%s, ActionID %s: %s after %.4f s",
            self.name, self.action_id, outcome, monotonic() - self.start,
        )  # fmt: skip


class SendQueue:
    """The actions that are not completely written, oldest first.

    :param is_tls: whether each write becomes a TLS record. Then each line is written alone:
        Asterisk polls the socket and not the TLS layer, so that what exceeds 1024 bytes of a record
        waits for the next record (11.25, 16.28, 22.10). The last CR and the last LF are written
        separately: Asterisk 11 reads up to 1024 bytes across records, and if a read ended between
        the two, the LF would stay inside the TLS layer.
    """

    def __init__(self, is_tls: bool) -> None:
        self._is_tls = is_tls
        self._queue: Deque[Tuple[str, bytes]] = deque()
        self._offset = 0  # bytes of the oldest action that are written

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __contains__(self, action_id: str) -> bool:
        return any(queued == action_id for queued, _ in self._queue)

    def append(self, action_id: str, wire: bytes) -> None:
        """Add an action."""
        self._queue.append((action_id, wire))

    def next_chunk(self) -> bytes:
        """Return what to write next, in one write."""
        first = self._queue[0][1]
        start = self._offset
        if self._is_tls:
            end = first.find(b"\n", start) + 1
            if end == len(first) and end - start == 2:
                end -= 1
            return first[start:end]
        if len(self._queue) == 1:
            return first[start:]
        return b"".join([wire for _, wire in self._queue])[start:]

    def advance(self, count: int) -> None:
        """Remove the bytes that were written (their number, int)."""
        self._offset += count
        while self._queue and self._offset >= len(self._queue[0][1]):
            self._offset -= len(self._queue.popleft()[1])

    def remove(self, action_id: str) -> bool:
        """Remove an action; return True if a part of it was written."""
        for index, (queued, _) in enumerate(self._queue):
            if queued == action_id:
                del self._queue[index]
                return index == 0 and self._offset > 0
        raise KeyError(action_id)


class EventBuffer:
    """Events in order, up to a limit; those beyond it are dropped and counted.

    :param max_events: the number of events to keep (int).
    :param max_bytes: their size on the wire (int).
    """

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

    def popleft(self) -> Optional[UnsolicitedMessage]:
        """Return and remove the oldest event, or return None.

        :raises EventOverflow: once, if events were dropped.
        """
        if self._events:
            event = self._events.popleft()
            self._bytes -= len(event.wire)
            return event
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            raise EventOverflow(
                f"{dropped} events were dropped; the buffer holds {self._max_events} events and "
                f"{self._max_bytes} bytes",
                limit=self._max_events,
                actual=dropped,
            )
        return None


class AMIConnection:
    """A connection in use; it cannot be used again after it has failed.

    Any thread may call :meth:`cancel` and :meth:`pop_result` at any time; the other methods need
    the lock.

    :param transport: a connected transport, owned by the connection from then on.
    :param session: a new session.
    :param events: the buffer for events.
    """

    def __init__(self, transport: Transport, session: Session, events: EventBuffer) -> None:
        self.transport = transport
        self.events = events
        #: Why nothing can be sent any more, or None.
        self.failure: Optional[str] = None
        self._session = session
        self._send_queue = SendQueue(transport.is_tls)
        self._results: Dict[str, ActionResult] = {}
        self._cancelled: Deque[str] = deque()

    def cancel(self, action_ids: Iterable[str]) -> None:
        """Stop waiting for actions; unsent ones are removed before the next write."""
        self._cancelled.extend(action_ids)

    def pop_result(self, action_id: str) -> Optional[ActionResult]:
        """Return the result of an action, once, or None if it has not arrived."""
        return self._results.pop(action_id, None)

    def close(self, reason: str) -> None:
        """Close the connection; later calls fail with the first reason given."""
        if self.failure is None:
            self.failure = self.transport.close_reason or reason
        self.transport.close()

    def log_in(self, deadline: Deadline) -> None:
        """Read the banner and log in.

        :raises Expired, Closed: as :meth:`pump`.
        :raises LoginFailed: if the server rejects the login.
        """
        failure: Optional[LoginFailed] = None
        try:
            while not self._session.logged_in:
                self.pump(deadline)
                self._queue_login()
        except LoginFailed as error:
            failure = error
        if failure is not None:
            # Without the original traceback: a server may echo the secret, and the variables of
            # those frames hold its message.
            try:
                raise failure.with_traceback(None)
            finally:
                del failure  # breaks the reference cycle through the new traceback

    def _queue_login(self) -> None:
        # Its own function: with the mechanism "plain" the data holds the secret, so it must not be
        # in a frame through which an exception passes.
        data = self._session.data_to_send()
        if data:
            self._send_queue.append("", data)

    def call(self, action: Action, deadline: Deadline) -> ActionResult:
        """Send an action and wait for its result.

        :raises NotSent, OutcomeUnknown, LocalProtocolError: as :meth:`amiclient.Client.send`.
        """
        self.check_alive(deadline)
        pending = self.enqueue(action)
        while True:
            reason: Union[Expired, Closed, None] = None
            try:
                self.pump(deadline)
            except (Expired, Closed) as error:
                reason = error.with_traceback(None)  # its traceback refers to this frame: a cycle
            result = self.pop_result(pending.action_id)  # may have arrived just before the end
            if result is not None:
                pending.log(result.response.name)
                return result
            if reason is not None:
                raise self.abandon(pending, reason) from reason

    def check_alive(self, deadline: Deadline) -> None:
        """Process pending input, so that a dead connection is noticed before sending.

        :raises SendFailed: if the connection has ended.
        :raises SendTimeout: if no time is left.
        """
        try:
            self._drain(deadline)
            if deadline.remaining() == 0.0:
                raise Expired
        except (Expired, Closed) as error:
            raise unanswered_error(error, sent=False) from error

    def enqueue(self, action: Action) -> PendingAction:
        """Add an action that the next :meth:`pump` or :meth:`flush` writes.

        :raises LocalProtocolError: as :meth:`amiproto.Session.send`.
        :raises SendFailed: if too many responses are missing for another action to be sent.
        """
        try:
            action = self._session.send(action)
        except LocalProtocolError as error:
            is_full = type(error) is LocalProtocolError and error.limit == MAX_OUTSTANDING
            if not is_full or len(self._session.outstanding) > MAX_OUTSTANDING // 2:
                raise
            # The callers of most of these actions have timed out, and no response has arrived
            # late: the server hangs.
            self.close(f"{error.limit} actions have no response")
            raise unanswered_error(Closed(self.failure), sent=False) from error
        assert action.action_id is not None
        self._send_queue.append(action.action_id, action.wire)
        return PendingAction(action.action_id, action.name)

    def flush(self, deadline: Deadline) -> None:
        """Write as much as possible without waiting; :attr:`failure` is set if that fails.

        :param deadline: limits the reading of pending input after a failure.
        """
        try:
            self._write(deadline)
        except Closed:
            pass

    def pump(self, deadline: Deadline) -> None:
        """Write as much as possible, wait for data, and process it.

        Returns without data if another thread interrupted the wait.

        :raises Expired: if the deadline passes first.
        :raises Closed: if the connection has ended, or the server violated the protocol.
        """
        try:
            self._write(deadline)
            if self.failure is not None:  # earlier, or because a partly sent action was cancelled
                raise Closed(self.failure)
            data = self.transport.receive_before(bool(self._send_queue), deadline)
            if data is not None:
                self._feed(data)
        except Closed as error:
            self.close(str(error))
            error.args = (self.failure,)
            raise

    def next_event(
        self, deadline: Deadline, has_waiters: Callable[[], bool]
    ) -> Optional[UnsolicitedMessage]:
        """Wait for the next event; None if another call waits for the lock.

        :raises Expired, Closed: as :meth:`pump`.
        :raises EventOverflow: if events were dropped.
        """
        while not self.events:
            if has_waiters():
                return None
            self.pump(deadline)
        return self.events.popleft()

    def abandon(self, pending: PendingAction, reason: Union[Expired, Closed]) -> AMIError:
        """Stop waiting for an action and return the exception that says whether it was sent."""
        sent = self._cancel(pending.action_id)
        error = unanswered_error(reason, sent, pending.action_id)
        pending.log(error.outcome)
        return error

    def _cancel(self, action_id: str) -> bool:
        """Stop waiting for an action; return True if its last byte was sent."""
        if action_id in self._send_queue:
            if self._send_queue.remove(action_id) or self.transport.has_partial_record:
                # The server would take the next action for the rest of this one.
                self.close("an action was cancelled after a part of it was sent")
            self._session.cancel(action_id)
            return False
        self._session.abandon(action_id)
        self._results.pop(action_id, None)
        return True

    def _write(self, deadline: Deadline) -> None:
        while self._cancelled:
            self._cancel(self._cancelled.popleft())
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

    def _drain(self, deadline: Deadline) -> None:
        """Process pending input, without waiting for more.

        :raises Closed: if the connection has ended, or the server violated the protocol.
        """
        try:
            for _ in range(_MAX_DRAIN_READS):
                if not self.transport.readable():
                    return
                data = self.transport.receive()
                if data is None:
                    return
                self._feed(data)
                if deadline.remaining() == 0.0:
                    return
        except Closed as error:
            self.close(str(error))
            error.args = (self.failure,)
            raise

    def _feed(self, data: bytes) -> None:
        session = self._session
        try:
            if data:
                session.receive_data(data)
            else:
                session.receive_eof()
            while True:
                event = session.next_event()
                if event is NEED_DATA:
                    return
                if isinstance(event, ActionResult):
                    if self._send_queue and event.action_id in self._send_queue:
                        # It cannot be genuine. If it were accepted, the rest of the action would
                        # still be sent.
                        raise RemoteProtocolError(
                            "received a response to an action that is not completely sent"
                        )
                    self._results[event.action_id] = event
                elif isinstance(event, (Event, Response, UnknownMessage)):
                    self.events.add(event)
                elif isinstance(event, EndOfStream):
                    raise Closed("the server closed the connection")
        except RemoteProtocolError as error:
            raise Closed(str(error)) from error


class ClientState:
    """The lock and the connection that the threads of a client share; one for each process."""

    def __init__(self) -> None:
        self.lock = FairLock()
        #: The transport, from when it is being connected.
        self.transport: Optional[Transport] = None
        #: The connection, from when the login is complete.
        self.connection: Optional[AMIConnection] = None
        #: The version in the banner of the server, once it has been received.
        self.server_version: Optional[str] = None

    @property
    def open_connection(self) -> AMIConnection:
        """The connection, if it is open as far as is known.

        :raises NotConnected: if it is not.
        """
        connection = self.connection
        if connection is None or connection.failure is not None:
            raise not_connected_error(None if connection is None else connection.failure)
        return connection

    def run_locked(self, work: Callable[[], T], deadline: Deadline, is_listener: bool = False) -> T:
        """Call a function while holding the lock, and return its result.

        The state stays consistent if a signal handler raises at any point. An unexpected exception
        closes the connection, because it can strike between an operation on the socket and the
        note of it. The cleanup is attempted twice, because the handler can raise during the first.

        :param is_listener: whether the function only waits for events, so that other calls
            interrupt it.
        :raises LockTimeout: if the deadline passes before the lock is acquired.
        :raises ReentrantCall: if this thread is already in a call.
        """
        lock = self.lock
        waiter = Waiter(self.wake if is_listener else None)
        if lock.is_used_by(waiter.thread):
            raise ReentrantCall(
                "called from a signal handler or __del__ during another call of the same thread; "
                "nothing was sent"
            )
        try:
            try:
                lock.acquire(waiter, deadline)
                return work()
            except (AMIError, Expired, Closed):
                raise
            except BaseException:
                self._close_interrupted(waiter)
                raise
            finally:
                lock.release(waiter)
        except BaseException:
            self._close_interrupted(waiter)
            lock.release(waiter)
            raise

    def _close_interrupted(self, waiter: Waiter) -> None:
        if self.lock.is_held_by(waiter):
            self.close_locked("a call was interrupted")

    def wake(self) -> None:
        """Interrupt the current wait, so that a listener releases the lock."""
        transport = self.transport
        if transport is not None:
            transport.wake()

    def close_locked(self, reason: str) -> None:
        """Close the connection, if there is one; the caller holds the lock."""
        if self.connection is not None:
            self.connection.close(reason)
        if self.transport is not None:
            self.transport.close()

    def close(self, reason: str) -> None:
        """Close the connection from any thread, and interrupt the call that uses it."""
        try:
            self._close(reason)
        except BaseException:  # raised by a signal handler: finish nevertheless
            self._close(reason)
            raise

    def _close(self, reason: str) -> None:
        while True:
            if self.transport is not None:
                self.transport.request_close(reason)
            try:
                self.run_locked(lambda: self._reset(reason), Deadline(_CLOSE_RETRY))
                return
            except LockTimeout:
                pass  # another call got the lock first, and may have reconnected
            except ReentrantCall:
                return  # the interrupted call notices the request and closes

    def _reset(self, reason: str) -> None:
        self.close_locked(reason)
        self.connection = self.transport = None
