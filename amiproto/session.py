"""One logged-in session: who asked what, and which answer is whose.

Above the connection and still pure: an asyncio or Twisted program gets from here all that the
blocking client has, but for the sockets.

Logging in, as an object of its own: which action comes next, and whether the server let us in.

A program with its own pairing of answers can use it without the session.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple, TypeVar, Union

from ._text import is_encodable, to_bytes, to_exact_bytes, to_exact_str, to_text
from .connection import NEED_DATA, Connection, EndOfStream, NeedData, Role
from .exceptions import InvalidHeader, LocalProtocolError, LoginFailed, RemoteProtocolError
from .headers import REDACTED
from .limits import (
    MAX_BACKLOG,
    MAX_LINE,
    MAX_LIST_BYTES,
    MAX_OUTSTANDING,
    MAX_STANZA,
    MESSAGE_OVERHEAD,
    MIN_ENTROPY,
)
from .messages import Action, Banner, Event, Message, Response

A = TypeVar("A", bound=Action)

#: Login by challenge: the secret never crosses the wire. Needs nothing of the server but the same
#: ``secret=`` line of manager.conf (11.25, 16.28, 22.10).
MD5 = "md5"
#: Login with the secret in the clear; for links that are encrypted, or trusted.
PLAIN = "plain"


class Login:
    """The exchange that logs a user in.

    Send :meth:`start`, give each answer to :meth:`answer` and send what it returns, until that is
    None: the user is in.

    :param username: the name of the section in manager.conf (str).
    :param secret: its secret (str, or bytes where the file is not UTF-8: bytes are compared).
    :param mechanism: :data:`MD5` or :data:`PLAIN`.
    :param events: the ``Events`` header of the login: ``"off"`` for none, ``"on"`` for all, or
        classes such as ``"call,system"``. With ``"off"`` no asynchronous event is sent at all.
    :raises LocalProtocolError: for a mechanism of another name.
    :raises InvalidHeader, LineTooLong: for a name or secret that no line can carry.
    """

    def __init__(
        self,
        username: str,
        secret: Union[str, bytes],
        *,
        mechanism: str = MD5,
        events: str = "off",
    ) -> None:
        mechanism = to_exact_str(mechanism, "mechanism")
        if mechanism not in (MD5, PLAIN):
            raise LocalProtocolError(
                f"no login mechanism {mechanism!r}; use {MD5!r} or {PLAIN!r}", field="mechanism"
            )
        self._username = to_exact_str(username, "username")
        self._secret = _plain_secret(secret)
        self._mechanism = mechanism
        self._events = to_exact_str(events, "events")
        self._challenged = mechanism == PLAIN
        self._plain_action()  # what cannot be sent is refused now, not in mid-login

    def start(self) -> Action:
        """The first action: ``Challenge``, or ``Login`` itself for :data:`PLAIN`."""
        if self._mechanism == PLAIN:
            return self._plain_action()
        return Action("Challenge", [("AuthType", "MD5")])

    def receive_response(self, response: Response) -> Optional[Action]:
        """The next action (:class:`Action`), or None when the user is in.

        :raises LoginFailed: when the server says no, or gives no challenge.
        """
        challenge = response.headers.get("Challenge", "")
        if response.name != "Success" or not (self._challenged or challenge):
            words = self._without_secret(response.message or response.name)
            raise LoginFailed(
                f"the server refused the login of {self._username!r}: {words!r}; check user, "
                "secret, and the permit and deny lines of manager.conf",
                server_message=words,
                action_id=response.action_id,
            )
        if self._challenged:
            return None
        self._challenged = True
        key = _md5_hex(to_bytes(challenge) + self._secret)
        return self._login([("AuthType", "MD5"), ("Username", self._username), ("Key", key)])

    def _plain_action(self) -> Action:
        return self._login([("Username", self._username), ("Secret", to_text(self._secret))])

    def _login(self, headers: List[Tuple[str, str]]) -> Action:
        return Action("Login", [*headers, ("Events", self._events)])

    def _without_secret(self, words: str) -> str:
        # A server that echoes what it was sent must not bring the secret into an error.
        secret = to_text(self._secret)
        return words.replace(secret, REDACTED) if secret else words

    def __repr__(self) -> str:
        return f"<Login {self._username!r} by {self._mechanism}>"


def _plain_secret(secret: Union[str, bytes]) -> bytes:
    if isinstance(secret, str):
        secret = to_exact_str(secret, "secret")
        if not is_encodable(secret):
            raise InvalidHeader(
                "the secret holds a lone surrogate, which no byte stands for; give bytes",
                field="Secret",
            )
        return to_bytes(secret)
    return to_exact_bytes(secret, "secret")


def _md5_hex(data: bytes) -> str:
    # The server compares with lowercase hexadecimal (11.25, 16.28, 22.10).
    from hashlib import md5

    try:
        return md5(data, usedforsecurity=False).hexdigest()
    except TypeError:  # Python 3.8, which does not know the word yet
        return md5(data).hexdigest()


#: Headers of an answer whose values the server makes up itself. Whatever follows a stanza of only
#: these is a stanza of the server's own, and not the rest of a value.
_SERVER_HEADERS = frozenset({"response", "actionid", "message", "ping", "timestamp", "challenge"})


@dataclass(frozen=True)
class LoggedIn:
    """The session is open: the server accepted the login.

    :ivar Banner banner: the server's banner.
    :ivar Response response: its answer to the login.
    """

    banner: Banner
    response: Response


@dataclass(frozen=True)
class ActionResult:
    """What the server answered to one action.

    :ivar str action_id: the action's ActionID.
    :ivar Response response: the response.
    :ivar events: where the answer is a list, its events in order (tuple of Event), without the
        closing one.
    :ivar complete: the event that closed the list (Event), or None where the answer is no list.
    """

    action_id: str
    response: Response
    events: Tuple[Event, ...] = ()
    complete: Optional[Event] = None

    def __repr__(self) -> str:
        # A list can have thousands of events.
        return f"<ActionResult {self.response!r} events={len(self.events)}>"


class _List:
    """A list that is not complete yet."""

    __slots__ = ("response", "wanted", "events", "size")

    def __init__(self, response: Response, wanted: bool) -> None:
        self.response = response
        self.wanted = wanted
        self.events: List[Event] = []
        self.size = 0


class Session:
    """The client's side of one AMI session, without any I/O.

    Feed it with :meth:`receive_data` and :meth:`receive_eof`; after each, take :meth:`next_event`
    until it gives :data:`NEED_DATA`, and write what :meth:`data_to_send` returns. First comes
    :class:`LoggedIn`. From then on :meth:`send` makes an action ready, and its
    :class:`ActionResult` carries its ActionID. In between come :class:`Event`,
    :class:`UnknownMessage`, a :class:`Response` that answers nothing of this session, and in the end :class:`EndOfStream`.

    ActionIDs cannot be guessed, so that a stanza forged inside a value (Asterisk does not escape
    line breaks) never passes for an answer. A response without ActionID answers the oldest action,
    as servers answer in order, unless what came before it could be a value it was forged in.

    :param username: as for :class:`Login`.
    :param secret: as for :class:`Login`.
    :param entropy: at least 16 bytes of randomness nobody else knows: ``os.urandom(16)``.
    :param mechanism: :data:`MD5` or :data:`PLAIN`.
    :param events: the ``Events`` header of the login.
    :param max_outstanding: most actions that wait for an answer, abandoned ones included.
    :param max_list_bytes: most bytes of events in lists that are not complete.
    :param max_line, max_stanza, max_backlog: as for :class:`Connection`.
    :raises LocalProtocolError: for less randomness, for a ``max_outstanding`` below 1, and as
        :class:`Login` does.
    """

    def __init__(
        self,
        username: str,
        secret: Union[str, bytes],
        *,
        entropy: bytes,
        mechanism: str = MD5,
        events: str = "off",
        max_outstanding: int = MAX_OUTSTANDING,
        max_list_bytes: int = MAX_LIST_BYTES,
        max_line: int = MAX_LINE,
        max_stanza: int = MAX_STANZA,
        max_backlog: int = MAX_BACKLOG,
    ) -> None:
        if len(entropy) < MIN_ENTROPY:
            raise LocalProtocolError(
                f"entropy has {len(entropy)} bytes and {MIN_ENTROPY} are needed; "
                "give os.urandom(16)",
                field="entropy",
                limit=MIN_ENTROPY,
                actual=len(entropy),
            )
        if max_outstanding < 1:
            raise LocalProtocolError(
                f"max_outstanding is {max_outstanding}, and the login itself takes 1; give 1 or "
                "more",
                field="max_outstanding",
                limit=1,
                actual=max_outstanding,
            )
        self._connection = Connection(
            Role.CLIENT, max_line=max_line, max_stanza=max_stanza, max_backlog=max_backlog
        )
        self._ids = _ActionIDs(entropy)
        self._login: Optional[Login] = Login(username, secret, mechanism=mechanism, events=events)
        self._max_outstanding = max_outstanding
        self._max_list_bytes = max_list_bytes
        self._banner: Optional[Banner] = None
        self._to_send: List[bytes] = []
        #: ActionID of every action without an answer, oldest first, and whether anybody waits.
        self._waiting: Dict[str, bool] = {}
        #: Those of them for which a response without ActionID may be, oldest first. As servers
        #: answer in order, it is for none that a later action's answer has overtaken.
        self._in_order: OrderedDict[str, None] = OrderedDict()
        self._lists: Dict[str, _List] = {}
        self._list_bytes = 0
        self._is_legacy = False
        self._previous: Optional[Message] = None
        self._logoff: Optional[str] = None  # ActionID of the Logoff that was sent
        self._ended = False

    @property
    def banner(self) -> Optional[Banner]:
        """The server's banner (:class:`Banner`), or None before it came."""
        return self._banner

    @property
    def logged_in(self) -> bool:
        """Whether the server accepted the login."""
        return self._login is None

    @property
    def outstanding(self) -> Tuple[str, ...]:
        """The ActionIDs without a complete answer, oldest first; abandoned ones left out."""
        lists = [key for key, value in self._lists.items() if value.wanted]
        return tuple(lists + [key for key, wanted in self._waiting.items() if wanted])

    def receive_data(self, data: bytes) -> None:
        """Take bytes that came; raises as :meth:`Connection.receive_data` does."""
        self._connection.receive_data(data)

    def receive_eof(self) -> None:
        """Take the end of the stream; what came before it can still be read."""
        self._connection.receive_eof()

    def data_to_send(self) -> bytes:
        """What the login needs to have written now (bytes); empty when nothing."""
        data = b"".join(self._to_send)
        self._to_send.clear()
        return data

    def send(self, action: A) -> A:
        """Take an action; write the ``wire`` of what is returned: the same, with its ActionID.

        :param action: an :class:`Action`; one without ActionID gets one that nobody can guess.
        :raises LocalProtocolError: before the login and after Logoff, when ``max_outstanding``
            actions wait already, or one waits under this ActionID. Nothing has changed then.
        :raises LocalProtocolError: also as :meth:`Action.check_server` does for this server.
        """
        if not isinstance(action, Action):
            if isinstance(action, Message):
                raise LocalProtocolError(
                    f"a session sends no {type(action).__name__}; give an Action"
                )
            raise TypeError(f"action is an Action, not {type(action).__name__}; give Action(name)")
        if self._login is not None:
            raise LocalProtocolError("log in first: the server answers nothing else before")
        if self._logoff is not None:
            raise LocalProtocolError("Logoff was sent; open another session to ask for more")
        if self._ended:
            raise LocalProtocolError("the server has ended the session; open another")
        assert self._banner is not None
        action.check_server(self._banner)
        action = self._register(action)
        if b"logoff" in action.wire.lower() and action.name.lower() == "logoff":
            self._logoff = action.action_id
        return action

    def abandon(self, action_id: str) -> None:
        """Wait no longer for the answer to an action; when it comes it is dropped.

        :param action_id: its ActionID (str); one that is not waited for is ignored.
        """
        if action_id in self._waiting:
            self._waiting[action_id] = False
        elif action_id in self._lists:
            self._lists[action_id].wanted = False

    def cancel(self, action_id: str) -> None:
        """Take an action back of which no byte, or not its last one, has left.

        :param action_id: its ActionID (str); one that does not wait is ignored.
        """
        if action_id == self._logoff:
            self._logoff = None
        self._waiting.pop(action_id, None)
        self._in_order.pop(action_id, None)

    def next_event(self) -> Union[LoggedIn, ActionResult, Message, EndOfStream, NeedData]:
        """What comes next, or :data:`NEED_DATA`.

        :raises LoginFailed: when the server does not let the user in.
        :raises RemoteProtocolError: as :meth:`Connection.next_event` does, and when the events of
            lists pass ``max_list_bytes``.
        """
        while True:
            message = self._connection.next_event()
            result: Union[LoggedIn, ActionResult, Message, None]
            if isinstance(message, Event):
                self._previous = None
                if not self._lists:
                    return message
                result = self._take_event(message)
            elif isinstance(message, Response):
                result = self._take_response(message)
            elif isinstance(message, Banner):
                self._take_banner(message)
                continue
            elif message is NEED_DATA:
                return message
            else:
                self._previous = None
                self._ended = isinstance(message, EndOfStream)
                return message
            if result is not None:
                return result

    def _take_banner(self, banner: Banner) -> None:
        """Note the server's version, and begin to log in."""
        assert self._login is not None
        self._banner = self._previous = banner
        self._is_legacy = banner.major == 1  # Asterisk up to 11
        self._ask(self._login.start())

    def _ask(self, action: Action) -> None:
        self._to_send.append(self._register(action).wire)

    def _register(self, action: A) -> A:
        action_id = action.action_id
        if action_id is None:
            action_id = self._ids.next()
            action = action.with_action_id(action_id)
        waiting, lists = self._waiting, self._lists
        if action_id in waiting or action_id in lists:
            raise LocalProtocolError(
                "an action with this ActionID waits for its answer; give another or none",
                field="ActionID",
                action_id=action_id,
            )
        if len(waiting) + len(lists) >= self._max_outstanding:
            raise LocalProtocolError(
                f"{self._max_outstanding} actions wait for an answer; read answers first",
                limit=self._max_outstanding,
                actual=len(waiting) + len(lists),
                action_id=action_id,
            )
        self._connection.send(action)  # which may refuse
        waiting[action_id] = True
        self._in_order[action_id] = None
        return action

    def _take_response(self, response: Response) -> Union[LoggedIn, ActionResult, Response, None]:
        action_id = response.action_id
        if action_id is None and self._is_trusted_context():
            action_id = next(iter(self._in_order), None)
        if action_id is None or action_id not in self._waiting:
            self._previous = None
            return response
        wanted = self._waiting.pop(action_id)
        if action_id in self._in_order:
            # Those before it have been overtaken. Each action leaves here once, so that this
            # costs the same in the long run for any order of answers.
            while self._in_order.popitem(last=False)[0] != action_id:
                pass
        self._previous = response
        if self._login is not None:
            return self._take_login(response)
        if self._starts_list(response):
            self._lists[action_id] = _List(response, wanted)
            return None
        return ActionResult(action_id, response) if wanted else None

    def _take_login(self, response: Response) -> Optional[LoggedIn]:
        assert self._login is not None and self._banner is not None
        action = self._login.receive_response(response)
        if action is not None:
            self._ask(action)
            return None
        self._login = None  # and the secret with it
        return LoggedIn(self._banner, response)

    def _is_trusted_context(self) -> bool:
        previous = self._previous
        if previous is None:
            return False
        return all(name.lower() in _SERVER_HEADERS for name in previous.headers)

    def _starts_list(self, response: Response) -> bool:
        # One module writes "Start" (16.28, 22.10).
        event_list = _event_list(response)
        if event_list:
            return event_list == "start"
        # Some lists of Asterisk 11 say so in words only, and end with an event "...Complete".
        return (
            self._is_legacy
            and response.name == "Success"
            and response.message.lower().endswith("will follow")
            and all(name.lower() in _SERVER_HEADERS for name in response.headers)
        )

    def _take_event(self, event: Event) -> Union[ActionResult, Event, None]:
        # Headers that were looked at stay with the event they were asked of. Those of a list are
        # kept, some of them for long, and must not take more memory than they are counted with.
        looked_at = Event.from_wire(event.wire)
        action_id = looked_at.action_id
        if action_id is None or action_id not in self._lists:
            return event
        pending = self._lists[action_id]
        if self._ends_list(looked_at):
            del self._lists[action_id]
            self._list_bytes -= pending.size
            if not pending.wanted:
                return None
            return ActionResult(action_id, pending.response, tuple(pending.events), event)
        if pending.wanted:
            pending.events.append(event)
            size = len(event.wire) + MESSAGE_OVERHEAD
            pending.size += size
            self._list_bytes += size
            if self._list_bytes > self._max_list_bytes:
                raise self._connection.fail(
                    RemoteProtocolError(
                        f"the server's lists take over {self._max_list_bytes} bytes of memory; ask "
                        "for less or raise max_list_bytes",
                        limit=self._max_list_bytes,
                        action_id=action_id,
                    )
                )
        return None

    def _ends_list(self, event: Event) -> bool:
        # Some modules say "cancelled" where they give up on a list (Asterisk source).
        if _event_list(event) in ("complete", "cancelled"):
            return True
        return self._is_legacy and event.name.lower().endswith("complete")

    def __repr__(self) -> str:
        state = self._connection.state.value
        return f"<Session {state} logged_in={self.logged_in} outstanding={len(self.outstanding)}>"


def _event_list(message: Message) -> str:
    """The value of EventList in lower case; empty where the server wrote none."""
    if b"eventlist" not in message.wire.lower():
        return ""  # so that the lines of most need not be read
    # The server writes EventList before any value that is not its own. Further down it may be what
    # is after a line break in a value: that would begin a list that never ends, or end one early.
    for name, value in message.headers.items()[1:]:
        lowered = name.lower()
        if lowered == "eventlist":
            return value.lower()
        if lowered not in ("actionid", "privilege"):
            break
    return ""


class _ActionIDs:
    """ActionIDs that nobody can guess who has seen others: the hash of a secret and a counter."""

    #: Bytes of each, written as twice as many hexadecimal digits.
    SIZE = 16

    def __init__(self, entropy: bytes) -> None:
        from hashlib import shake_256

        self._hash = shake_256(entropy)
        self._count = 0

    def next(self) -> str:
        self._count += 1
        hashed = self._hash.copy()
        hashed.update(b"%d" % self._count)
        return hashed.hexdigest(self.SIZE)
