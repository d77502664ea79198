"""One open connection with its session: writes, reads, and keeps answers until they are asked for.

The client knows how to open one, whose turn it is, and what callers like to see.
A connection is used by the call whose turn it is, but for ``wake``, ``forget`` and
``take``, which any thread may call at any time. It is used up when it fails.

Actions of which some byte has not left yet, and how they are cut into writes.

What is in here has not been sent: the server carries nothing out before it has the last byte.

Events that nobody has asked for yet: bounded in number and in bytes, with the gap told.

What the threads of one process share of a client: whose turn it is, and the connection.

And the one way to use it, :meth:`ClientState.run_locked`, which is whole wherever an exception of
a signal handler strikes: what the call had begun is then closed, and its turn is given back.
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

from ._lock import Waiter, FairLock, LockTimeout
from ._transport import Closed, Deadline, Expired, Transport
from .exceptions import EventOverflow, ReentrantCall
from .results import not_connected_error, unanswered_error

logger = logging.getLogger("amiclient")

#: What a server sends unasked; each has ``name`` and ``headers``.
UnsolicitedMessage = Union[Event, Response, UnknownMessage]

T = TypeVar("T")

#: Most chunks (16 MiB, more than a socket's buffer has) read before an action leaves, or after a
#: write failed: a server that still has more is not dead, and might never stop.
_MAX_DRAIN_READS = 256


class PendingAction:
    """An action that was taken to be sent, for whoever waits for its answer."""

    __slots__ = ("action_id", "name", "start")

    def __init__(self, action_id: str, name: str) -> None:
        self.action_id = action_id
        self.name = name
        self.start = monotonic()

    def log(self, what: str) -> None:
        """Log what became of it, and how long that took; never what it holds."""
        logger.debug(
            "%s, ActionID %s: %s after %.4f s",
            self.name, self.action_id, what, monotonic() - self.start,
        )  # fmt: skip


class AMIConnection:
    """A connection in use.

    :param transport: connected, with TLS or without; owned from here on.
    :param session: a new session of the codec.
    :param events: where events go that nobody has asked for yet.
    """

    def __init__(self, transport: Transport, session: Session, events: EventBuffer) -> None:
        self.transport = transport
        self._session = session
        self._send_queue = SendQueue(transport.is_tls)
        self._results: Dict[str, ActionResult] = {}
        self._cancelled: Deque[str] = deque()
        self.events = events
        #: Why nothing can be sent any more, or None.
        self.failure: Optional[str] = None

    # -- For any thread at any time.

    def cancel(self, action_ids: Iterable[str]) -> None:
        """Wait no longer for actions: those that have not left will not leave in a later turn."""
        self._cancelled.extend(action_ids)

    def pop_result(self, action_id: str) -> Optional[ActionResult]:
        """The answer to an action, once, if it has come."""
        return self._results.pop(action_id, None)

    # -- For the call whose turn it is.

    def close(self, why: str) -> None:
        """Close the connection; ``why`` is told to whoever still wants something of it."""
        if self.failure is None:
            self.failure = self.transport.close_reason or why
        self.transport.close()

    def log_in(self, deadline: Deadline) -> None:
        """Read the banner and log in.

        :raises Expired, Closed: as :meth:`pump`.
        :raises LoginFailed: when the server does not let the user in.
        """
        refused: Optional[LoginFailed] = None
        try:
            while not self._session.logged_in:
                self.pump(deadline)
                self._queue_login()
        except LoginFailed as error:
            refused = error
        if refused is not None:
            # As new: what the server said may echo the secret, and is in the frames of its reading.
            try:
                raise refused.with_traceback(None)
            finally:
                del refused  # of which this frame is a part now

    def _queue_login(self) -> None:
        # By itself, as the data holds the secret where the mechanism is plain, and must be in no
        # frame that an error passes through.
        data = self._session.data_to_send()
        if data:
            self._send_queue.append("", data)

    def call(self, action: Action, deadline: Deadline) -> ActionResult:
        """Send an action and wait for its answer.

        :raises NotSent, OutcomeUnknown, LocalProtocolError: as :meth:`Client.send_message`.
        """
        self.check_alive(deadline)
        pending = self.enqueue(action)
        while True:
            reason: Union[Expired, Closed, None] = None
            try:
                self.pump(deadline)
            except (Expired, Closed) as error:
                reason = error.with_traceback(None)  # which would hold this frame for ever
            answer = self.pop_result(pending.action_id)  # it may have come right before the end
            if answer is not None:
                pending.log(answer.response.name)
                return answer
            if reason is not None:
                raise self.abandon(pending, reason) from reason

    def check_alive(self, deadline: Deadline) -> None:
        """Read what has come unasked, so that a dead connection is seen before anything leaves.

        :raises SendFailed: when it is dead.
        :raises SendTimeout: when there is no time left.
        """
        try:
            self._drain(deadline)
            if deadline.remaining() == 0.0:
                raise Expired
        except (Expired, Closed) as error:
            raise unanswered_error(error, left=False) from error

    def enqueue(self, action: Action) -> PendingAction:
        """Take an action to be written by the next :meth:`pump` or :meth:`flush`.

        :raises LocalProtocolError: as :meth:`amiproto.Session.send`.
        :raises SendFailed: when the server owes so many answers that it takes no more actions.
        """
        try:
            action = self._session.send(action)
        except LocalProtocolError as error:
            is_full = type(error) is LocalProtocolError and error.limit == MAX_OUTSTANDING
            if not is_full or len(self._session.outstanding) > MAX_OUTSTANDING // 2:
                raise
            # Nobody waits for most of those answers, and none of them came: none will.
            self.close(f"the server left {error.limit} actions without an answer")
            raise unanswered_error(Closed(self.failure), left=False) from error
        assert action.action_id is not None
        self._send_queue.append(action.action_id, action.wire)
        return PendingAction(action.action_id, action.name)

    def flush(self, deadline: Deadline) -> None:
        """Write what there is room for, and wait for nothing; :attr:`failure` says if it fails."""
        try:
            self._write(deadline)
        except Closed:
            pass

    def pump(self, deadline: Deadline) -> None:
        """Write what there is room for; wait for something to come, and read it.

        Returns with nothing read when another thread ended the wait.

        :raises Expired: when the deadline passes first.
        :raises Closed: when the connection has ended, or the server broke the protocol.
        """
        try:
            self._write(deadline)
            if self.failure is not None:  # before this, or by an action forgotten half-way
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
        """The next event; None when another call wants the connection.

        :raises Expired, Closed: as :meth:`pump`.
        :raises EventOverflow: where some were lost.
        """
        while not self.events:
            if has_waiters():
                return None
            self.pump(deadline)
        return self.events.popleft()

    def abandon(self, pending: PendingAction, reason: Union[Expired, Closed]) -> AMIError:
        """Wait no longer for an action, and say what may have become of it."""
        error = unanswered_error(reason, self._cancel(pending.action_id), pending.action_id)
        pending.log(error.outcome)
        return error

    def _cancel(self, action_id: str) -> bool:
        """Wait no longer for an action, and say whether its last byte has left."""
        if action_id in self._send_queue:
            if self._send_queue.remove(action_id) or self.transport.has_partial_record:
                # The server waits for the rest, and would take the next action for it.
                self.close("an action was given up when a part of it had left")
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
                    self._drain(deadline)  # answers from before are answers
                except Closed:
                    pass
                self.close(str(error))
                raise
            if not count:
                return
            self._send_queue.advance(count)

    def _drain(self, deadline: Deadline) -> None:
        """Read what has come, without waiting for more.

        :raises Closed: when the connection has ended, or the server broke the protocol.
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
                        # Whatever this answers: were it taken, the rest would still leave.
                        raise RemoteProtocolError(
                            "the server answered before it was asked; close the connection"
                        )
                    self._results[event.action_id] = event
                elif isinstance(event, (Event, Response, UnknownMessage)):
                    self.events.add(event)
                elif isinstance(event, EndOfStream):
                    raise Closed("the server closed the connection")
        except RemoteProtocolError as error:
            raise Closed(str(error)) from error


class SendQueue:
    """A queue of actions, oldest first.

    :param is_tls: whether each write becomes a record of TLS. Then there is one for each line:
        Asterisk polls the socket and not the TLS layer, so that over 1024 bytes of one record wait
        for the next (11.25, 16.28, 22.10). And one for the last CR, and one for the last LF: the
        read of Asterisk 11, of up to 1023 bytes, runs across records, and where it ends between
        the two, the LF would wait inside the TLS layer.
    """

    def __init__(self, is_tls: bool) -> None:
        self._is_tls = is_tls
        self._queue: Deque[Tuple[str, bytes]] = deque()
        self._offset = 0  # bytes of the oldest that have left

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __contains__(self, action_id: str) -> bool:
        return any(queued == action_id for queued, _ in self._queue)

    def append(self, action_id: str, wire: bytes) -> None:
        """Append an action."""
        self._queue.append((action_id, wire))

    def next_chunk(self) -> bytes:
        """What to write next, in one write."""
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
        """Note that so many bytes (int) of :meth:`next_chunk` have left."""
        self._offset += count
        while self._queue and self._offset >= len(self._queue[0][1]):
            self._offset -= len(self._queue.popleft()[1])

    def remove(self, action_id: str) -> bool:
        """Take an action out; say whether a part of it has left, so that the rest is missed."""
        for index, (queued, _) in enumerate(self._queue):
            if queued == action_id:
                del self._queue[index]
                return index == 0 and self._offset > 0
        raise KeyError(action_id)


#: Events kept while nobody asks for them; at some kilobytes each, tens of megabytes at the most.
MAX_EVENTS = 10_000

#: Bytes of them, as they came. Asterisk's events have one or two thousand; what is bigger by far
#: was made to be, and by whom is not known.
MAX_EVENT_BYTES = 32 * 1024 * 1024


class EventBuffer:
    """Events in order.

    :param max_events: most that are kept (int).
    :param max_bytes: most bytes of them (int).
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: Deque[UnsolicitedMessage] = deque()
        self._bytes = 0
        self._dropped = 0  # how many came after the last that is kept

    def __bool__(self) -> bool:
        return bool(self._events or self._dropped)

    def add(self, event: UnsolicitedMessage) -> None:
        """Keep an event, if there is room."""
        # None after a gap is kept, so that the gap is told where it is.
        size = self._bytes + len(event.wire)
        if self._dropped or len(self._events) >= self._max_events or size > self._max_bytes:
            self._dropped += 1
        else:
            self._events.append(event)
            self._bytes = size

    def popleft(self) -> Optional[UnsolicitedMessage]:
        """The oldest event, or None.

        :raises EventOverflow: where some were lost, once.
        """
        if self._events:
            event = self._events.popleft()
            self._bytes -= len(event.wire)
            return event
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            raise EventOverflow(
                f"{lost} events were lost, as over {self._max_events} of them, or over "
                f"{self._max_bytes} bytes, came and nobody asked; ask more often, or for fewer",
                limit=self._max_events,
                actual=lost,
            )
        return None


#: Seconds after which a thread that closes the client looks whether another has opened it anew.
_CLOSING = 0.05


class ClientState:
    """A connection, or none, and the turns on it, in one process."""

    def __init__(self) -> None:
        self.lock = FairLock()
        #: The connection as it is being opened, and from then on.
        self.transport: Optional[Transport] = None
        #: The connection once the login is done.
        self.connection: Optional[AMIConnection] = None
        #: The version of AMI that the server's banner named.
        self.server_version: Optional[str] = None

    @property
    def open_connection(self) -> AMIConnection:
        """The connection, open as far as is known.

        :raises NotConnected: where there is none.
        """
        connection = self.connection
        if connection is None or connection.failure is not None:
            raise not_connected_error(None if connection is None else connection.failure)
        return connection

    def run_locked(self, work: Callable[[], T], deadline: Deadline, listens: bool = False) -> T:
        """Do something when it is this call's turn.

        When it raises what it is not known to raise, the connection is closed: an interrupt can
        strike between the socket and what is noted here about it. Cleaning up is done twice, as an
        interrupt can strike in the middle of that, too; the second time finds nothing to do.

        :param listens: whether the work only waits for events: it is woken up when others call.
        :raises LockTimeout: when the deadline passes before it is.
        :raises ReentrantCall: when this thread is in the middle of another call.
        """
        turns = self.lock
        turn = Waiter(self.wake if listens else None)
        if turns.is_used_by(turn.thread):
            raise ReentrantCall(
                "this thread is in the middle of another call of this client, from which a signal "
                "handler or __del__ came here; nothing was sent: call later, or use another client"
            )
        try:
            try:
                turns.acquire(turn, deadline)
                return work()
            except (AMIError, Expired, Closed):
                raise
            except BaseException:
                self._interrupted(turn)
                raise
            finally:
                turns.release(turn)
        except BaseException:
            self._interrupted(turn)
            turns.release(turn)
            raise

    def _interrupted(self, turn: Waiter) -> None:
        if self.lock.is_held_by(turn):
            self.close_locked("a call was interrupted")

    def close_locked(self, why: str) -> None:
        """Close the connection, if there is one; for the call whose turn it is."""
        if self.connection is not None:
            self.connection.close(why)
        if self.transport is not None:
            self.transport.close()

    def close(self, why: str) -> None:
        """Close the connection, whoever uses it, from any thread."""
        try:
            self._close(why)
        except BaseException:  # an interrupt: what was begun is finished
            self._close(why)
            raise

    def _close(self, why: str) -> None:
        while True:
            if self.transport is not None:
                self.transport.request_close(why)
            try:
                self.run_locked(lambda: self._reset(why), Deadline(_CLOSING))
                return
            except LockTimeout:
                pass  # another call had its turn first, and may have opened the client anew
            except ReentrantCall:
                return  # that call ends by what was said to it, and closes

    def _reset(self, why: str) -> None:
        self.close_locked(why)
        self.connection = self.transport = None

    def wake(self) -> None:
        """Interrupt the current wait, so that a listener releases the lock."""
        transport = self.transport
        if transport is not None:
            transport.wake()
