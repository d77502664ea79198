"""Pipelined sending: several messages in flight, with the results in order.

Unlike other calls, ``send_messages`` releases the lock whenever it yields a result, because the
code of the caller between two results may be slow.
"""

from __future__ import annotations

import warnings
from collections import deque
from operator import length_hint
from time import monotonic
from types import GeneratorType
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Generator,
    Generic,
    Iterable,
    Mapping,
    Optional,
    TypeVar,
    Union,
    cast,
)

from amiproto import ActionResult, AMIError, LocalProtocolError, MessageSend
from amiproto.exceptions import quote
from amiproto.messaging import HEADERS, MessageFields

from ._connection import AMIConnection, Call, ClientState, Owner, PendingAction
from ._lock import LockTimeout
from ._transport import Closed, Deadline, Expired
from .exceptions import ActionFailed, OutcomeUnknown, ReentrantCall
from .results import (
    MessageLike,
    MessageT,
    SendResult,
    receipt_of,
    unanswered_error,
)

#: The largest window. On loopback, 32 was as fast as more. A quarter of MAX_OUTSTANDING leaves room
#: for abandoned actions.
MAX_WINDOW = 1024

T = TypeVar("T")

_ARGUMENTS = frozenset((*MessageFields._fields, "action_id"))

#: The first words of keys that are not arguments but look like one: ``from``, ``variable:X``.
_FIELD_WORDS = frozenset(("variables", "base64body", *map(str.lower, HEADERS.values())))

#: Seconds to wait for the lock while a result can be returned.
_LOCK_WAIT = 0.05

#: Seconds in the caller's code after which pending messages are written before more of its code
#: runs. The messages of a faster caller are batched into one write.
_SLOW_CALLER = 0.001


class _Entry(Generic[MessageT]):
    """A message whose result has not been returned yet."""

    __slots__ = ("item", "message", "pending", "result")

    def __init__(self, item: MessageT) -> None:
        self.item = item
        self.message: Optional[MessageSend] = None
        self.pending: Optional[PendingAction] = None
        self.result: Optional[SendResult[MessageT]] = None
        given: MessageLike = item
        try:
            if not isinstance(given, MessageSend):
                given = MessageSend(**_arguments(given))
            self.message = given
        except LocalProtocolError as error:
            self.fail(error)
        except TypeError as error:
            self.fail(LocalProtocolError(f"not a message: {error}"))

    def fail(self, error: AMIError) -> None:
        self.result = SendResult(self.item, None, error)

    def complete(self, result: ActionResult) -> None:
        try:
            self.result = SendResult(self.item, receipt_of(result))
        except (ActionFailed, OutcomeUnknown) as error:
            self.fail(error)


def _arguments(row: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the arguments in a mapping.

    :raises LocalProtocolError: for a key that is almost one. A part of the message would be lost.
    """
    for key in row:
        if key not in _ARGUMENTS and isinstance(key, str):
            if key.partition(":")[0].strip("_ ").lower() in _FIELD_WORDS:
                expected = ", ".join(sorted(_ARGUMENTS))
                raise LocalProtocolError(f"unknown key {quote(key)}; the arguments are {expected}")
    return {key: row[key] for key in row if key in _ARGUMENTS}


class SendPipeline(Generic[MessageT]):
    """The messages of one :meth:`amiclient.Client.send_messages`.

    :param current_state: returns the state of the client in the current process.
    :param ready: returns its connection, connecting if necessary.
    """

    def __init__(
        self,
        current_state: Callable[[], ClientState],
        ready: Callable[[ClientState, Deadline], AMIConnection],
        messages: Iterable[MessageT],
        window: int,
        timeout: Optional[float],
    ) -> None:
        self._current_state = current_state
        self._ready = ready
        self._state = current_state()
        #: None until a result is requested.
        self.connection: Optional[AMIConnection] = None
        self._iterator = iter(messages)
        self._window = window
        self._timeout = timeout
        #: The generator of :meth:`run`.
        self.owner: Owner = None
        self._entries: Deque[_Entry[MessageT]] = deque()
        self._exhausted = False
        self._iterator_error: Optional[Exception] = None
        self._read_count = 0

    def describe_unfinished(self) -> str:
        """Count the messages whose result was not read, in words; empty if there are none."""
        in_flight = sum(1 for entry in self._entries if entry.result is None)
        unread = len(self._entries) - in_flight
        unsent = 0 if self._exhausted else length_hint(self._iterator, -1)
        if not self._entries and not unsent:
            return ""
        return (
            f"results read: {self._read_count}, unread: {unread}; messages in flight: {in_flight}, "
            f"not sent: {'unknown' if unsent < 0 else unsent}"
        )

    def discard(self) -> None:
        """Forget the unread results and the remaining messages."""
        self._entries.clear()
        self._exhausted = True
        self.owner = None  # a reference cycle, if no result was requested (Python 3.13)

    def run(self) -> Generator[SendResult[MessageT], None, None]:
        """Yield the results. When this generator ends, unsent actions are cancelled."""
        entries = self._entries
        is_slow = False
        try:
            self._connect()
        except AMIError:
            self.discard()
            raise
        while True:
            if is_slow or not entries or entries[0].result is None:
                self._read_messages()
                if not entries:
                    break
                self._exchange(wait=entries[0].result is None)
            result = entries[0].result
            assert result is not None
            entries.popleft()
            self._read_count += 1
            start = monotonic()
            yield result
            is_slow = monotonic() - start > _SLOW_CALLER
        if self._iterator_error is not None:
            raise self._iterator_error

    def _connect(self) -> None:
        state = self._state
        # Without the lock if another thread holds it: its call may take long.
        is_used = state.lock.is_held() and state.is_connected
        self.connection = state.connection if is_used else None
        if self.connection is None:
            deadline = Deadline(self._timeout)
            try:
                with Call(state, deadline):
                    self.connection = self._ready(state, deadline)
            except Expired as error:
                raise unanswered_error(error, sent=False) from None
        if self.connection.transport.is_tls:
            self._window = 1

    def _read_messages(self) -> None:
        # Without the lock: the caller's iterable may block.
        entries = self._entries
        while not self._exhausted and len(entries) < self._window:
            start = monotonic()
            try:
                item = next(self._iterator)
                entries.append(_Entry(item))
            except StopIteration:
                self._exhausted = True
                return
            except Exception as error:  # raised after the results of the messages before it
                self._exhausted, self._iterator_error = True, error
                return
            if monotonic() - start > _SLOW_CALLER:
                self._exchange(wait=False)
                if entries[0].result is not None:
                    return

    def _exchange(self, wait: bool) -> None:
        """Send messages and collect results; with ``wait``, until the first is complete."""
        if all(entry.result for entry in self._entries):
            return
        connection = self.connection
        assert connection is not None
        if self._current_state() is not self._state:
            connection.close("the connection belongs to the parent process", expected=True)
            self._collect(connection, Closed(connection.failure))
            return
        deadline = Deadline(self._timeout if wait else _LOCK_WAIT)
        try:
            with Call(self._state, deadline):
                self._exchange_locked(connection, deadline, wait)
        except LockTimeout as error:
            if wait:
                self._abandon_first(error)

    def _exchange_locked(self, connection: AMIConnection, deadline: Deadline, wait: bool) -> None:
        reason: Union[Expired, Closed, None] = None
        try:
            if connection.check_alive(Deadline(self._timeout)):
                self._enqueue(connection)
            first = self._entries[0].pending
            if wait and first is not None and first.result is None:
                connection.wait(first, deadline)
            else:
                connection.write(deadline)
        except (Expired, Closed) as error:
            # Responses arrive in order: the remaining ones will not arrive either.
            reason = error.with_traceback(None)
            connection.close("a response did not arrive in time")
        self._collect(connection, reason)

    def _enqueue(self, connection: AMIConnection) -> None:
        for entry in self._entries:
            if entry.message is not None and entry.result is None and entry.pending is None:
                try:
                    entry.pending = connection.enqueue(entry.message, self.owner)
                except LocalProtocolError as error:
                    entry.fail(error)

    def _collect(self, connection: AMIConnection, reason: Union[Expired, Closed, None]) -> None:
        """Collect results; with a reason, no more will arrive."""
        for entry in self._entries:
            pending = entry.pending
            if entry.result is not None:
                continue
            if pending is not None and pending.result is not None:
                entry.complete(pending.result)
            elif reason is None:
                return
            else:
                entry.fail(
                    unanswered_error(reason, sent=False)
                    if pending is None
                    else connection.abandon(pending, reason)
                )
                reason = Closed(connection.failure)

    def _abandon_first(self, reason: LockTimeout) -> None:
        # Another thread still holds the lock.
        entry = self._entries[0]
        pending = entry.pending
        if pending is None:
            entry.fail(unanswered_error(reason, sent=False))
        elif pending.result is not None:
            entry.complete(pending.result)
        else:
            pending.is_cancelled = True
            entry.fail(unanswered_error(Expired(), sent=True, action_id=pending.action_id))


class SendResults(Generic[MessageT]):
    """The results of :meth:`amiclient.Client.send_messages`: an iterator of :class:`SendResult`.

    Messages are sent only while the caller iterates. Iterate to the end or call :meth:`close`;
    otherwise a :class:`ResourceWarning` counts the unfinished messages, or a RuntimeWarning if
    there was no iteration at all.
    """

    def __init__(self, pipeline: SendPipeline[MessageT]) -> None:
        # Separate objects: the running generator must not refer to this one, or __del__ would wait
        # for the garbage collector.
        self._pipeline = pipeline
        # For type checkers: what a generator function returns has the attributes of its type.
        self._results = cast("GeneratorType[SendResult[MessageT], None, None]", pipeline.run())
        pipeline.owner = self._results

    def __iter__(self) -> SendResults[MessageT]:
        return self

    def __next__(self) -> SendResult[MessageT]:
        return self._run(self._results.__next__)

    def _run(self, method: Callable[[], T]) -> T:
        try:
            return method()
        except ValueError as error:
            assert error.__traceback__ is not None
            # "generator already executing" is raised in this frame, an error of the caller's
            # iterable in a deeper one.
            if error.__traceback__.tb_next is not None:
                raise
        raise ReentrantCall("the results are being read, by another thread or by an outer call")

    def close(self) -> None:
        """Stop sending; up to a window of messages are in flight and may be delivered.

        :raises ReentrantCall: if another thread is waiting for a result.
        """
        self._run(self._results.close)
        self._pipeline.discard()

    def __repr__(self) -> str:
        return f"<SendResults {self._pipeline.describe_unfinished() or 'finished'}>"

    def __del__(self) -> None:
        self._results.close()
        unfinished = self._pipeline.describe_unfinished()
        self._pipeline.discard()
        if unfinished:
            warnings.warn(
                f"send_messages() was not iterated to the end ({unfinished})",
                ResourceWarning if self._pipeline.connection else RuntimeWarning,
            )
