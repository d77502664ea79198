"""Many messages over one link: several on their way at once, results in order.

Apart from the client because it is the one call that is spread over many turns.
"""

from __future__ import annotations

from collections import deque

from amiproto import AMIError, LocalProtocolError, MessageSend

from .deadline import Deadline, Expired
from .errors import NotConnected, ServerClosed
from .results import SendResult
from .transport import Closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Iterable, Iterator, Mapping
    from typing import Optional, Union

    from amiproto import Answer

    from .link import Link
    from .results import Receipt

    Item = Union[MessageSend, Mapping[str, Any]]

#: Most messages on their way at once. More than 32 gave nothing on loopback; a quarter of what a
#: session holds (MAX_OUTSTANDING) leaves room for those that were given up.
MAX_WINDOW = 1024


class _Entry:
    """A message whose result was not yielded yet."""

    __slots__ = ("item", "message", "action_id", "deadline", "result")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.message: Optional[MessageSend] = None
        self.action_id: Optional[str] = None
        self.deadline: Optional[Deadline] = None
        self.result: Optional[SendResult] = None
        try:
            self.message = item if isinstance(item, MessageSend) else MessageSend(**item)
        except LocalProtocolError as error:
            self.fail(error)

    def fail(self, error: AMIError) -> None:
        self.result = SendResult(self.item, None, error)


def send_messages(
    link: Link,
    take_turn: Callable[[], Any],
    receipt: Callable[[Answer], Receipt],
    items: Iterable[Item],
    window: int,
    timeout: Optional[float],
) -> Iterator[SendResult]:
    """Yield a result for each item, in order, with up to ``window`` on their way.

    :param take_turn: takes the connection for a while, so that other threads may have it in
        between; to release what is returned gives it back.
    :param receipt: a receipt of an answer; raises an error for any but Success.
    """
    if link.is_tls:
        window = 1
    iterator = iter(items)
    entries: Deque[_Entry] = deque()
    trouble: Optional[Exception] = None
    exhausted = False
    try:
        while True:
            while not exhausted and len(entries) < window:
                # Outside of any turn: what the caller's iterable does may take its time.
                try:
                    entries.append(_Entry(next(iterator)))
                except StopIteration:
                    exhausted = True
                except Exception as error:  # raised when the messages before it are settled
                    exhausted, trouble = True, error
            if not entries:
                break
            turn = take_turn()
            try:
                _look(link)
                for entry in entries:
                    if entry.result is None and entry.action_id is None:
                        _put(link, entry, timeout)
                _settle(link, receipt, entries)
            finally:
                turn.release()
            while entries:
                result = entries[0].result
                if result is None:
                    break
                entries.popleft()
                yield result
    finally:
        if entries:  # the caller wants no more results
            turn = take_turn()
            try:
                for entry in entries:
                    if entry.action_id is not None and entry.result is None:
                        link.drop(entry.action_id)
            finally:
                turn.release()
    if trouble is not None:
        raise trouble


def _look(link: Link) -> None:
    # What is found dead before a message is put has not sent it, and _put says so.
    try:
        if link.failure is None:
            link.look(Deadline(None))
    except ServerClosed:
        pass


def _put(link: Link, entry: _Entry, timeout: Optional[float]) -> None:
    assert entry.message is not None
    try:
        if link.failure is not None:
            raise NotConnected(
                f"not sent, as the connection has ended: {link.failure}; connect again and send "
                "again"
            )
        entry.action_id = link.put(entry.message)
        entry.deadline = Deadline(timeout)
    except (LocalProtocolError, NotConnected) as error:
        entry.fail(error)


def _settle(link: Link, receipt: Callable[[Answer], Receipt], entries: Deque[_Entry]) -> None:
    """Wait until the first entry has its result, and take what came for the others, too."""
    reason: Union[Expired, Closed, None] = None
    first = entries[0]
    for entry in entries:
        while entry.result is None and entry.action_id is not None:
            answer = link.take(entry.action_id)
            if answer is not None:
                try:
                    entry.result = SendResult(entry.item, receipt(answer), None)
                except AMIError as error:
                    entry.fail(error)
            elif reason is not None:
                entry.fail(link.give_up(entry.action_id, reason))
                reason = Closed(link.failure)
            elif entry is not first:
                return
            else:
                assert entry.deadline is not None
                try:
                    link.step(entry.deadline)
                except (Expired, Closed) as error:
                    # Answers come in order: behind one that does not come, none will.
                    reason = error
                    link.close("an answer did not come in time")
