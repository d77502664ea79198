"""One open connection with its session: writes, reads, and keeps answers until they are asked for.

The client knows how to open one, whose turn it is, and what callers like to see.
A link is used by the call whose turn it is, but for :meth:`Link.wake`, :meth:`Link.forget` and
:meth:`Link.take`, which any thread may call at any time. It is used up when it fails.
"""

from __future__ import annotations

from collections import deque
from time import monotonic

from amiproto import (
    NEED_DATA,
    Answer,
    EndOfStream,
    Event,
    LocalProtocolError,
    LoginRefused,
    Orphan,
    RemoteProtocolError,
    Response,
)
from amiproto.limits import MAX_OUTSTANDING

from . import log
from .deadline import Expired
from .outbox import Outbox
from .outcomes import given_up
from .transport import Closed, Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Deque, Dict, Iterable, Optional, Union

    from amiproto import Action, AMIError, Session

    from .deadline import Deadline
    from .kept import KeptEvents, Unasked

#: Most chunks (16 MiB, more than a socket's buffer has) read before an action leaves, or after a
#: write failed: a server that still has more is not dead, and might never stop.
_MOST_LOOKS = 256


class Ticket:
    """An action that was taken to be sent, for whoever waits for its answer."""

    __slots__ = ("action_id", "name", "start")

    def __init__(self, action_id: str, name: str) -> None:
        self.action_id = action_id
        self.name = name
        self.start = monotonic()

    def log(self, what: str) -> None:
        """Log what became of it, and how long that took; never what it holds."""
        log.debug(
            "%s, ActionID %s: %s after %.4f s",
            self.name, self.action_id, what, monotonic() - self.start,
        )  # fmt: skip


class Link:
    """A connection in use.

    :param transport: connected, with TLS or without; owned from here on.
    :param session: a new session of the codec.
    :param events: where events go that nobody has asked for yet.
    """

    def __init__(self, transport: Transport, session: Session, events: KeptEvents) -> None:
        self._transport = transport
        self._session = session
        self._outbox = Outbox(transport.is_tls)
        self._answers: Dict[str, Answer] = {}
        self._forgotten: Deque[str] = deque()
        self.events = events
        #: Why nothing can be sent any more, or None.
        self.failure: Optional[str] = None

    @property
    def is_tls(self) -> bool:
        """Whether the connection has TLS on it."""
        return self._transport.is_tls

    # -- For any thread at any time.

    def wake(self) -> None:
        """Make the wait of the call whose turn it is end, so that it looks who else wants one."""
        self._transport.wake()

    def forget(self, action_ids: Iterable[str]) -> None:
        """Wait no longer for actions: those that have not left will not leave in a later turn."""
        self._forgotten.extend(action_ids)

    def take(self, action_id: str) -> Optional[Answer]:
        """The answer to an action, once, if it has come."""
        return self._answers.pop(action_id, None)

    # -- For the call whose turn it is.

    def close(self, why: str) -> None:
        """Close the connection; ``why`` is told to whoever still wants something of it."""
        if self.failure is None:
            self.failure = self._transport.ending or why
        self._transport.close()

    def log_in(self, deadline: Deadline) -> None:
        """Read the banner and log in.

        :raises Expired, Closed: as :meth:`step`.
        :raises LoginRefused: when the server does not let the user in.
        """
        refused: Optional[LoginRefused] = None
        try:
            while not self._session.logged_in:
                self.step(deadline)
                self._queue_login()
        except LoginRefused as error:
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
            self._outbox.put("", data)

    def call(self, action: Action, deadline: Deadline) -> Answer:
        """Send an action and wait for its answer.

        :raises NotSent, OutcomeUnknown, LocalProtocolError: as :meth:`Client.send_message`.
        """
        self.look(deadline)
        ticket = self.put(action)
        while True:
            reason: Union[Expired, Closed, None] = None
            try:
                self.step(deadline)
            except (Expired, Closed) as error:
                reason = error.with_traceback(None)  # which would hold this frame for ever
            answer = self.take(ticket.action_id)  # it may have come right before the end
            if answer is not None:
                ticket.log(answer.response.name)
                return answer
            if reason is not None:
                raise self.give_up(ticket, reason) from reason

    def look(self, deadline: Deadline) -> None:
        """Read what has come unasked, so that a dead connection is seen before anything leaves.

        :raises ServerClosed: when it is dead.
        :raises SendTimeout: when there is no time left.
        """
        try:
            self._read_what_is_there(deadline)
            if deadline.remaining() == 0.0:
                raise Expired
        except (Expired, Closed) as error:
            raise given_up(error, left=False) from error

    def put(self, action: Action) -> Ticket:
        """Take an action to be written by the next :meth:`step` or :meth:`flush`.

        :raises LocalProtocolError: as :meth:`amiproto.Session.send`.
        :raises ServerClosed: when the server owes so many answers that it takes no more actions.
        """
        try:
            action = self._session.send(action)
        except LocalProtocolError as error:
            is_full = type(error) is LocalProtocolError and error.limit == MAX_OUTSTANDING
            if not is_full or len(self._session.outstanding) > MAX_OUTSTANDING // 2:
                raise
            # Nobody waits for most of those answers, and none of them came: none will.
            self.close(f"the server left {error.limit} actions without an answer")
            raise given_up(Closed(self.failure), left=False) from error
        assert action.action_id is not None
        self._outbox.put(action.action_id, action.wire)
        return Ticket(action.action_id, action.name)

    def flush(self, deadline: Deadline) -> None:
        """Write what there is room for, and wait for nothing; :attr:`failure` says if it fails."""
        try:
            self._write(deadline)
        except Closed:
            pass

    def step(self, deadline: Deadline) -> None:
        """Write what there is room for; wait for something to come, and read it.

        Returns with nothing read when another thread ended the wait.

        :raises Expired: when the deadline passes first.
        :raises Closed: when the connection has ended, or the server broke the protocol.
        """
        try:
            self._write(deadline)
            if self.failure is not None:  # before this, or by an action forgotten half-way
                raise Closed(self.failure)
            data = self._transport.receive_before(bool(self._outbox), deadline)
            if data is not None:
                self._take_in(data)
        except Closed as error:
            self.close(str(error))
            error.args = (self.failure,)
            raise

    def next_event(self, deadline: Deadline, wanted: Callable[[], bool]) -> Optional[Unasked]:
        """The next event; None when another call wants the connection.

        :raises Expired, Closed: as :meth:`step`.
        :raises EventOverflow: where some were lost.
        """
        while not self.events:
            if wanted():
                return None
            self.step(deadline)
        return self.events.take()

    def give_up(self, ticket: Ticket, reason: Union[Expired, Closed]) -> AMIError:
        """Wait no longer for an action, and say what may have become of it."""
        error = given_up(reason, self._drop(ticket.action_id), ticket.action_id)
        ticket.log(error.outcome)
        return error

    def _drop(self, action_id: str) -> bool:
        """Wait no longer for an action, and say whether its last byte has left."""
        if action_id in self._outbox:
            if self._outbox.take_back(action_id) or self._transport.has_half_record:
                # The server waits for the rest, and would take the next action for it.
                self.close("an action was given up when a part of it had left")
            self._session.retract(action_id)
            return False
        self._session.abandon(action_id)
        self._answers.pop(action_id, None)
        return True

    def _write(self, deadline: Deadline) -> None:
        while self._forgotten:
            self._drop(self._forgotten.popleft())
        while self._outbox and self.failure is None:
            try:
                count = self._transport.send(self._outbox.piece())
            except Closed as error:
                try:
                    self._read_what_is_there(deadline)  # answers from before are answers
                except Closed:
                    pass
                self.close(str(error))
                raise
            if not count:
                return
            self._outbox.took(count)

    def _read_what_is_there(self, deadline: Deadline) -> None:
        """Read what has come, without waiting for more.

        :raises Closed: when the connection has ended, or the server broke the protocol.
        """
        try:
            for _ in range(_MOST_LOOKS):
                if not self._transport.readable():
                    return
                data = self._transport.receive()
                if data is None:
                    return
                self._take_in(data)
                if deadline.remaining() == 0.0:
                    return
        except Closed as error:
            self.close(str(error))
            error.args = (self.failure,)
            raise

    def _take_in(self, data: bytes) -> None:
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
                if isinstance(event, Answer):
                    if self._outbox and event.action_id in self._outbox:
                        # Whatever this answers: were it taken, the rest would still leave.
                        raise RemoteProtocolError(
                            "the server answered before it was asked; close the connection"
                        )
                    self._answers[event.action_id] = event
                elif isinstance(event, (Event, Response, Orphan)):
                    self.events.add(event)
                elif isinstance(event, EndOfStream):
                    raise Closed("the server closed the connection")
        except RemoteProtocolError as error:
            raise Closed(str(error)) from error
