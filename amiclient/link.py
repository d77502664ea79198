"""One open connection with its session: writes, reads, and keeps answers until they are asked for.

Apart from the client, which knows how to open one, whose turn it is, and what callers like to see.
A link is used up when it fails; what had left by then and what had not is known here.
"""

from __future__ import annotations

from collections import deque

from amiproto import NEED_DATA, Answer, EndOfStream, Message, RemoteProtocolError

from .deadline import Expired
from .errors import AnswerTimeout, ConnectionLost, SendTimeout, ServerClosed
from .transport import Closed, Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Deque, Dict, Optional, Tuple, Union

    from amiproto import Action, Session

    from .deadline import Deadline

#: Most chunks (16 MiB, more than a socket's buffer has) read before an action leaves: a server
#: that still has more is not dead, and might never stop.
_MOST_LOOKS = 256


class Link:
    """A connection in use.

    :param sock: a connected socket, owned from here on.
    :param session: a new session of the codec.
    :param max_events: events kept while nobody asks for them.
    """

    def __init__(self, sock: socket.socket, session: Session, max_events: int) -> None:
        self._transport = Transport(sock)
        self._session = session
        self._max_events = max_events
        #: Events that nobody has asked for yet, and how many were lost behind the last of them.
        self.events: Deque[Message] = deque()
        self.lost_events = 0
        #: Why nothing can be sent any more, or None.
        self.failure: Optional[str] = None
        self._ending: Optional[str] = None
        # Actions of which some byte has not left, oldest first; _offset bytes of the first have.
        self._queue: Deque[Tuple[str, bytes]] = deque()
        self._offset = 0
        self._answers: Dict[str, Answer] = {}

    @property
    def is_tls(self) -> bool:
        """Whether the connection has TLS on it."""
        return self._transport.is_tls

    def close(self, why: str) -> None:
        """Close the connection; ``why`` is told to whoever still wants something of it."""
        if self.failure is None:
            self.failure = self._ending or why
            self._transport.close()

    def end(self, why: str) -> None:
        """Make another thread's call fail and close, which may be in the middle of anything."""
        self._ending = why
        self._transport.end()

    def log_in(self, deadline: Deadline) -> None:
        """Read the banner and log in.

        :raises Expired, Closed: as :meth:`step`.
        :raises LoginRefused: when the server does not let the user in.
        """
        while not self._session.logged_in:
            self.step(deadline)
            data = self._session.data_to_send()
            if data:
                self._queue.append(("", data))

    def call(self, action: Action, deadline: Deadline) -> Answer:
        """Send an action and wait for its answer.

        :raises NotSent, OutcomeUnknown, LocalProtocolError: as :meth:`Client.send_message`.
        """
        self.look(deadline)
        action_id = self.put(action)
        reason: Union[Expired, Closed, None] = None
        while True:
            try:
                self.step(deadline)
            except (Expired, Closed) as error:
                reason = error
            answer = self.take(action_id)  # it may have come right before the end
            if answer is not None:
                return answer
            if reason is not None:
                raise self.give_up(action_id, reason) from reason

    def look(self, deadline: Deadline) -> None:
        """Read what has come unasked, so that a dead connection is seen before anything leaves.

        :raises ServerClosed: when it is dead.
        :raises SendTimeout: when there is no time left.
        """
        try:
            for _ in range(_MOST_LOOKS):
                data = self._transport.receive() if self._transport.readable() else None
                if data is None:
                    break
                self._take_in(data)
                if deadline.remaining() == 0.0:
                    break
        except Closed as error:
            self.close(str(error))
            raise ServerClosed(
                f"the connection was found closed before the action left ({self.failure}); "
                "connect again and send again"
            ) from error
        except BaseException:
            self._interrupted()
            raise
        if deadline.remaining() == 0.0:
            raise SendTimeout("the time was up before the action left; send it again")

    def put(self, action: Action) -> str:
        """Take an action to be written by the next :meth:`step`; return its ActionID."""
        action = self._session.send(action)
        action_id = action.action_id
        assert action_id is not None
        self._queue.append((action_id, action.wire))
        return action_id

    def take(self, action_id: str) -> Optional[Answer]:
        """The answer to an action, once, if it has come."""
        return self._answers.pop(action_id, None)

    def step(self, deadline: Deadline) -> None:
        """Write what there is room for; wait for something to come, and read it.

        :raises Expired: when the deadline passes first.
        :raises Closed: when the connection has ended, or the server broke the protocol.
        """
        if self.failure is not None:
            raise Closed(self.failure)
        try:
            if self._queue:
                self._write()
            data = self._transport.receive_before(bool(self._queue), deadline)
            if data is not None:
                self._take_in(data)
        except Expired:
            raise
        except Closed as error:
            self.close(f"reading failed: {error}")
            error.args = (self.failure,)
            raise
        except BaseException:
            self._interrupted()
            raise

    def next_event(self, deadline: Deadline) -> Message:
        """The next event.

        :raises Expired, Closed: as :meth:`step`.
        """
        while not self.events:
            self.step(deadline)
        return self.events.popleft()

    def _interrupted(self) -> None:
        # An interrupt can strike between the socket and what is noted here about it: then what
        # has left, or where a stanza starts, is not known.
        self.close("a call was interrupted")

    def give_up(
        self, action_id: str, reason: Union[Expired, Closed]
    ) -> Union[SendTimeout, ServerClosed, AnswerTimeout, ConnectionLost]:
        """Wait no longer for an action, and say what may have become of it."""
        left = self.drop(action_id)
        if isinstance(reason, Expired):
            if left:
                return AnswerTimeout(
                    "the action left and no answer came in time: it may have been carried out; "
                    "find out before you send it again",
                    action_id=action_id,
                )
            return SendTimeout(
                "the server read too slowly: the time was up before the action had left; "
                "send it again",
                action_id=action_id,
            )
        if left:
            return ConnectionLost(
                f"the connection broke before the answer came ({reason}): the action may have "
                "been carried out; find out before you send it again",
                action_id=action_id,
            )
        return ServerClosed(
            f"the connection broke before the action had left ({reason}); "
            "connect again and send again",
            action_id=action_id,
        )

    def drop(self, action_id: str) -> bool:
        """Wait no longer for an action, and say whether its last byte has left."""
        for index, (queued, _) in enumerate(self._queue):
            if queued == action_id:
                if index == 0 and (self._offset or self._transport.has_half_record):
                    # The server waits for the rest, and would take the next action for it.
                    self.close("an action was given up when a part of it had left")
                del self._queue[index]
                self._session.retract(action_id)
                return False
        self._session.abandon(action_id)
        self._answers.pop(action_id, None)
        return True

    def _write(self) -> None:
        queue = self._queue
        while queue:
            if self.is_tls:
                # A record for each line: Asterisk polls the socket and not the TLS layer, so that
                # over 1024 bytes of one write wait for the next (11.25, 16.28, 22.10).
                wire = queue[0][1]
                end = wire.find(b"\n", self._offset) + 1
                data = wire[self._offset : end]
            elif len(queue) == 1:
                data = queue[0][1]
                if self._offset:
                    data = data[self._offset :]
            else:
                data = b"".join([wire for _, wire in queue])[self._offset :]
            try:
                count = self._transport.send(data)
            except Closed as error:
                self._read_the_rest()
                self.close(f"writing failed: {error}")
                raise
            self._offset += count
            while queue and self._offset >= len(queue[0][1]):
                self._offset -= len(queue.popleft()[1])
            if count < len(data):
                return

    def _read_the_rest(self) -> None:
        # Answers that came before the server closed are answers all the same.
        try:
            data = self._transport.receive()
            while data is not None:
                self._take_in(data)
                data = self._transport.receive()
        except Closed:
            pass

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
                    if self._queue and event.action_id in [queued for queued, _ in self._queue]:
                        # Whatever this answers: were it taken, the rest would still leave.
                        raise RemoteProtocolError("the server answered before it was asked")
                    self._answers[event.action_id] = event
                elif isinstance(event, Message):
                    # None behind a gap is kept, so that the gap is reported where it is.
                    if len(self.events) < self._max_events and not self.lost_events:
                        self.events.append(event)
                    else:
                        self.lost_events += 1
                elif isinstance(event, EndOfStream):
                    self.close("the server closed the connection")
                    raise Closed(self.failure)
        except RemoteProtocolError as error:
            self.close(str(error))
            raise Closed(self.failure) from error
