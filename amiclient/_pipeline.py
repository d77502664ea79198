"""Many messages over one connection: several on their way at once, results in order.

Not in the client, because it is the one call that is spread over many turns, and over the code
of its caller, which may take its time between them.
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
    Given,
    Item,
    SendResult,
    not_connected_error,
    receipt_of,
    unanswered_error,
)

#: Most messages on their way at once. More than 32 gave nothing on loopback; a quarter of what a
#: session holds (MAX_OUTSTANDING) leaves room for those that were given up.
MAX_WINDOW = 1024

#: Seconds to wait for the connection, where there is a result to give meanwhile.
_LOCK_WAIT = 0.05

#: Seconds in the caller's code from which on what can be written is written before its next part.
#: A caller that is faster has its messages written many at a time.
_SLOW_CALLER = 0.001


class _Entry(Generic[Item]):
    """A message whose result was not yielded yet."""

    __slots__ = ("item", "message", "pending", "deadline", "postponed", "result")

    def __init__(self, item: Item, postponed: float) -> None:
        self.item = item
        self.message: Optional[MessageSend] = None
        self.pending: Optional[PendingAction] = None
        #: When to give up; it starts when the message can leave. Seconds in the caller's code
        #: before that, which are not this message's.
        self.deadline: Optional[Deadline] = None
        self.postponed = postponed
        self.result: Optional[SendResult[Item]] = None
        given: Given = item
        try:
            self.message = given if isinstance(given, MessageSend) else MessageSend(**given)
        except LocalProtocolError as error:
            self.fail(error)

    def fail(self, error: AMIError) -> None:
        self.result = SendResult(self.item, None, error)

    def answer(self, answer: ActionResult) -> None:
        assert self.pending is not None
        self.pending.log(answer.response.name)
        try:
            self.result = SendResult(self.item, receipt_of(answer))
        except AMIError as error:
            self.fail(error)


class SendPipeline(Generic[Item]):
    """Messages, of which up to ``window`` are on their way at once.

    :param current: what the threads of this process share of the client, as it is when called.
    """

    def __init__(
        self,
        current: Callable[[], ClientState],
        messages: Iterable[Item],
        window: int,
        timeout: Optional[float],
    ) -> None:
        self._current_state = current
        self._state = current()
        self._connection = self._state.open_connection
        self._iterator = iter(messages)
        self._window = 1 if self._connection.transport.is_tls else window
        self._timeout = timeout
        self._entries: Deque[_Entry[Item]] = deque()
        self._exhausted = False
        self._iterator_error: Optional[Exception] = None
        self._postponed = 0.0  # seconds in the caller's code up to now
        self._yielded = 0

    def describe_unfinished(self) -> str:
        """What became of the messages without a result, in words; empty where there are none."""
        on_their_way = sum(1 for entry in self._entries if entry.result is None)
        unread = len(self._entries) - on_their_way
        rest = 0 if self._exhausted else length_hint(self._iterator, -1)
        if not self._entries and not rest:
            return ""
        some = f"{rest} messages" if rest > 0 else "what is left of the messages, if anything,"
        return (
            f"after {self._yielded} results: {unread} more were not read, {on_their_way} messages "
            f"may be on their way, and {some + ' was not sent' if rest else 'nothing is left'}"
        )

    def cancel(self) -> None:
        """Want no more results, and leave no message behind that would be sent later."""
        self._cancel_pending()
        self._entries.clear()
        self._exhausted = True

    def run(self) -> Generator[SendResult[Item], None, None]:
        """Yield the results."""
        # Twice, as an interrupt can strike while leaving, too.
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

    def _results(self) -> Iterator[SendResult[Item]]:
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
            self._yielded += 1
            start = monotonic()
            yield result
            away = monotonic() - start
            self._postponed += away
            is_slow = away > _SLOW_CALLER
        if self._iterator_error is not None:
            raise self._iterator_error

    def _read_messages(self) -> None:
        # Outside of any turn: what the caller's iterable does may take its time.
        entries = self._entries
        while not self._exhausted and len(entries) < self._window:
            start = monotonic()
            try:
                item = next(self._iterator)
                away = monotonic() - start
                self._postponed += away
                entries.append(_Entry(item, self._postponed))
            except StopIteration:
                self._exhausted = True
                return
            except Exception as error:  # raised when the messages before it are settled
                self._exhausted, self._iterator_error = True, error
                return
            if away > _SLOW_CALLER:
                self._exchange(wait=False)
                if entries[0].result is not None:
                    return

    def _exchange(self, wait: bool) -> None:
        """Write what there is to write, take what has come, and wait for the first result."""
        first = next((entry for entry in self._entries if entry.result is None), None)
        if first is None:
            return
        if self._current_state() is not self._state:
            self._connection.close("it belongs to the process that opened it")
            self._collect(self._connection, wait=False)
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

    def _deadline_of(self, entry: _Entry[Item]) -> Deadline:
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
                pass  # a message that was not put has not been sent, and _enqueue says so
        for entry in self._entries:
            if entry.result is None and entry.pending is None:
                self._enqueue(connection, entry)
        connection.flush(deadline)
        self._collect(connection, wait)

    def _enqueue(self, connection: AMIConnection, entry: _Entry[Item]) -> None:
        assert entry.message is not None
        try:
            if connection.failure is not None:
                raise not_connected_error(connection.failure)
            entry.pending = connection.enqueue(entry.message)
        except AMIError as error:
            entry.fail(error)

    def _collect(self, connection: AMIConnection, wait: bool) -> None:
        """Take what came, and wait until the first entry has its result, if it is to."""
        reason: Union[Expired, Closed, None] = None
        if connection.failure is not None:
            reason = Closed(connection.failure)
        first = self._entries[0]
        for entry in self._entries:
            while entry.result is None:
                answer = (
                    None
                    if entry.pending is None
                    else connection.pop_result(entry.pending.action_id)
                )
                if answer is not None:
                    entry.answer(answer)
                elif reason is not None:
                    entry.fail(self._given_up(connection, entry, reason))
                    reason = Closed(connection.failure)
                elif not wait or entry is not first:
                    return
                else:
                    try:
                        connection.pump(self._deadline_of(entry))
                    except (Expired, Closed) as error:
                        # Answers come in order: after one that does not come, none will.
                        reason = error.with_traceback(None)
                        connection.close("an answer did not come in time")

    def _given_up(
        self, connection: AMIConnection, entry: _Entry[Item], reason: Union[Expired, Closed]
    ) -> AMIError:
        if entry.pending is None:
            return not_connected_error(connection.failure)
        return connection.abandon(entry.pending, reason)

    def _abandon_without_lock(self, entry: _Entry[Item], reason: LockTimeout) -> None:
        # Another thread has the connection, and goes on to have it.
        pending = entry.pending
        if pending is None:
            entry.fail(unanswered_error(reason, left=False))
            return
        answer = self._connection.pop_result(pending.action_id)
        if answer is not None:
            entry.answer(answer)
            return
        self._connection.cancel([pending.action_id])
        entry.fail(unanswered_error(Expired(), left=True, action_id=pending.action_id))


class SendResults(Generic[Item]):
    """The results of :meth:`amiclient.Client.send_messages`, in the order of the messages.

    An iterator. Messages are sent as it is asked for results, so one that nobody iterates over
    sends nothing. Iterate to the end, or call :meth:`close`; dropped before that, it warns
    (:class:`ResourceWarning`) with what was left.
    """

    def __init__(self, pipeline: SendPipeline[Item]) -> None:
        # Not one object: what it is dropped with must not hold it.
        self._pipeline = pipeline
        self._results = pipeline.run()

    def __iter__(self) -> SendResults[Item]:
        return self

    def __next__(self) -> SendResult[Item]:
        return next(self._results)

    def close(self) -> None:
        """Want no more results.

        Messages that have not been taken from the iterable stay there; up to a window of them is
        on its way, and may be delivered.
        """
        self._results.close()
        self._pipeline.cancel()

    def __del__(self) -> None:
        self._results.close()
        left = self._pipeline.describe_unfinished()
        if left:
            warnings.warn(
                f"send_messages() was dropped {left}; iterate to the end, or call close()",
                ResourceWarning,
            )
