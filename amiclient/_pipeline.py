"""Pipelined sending: several messages in flight, with the results in order.

Unlike other calls, ``send_messages`` releases the lock whenever it yields a result, because the
code of the caller between two results may be slow.
"""

from __future__ import annotations

import warnings
from collections import deque
from operator import length_hint
from time import monotonic
from typing import Callable, Deque, Generator, Generic, Iterable, Iterator, Optional, Union

from amiproto import ActionResult, AMIError, LocalProtocolError, MessageSend

from ._connection import AMIConnection, ClientState, PendingAction
from ._lock import LockTimeout
from ._transport import Closed, Deadline, Expired
from .exceptions import SendFailed
from .results import (
    MessageLike,
    MessageT,
    SendResult,
    not_connected_error,
    receipt_of,
    unanswered_error,
)

#: The largest window. On loopback, 32 was as fast as more. A quarter of MAX_OUTSTANDING leaves room
#: for abandoned actions.
MAX_WINDOW = 1024

#: Seconds to wait for the lock while a result can be returned.
_LOCK_WAIT = 0.05

#: Seconds in the caller's code after which pending messages are written before more of its code
#: runs. The messages of a faster caller are batched into one write.
_SLOW_CALLER = 0.001


class _Entry(Generic[MessageT]):
    """A message whose result has not been returned yet."""

    __slots__ = ("item", "message", "pending", "deadline", "postponed", "result")

    def __init__(self, item: MessageT, postponed: float) -> None:
        self.item = item
        self.message: Optional[MessageSend] = None
        self.pending: Optional[PendingAction] = None
        #: The deadline of the response; set when the message can be sent.
        self.deadline: Optional[Deadline] = None
        #: How much of the time in the caller's code the deadline takes into account (seconds).
        self.postponed = postponed
        self.result: Optional[SendResult[MessageT]] = None
        given: MessageLike = item
        try:
            self.message = given if isinstance(given, MessageSend) else MessageSend(**given)
        except LocalProtocolError as error:
            self.fail(error)

    def fail(self, error: AMIError) -> None:
        self.result = SendResult(self.item, None, error)

    def complete(self, result: ActionResult) -> None:
        assert self.pending is not None
        self.pending.log(result.response.name)
        try:
            self.result = SendResult(self.item, receipt_of(result))
        except AMIError as error:
            self.fail(error)


class SendPipeline(Generic[MessageT]):
    """The messages of one :meth:`amiclient.Client.send_messages`.

    :param current_state: returns the state of the client in the current process.
    """

    def __init__(
        self,
        current_state: Callable[[], ClientState],
        messages: Iterable[MessageT],
        window: int,
        timeout: Optional[float],
    ) -> None:
        self._current_state = current_state
        self._state = current_state()
        self._connection = self._state.open_connection
        self._iterator = iter(messages)
        self._window = 1 if self._connection.transport.is_tls else window
        self._timeout = timeout
        self._entries: Deque[_Entry[MessageT]] = deque()
        self._exhausted = False
        self._iterator_error: Optional[Exception] = None
        self._postponed = 0.0  # seconds in the caller's code so far
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

    def cancel(self) -> None:
        """Stop waiting for results, and do not send the remaining messages."""
        self._cancel_pending()
        self._entries.clear()
        self._exhausted = True

    def run(self) -> Generator[SendResult[MessageT], None, None]:
        """Yield the results."""
        # Cancelled twice, because a signal handler can raise during the first.
        try:
            try:
                yield from self._results()
            finally:
                self._cancel_pending()
        except BaseException:
            self._cancel_pending()
            raise

    def _cancel_pending(self) -> None:
        entries = list(self._entries)
        self._connection.cancel([entry.pending.action_id for entry in entries if entry.pending])

    def _results(self) -> Iterator[SendResult[MessageT]]:
        entries = self._entries
        is_slow = False
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
            elapsed = monotonic() - start
            self._postponed += elapsed
            is_slow = elapsed > _SLOW_CALLER
        if self._iterator_error is not None:
            raise self._iterator_error

    def _read_messages(self) -> None:
        # Without the lock: the caller's iterable may block.
        entries = self._entries
        while not self._exhausted and len(entries) < self._window:
            start = monotonic()
            try:
                item = next(self._iterator)
                elapsed = monotonic() - start
                self._postponed += elapsed
                entries.append(_Entry(item, self._postponed))
            except StopIteration:
                self._exhausted = True
                return
            except Exception as error:  # raised after the results of the messages before it
                self._exhausted, self._iterator_error = True, error
                return
            if elapsed > _SLOW_CALLER:
                self._exchange(wait=False)
                if entries[0].result is not None:
                    return

    def _exchange(self, wait: bool) -> None:
        """Send messages and collect results; with ``wait``, until the first is complete."""
        first = next((entry for entry in self._entries if entry.result is None), None)
        if first is None:
            return
        if self._current_state() is not self._state:
            self._connection.close("the connection belongs to the parent process")
            self._collect(wait=False)
            return
        for entry in self._entries:
            if entry.deadline is None:
                entry.deadline = Deadline(self._timeout)
                entry.postponed = self._postponed
        deadline = self._deadline_of(first) if wait else Deadline(_LOCK_WAIT)
        try:
            self._state.run_locked(lambda: self._exchange_locked(deadline, wait), deadline)
        except LockTimeout as error:
            if wait:
                self._abandon_without_lock(first, error)

    def _deadline_of(self, entry: _Entry[MessageT]) -> Deadline:
        assert entry.deadline is not None
        entry.deadline.postpone(self._postponed - entry.postponed)
        entry.postponed = self._postponed
        return entry.deadline

    def _exchange_locked(self, deadline: Deadline, wait: bool) -> None:
        connection = self._connection
        if connection.failure is None:
            try:
                connection.check_alive(Deadline(None))
            except SendFailed:
                pass  # _enqueue() fails every message that is not sent yet
        for entry in self._entries:
            if entry.result is None and entry.pending is None:
                self._enqueue(connection, entry)
        connection.flush(deadline)
        self._collect(wait)

    def _enqueue(self, connection: AMIConnection, entry: _Entry[MessageT]) -> None:
        assert entry.message is not None
        try:
            if connection.failure is not None:
                raise not_connected_error(connection.failure)
            entry.pending = connection.enqueue(entry.message)
        except AMIError as error:
            entry.fail(error)

    def _collect(self, wait: bool) -> None:
        """Collect results; with ``wait``, until the first message has one."""
        connection = self._connection
        reason: Union[Expired, Closed, None] = None
        if connection.failure is not None:
            reason = Closed(connection.failure)
        first = self._entries[0]
        for entry in self._entries:
            while entry.result is None:
                pending = entry.pending
                result = None if pending is None else connection.pop_result(pending.action_id)
                if result is not None:
                    entry.complete(result)
                elif reason is not None:
                    if pending is None:
                        entry.fail(not_connected_error(connection.failure))
                    else:
                        entry.fail(connection.abandon(pending, reason))
                    reason = Closed(connection.failure)
                elif not wait or entry is not first:
                    return
                else:
                    try:
                        connection.pump(self._deadline_of(entry))
                    except (Expired, Closed) as error:
                        # Responses arrive in order: the remaining ones will not arrive either.
                        reason = error.with_traceback(None)
                        connection.close("a response did not arrive in time")

    def _abandon_without_lock(self, entry: _Entry[MessageT], reason: LockTimeout) -> None:
        # Another thread still holds the lock.
        pending = entry.pending
        if pending is None:
            entry.fail(unanswered_error(reason, sent=False))
            return
        result = self._connection.pop_result(pending.action_id)
        if result is not None:
            entry.complete(result)
            return
        self._connection.cancel([pending.action_id])
        entry.fail(unanswered_error(Expired(), sent=True, action_id=pending.action_id))


class SendResults(Generic[MessageT]):
    """The results of :meth:`amiclient.Client.send_messages`: an iterator of :class:`SendResult`.

    Messages are sent only while the caller iterates. Iterate to the end or call :meth:`close`;
    otherwise a :class:`ResourceWarning` counts the unfinished messages.
    """

    def __init__(self, pipeline: SendPipeline[MessageT]) -> None:
        # Separate objects: the running generator must not refer to this one, or __del__ would wait
        # for the garbage collector.
        self._pipeline = pipeline
        self._results = pipeline.run()

    def __iter__(self) -> SendResults[MessageT]:
        return self

    def __next__(self) -> SendResult[MessageT]:
        return next(self._results)

    def close(self) -> None:
        """Stop sending.

        Up to a window of messages may be in flight and may be delivered. The remaining ones are not
        read from the iterable.
        """
        self._results.close()
        self._pipeline.cancel()

    def __del__(self) -> None:
        self._results.close()
        unfinished = self._pipeline.describe_unfinished()
        if unfinished:
            warnings.warn(
                f"send_messages() was not iterated to the end ({unfinished})",
                ResourceWarning,
            )
