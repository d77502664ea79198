"""What the threads of one process share of a client: whose turn it is, and the connection.

And the one way to use it, :meth:`Shared.in_turn`, which is whole wherever an exception of a signal
handler strikes: what the call had begun is then closed, and its turn is given back.
"""

from __future__ import annotations

from amiproto import AMIError

from .deadline import Deadline, Expired
from .errors import CallInProgress
from .outcomes import not_open
from .transport import Closed
from .turns import Busy, Turn, Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, TypeVar

    from .link import Link
    from .transport import Transport

    T = TypeVar("T")

#: Seconds after which a thread that closes the client looks whether another has opened it anew.
_CLOSING = 0.05


class Shared:
    """A connection, or none, and the turns on it, in one process."""

    def __init__(self) -> None:
        self._turns = Turns()
        #: The connection as it is being opened, and from then on.
        self.transport: Optional[Transport] = None
        #: The connection once the login is done.
        self.link: Optional[Link] = None
        #: The version of AMI that the server's banner named.
        self.server_version: Optional[str] = None

    @property
    def wanted(self) -> bool:
        """Whether a call waits for its turn that does more than to listen."""
        return self._turns.wanted

    @property
    def open_link(self) -> Link:
        """The connection, open as far as is known.

        :raises NotConnected: where there is none.
        """
        link = self.link
        if link is None or link.failure is not None:
            raise not_open(None if link is None else link.failure)
        return link

    def in_turn(self, work: Callable[[], T], deadline: Deadline, listens: bool = False) -> T:
        """Do something when it is this call's turn.

        When it raises what it is not known to raise, the connection is closed: an interrupt can
        strike between the socket and what is noted here about it. Cleaning up is done twice, as an
        interrupt can strike in the middle of that, too; the second time finds nothing to do.

        :param listens: whether the work only waits for events: it is woken up when others call.
        :raises Busy: when the deadline passes before it is.
        :raises CallInProgress: when this thread is in the middle of another call.
        """
        turns = self._turns
        turn = Turn(self._wake if listens else None)
        if turns.is_in_a_call(turn.thread):
            raise CallInProgress(
                "this thread is in the middle of another call of this client, from which a signal "
                "handler or __del__ came here; nothing was sent: call later, or use another client"
            )
        try:
            try:
                turns.take(turn, deadline)
                return work()
            except (AMIError, Expired, Closed):
                raise
            except BaseException:
                self._interrupted(turn)
                raise
            finally:
                turns.give_back(turn)
        except BaseException:
            self._interrupted(turn)
            turns.give_back(turn)
            raise

    def _interrupted(self, turn: Turn) -> None:
        if self._turns.has(turn):
            self.close("a call was interrupted")

    def close(self, why: str) -> None:
        """Close the connection, if there is one; for the call whose turn it is."""
        if self.link is not None:
            self.link.close(why)
        if self.transport is not None:
            self.transport.close()

    def end(self, why: str) -> None:
        """Close the connection, whoever uses it, from any thread."""
        try:
            self._end(why)
        except BaseException:  # an interrupt: what was begun is finished
            self._end(why)
            raise

    def _end(self, why: str) -> None:
        while True:
            if self.transport is not None:
                self.transport.end(why)
            try:
                self.in_turn(lambda: self._forget(why), Deadline(_CLOSING))
                return
            except Busy:
                pass  # another call had its turn first, and may have opened the client anew
            except CallInProgress:
                return  # that call ends by what was said to it, and closes

    def _forget(self, why: str) -> None:
        self.close(why)
        self.link = self.transport = None

    def _wake(self) -> None:
        if self.link is not None:
            self.link.wake()
