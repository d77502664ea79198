"""The client's side of a session: login, and matching responses to actions.

A :class:`Session` has everything that the blocking client has, except sockets, so that programs
based on asyncio or Twisted can use it. :class:`Login` is for programs that match responses
themselves, :class:`ServerLogin` for servers and proxies.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Dict, List, Mapping, NamedTuple, Optional, Set, Tuple, TypeVar, Union

from ._text import get_header, is_encodable, to_bytes, to_exact_bytes, to_exact_str, to_text
from .connection import NEED_DATA, Connection, EndOfStream, NeedData, Role
from .exceptions import (
    LOGIN_IN_USE,
    SHUTTING_DOWN,
    InvalidHeader,
    LocalProtocolError,
    LoginFailed,
    RemoteProtocolError,
    quote,
)
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

#: Login by challenge: the secret is never sent. The server needs no other configuration than
#: ``secret=`` in manager.conf (11.25, 16.28, 22.10).
MD5 = "md5"
#: Login with the secret in plain text, for encrypted or trusted connections.
PLAIN = "plain"

#: The bytes of a new ActionID; it has twice as many hexadecimal digits.
_ACTION_ID_BYTES = 16

#: The number of ActionIDs that are made at once.
_NEW_IDS = 64

#: Response headers whose values the server generates itself. The stanza after one with only these
#: headers cannot be part of a header value.
_SERVER_HEADERS = frozenset({"response", "actionid", "message", "ping", "timestamp", "challenge"})


#: The event classes of Asterisk, and the words for all and no events (16.28, 22.10). Asterisk
#: ignores any other class, also one with capitals or spaces: the login succeeds, but no event is
#: sent.
_EVENT_CLASSES = frozenset(
    "system call log verbose command agent user config dtmf reporting cdr dialplan originate agi cc"
    " aoc test security message all none".split()
)
#: The words that turn all events on or off. Asterisk accepts them in capitals, too.
_EVENT_SWITCHES = frozenset("on off yes no true false".split())


def _check_event_mask(events: str) -> str:
    if events in _EVENT_SWITCHES or events.isascii() and events.isdigit():
        return events
    for word in events.split(","):
        if word not in _EVENT_CLASSES:
            raise LocalProtocolError(
                f"events has an unknown class {quote(word)}; expected on, off, or lower-case "
                "classes such as call,system",
                field="events",
            )
    return events


#: The probable causes of a failed login, by the message of the response, or else by the step.
_HINTS = {
    LOGIN_IN_USE: "; the user has another session, and manager.conf has allowmultiplelogin=no",
    SHUTTING_DOWN: "",
    "challenge": '; if the server has no Challenge, use mechanism="plain", which sends the secret',
    "login": "; check the username, the secret, and the permit and deny lines of manager.conf",
}


class Login:
    """The exchange of messages that logs in.

    Send the action from :meth:`start`. Pass each response to :meth:`receive_response`, and send the
    action that it returns, until it returns None: the login is complete.

    :param username: the name of the section in manager.conf (str).
    :param secret: its secret (str; or bytes if the file is not UTF-8, because bytes are compared).
    :param mechanism: :data:`MD5` or :data:`PLAIN`.
    :param events: the event mask: ``"off"``, ``"on"``, or classes such as ``"call,system"``. With
        ``"off"``, the server sends no asynchronous events.
    :raises LocalProtocolError: for an unknown mechanism or event class.
    :raises InvalidHeader, LineTooLong: if the username or secret cannot be sent.
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
                f"unknown login mechanism {quote(mechanism)}; expected {MD5!r} or {PLAIN!r}",
                field="mechanism",
            )
        self._mechanism = mechanism
        self._username = to_exact_str(username, "username")
        self._secret = _encode_secret(secret)
        self._events = _check_event_mask(to_exact_str(events, "events"))
        self._is_last_step = mechanism == PLAIN
        self._key = ""
        try:
            self._plain_action()  # raises now if the username or secret cannot be sent
        except LocalProtocolError as error:
            # Without the frames that hold the secret under other names.
            raise error.with_traceback(None)

    def start(self) -> Action:
        """Return the first action: ``Challenge``, or ``Login`` for :data:`PLAIN`."""
        if self._mechanism == PLAIN:
            return self._plain_action()
        return Action("Challenge", [("AuthType", "MD5")])

    def receive_response(self, response: Response) -> Optional[Action]:
        """Return the next action (:class:`Action`), or None if the login is complete.

        :raises LoginFailed: if the server returned an error or did not send a challenge.
        """
        challenge = response.headers.get("Challenge", "")
        if response.name != "Success" or not (self._is_last_step or challenge):
            server_message = self._redact(response.message or response.name)
            default = "login" if self._is_last_step else "challenge"
            hint = _HINTS.get(server_message, _HINTS[default])
            raise LoginFailed(
                f"login as {quote(self._username)} failed: {quote(server_message)}{hint}",
                server_message=server_message,
                action_id=response.action_id,
            )
        if self._is_last_step:
            return None
        self._is_last_step = True
        self._key = _md5_hex(to_bytes(challenge) + self._secret)
        return self._login_action(
            [("AuthType", "MD5"), ("Username", self._username), ("Key", self._key)]
        )

    def _plain_action(self) -> Action:
        return self._login_action([("Username", self._username), ("Secret", to_text(self._secret))])

    def _login_action(self, headers: List[Tuple[str, str]]) -> Action:
        return Action("Login", [*headers, ("Events", self._events)])

    def _redact(self, text: str) -> str:
        # A server may echo the secret or the key, which must not appear in an error.
        for secret in (to_text(self._secret), self._key):
            text = text.replace(secret, REDACTED) if secret else text
        return text

    def __repr__(self) -> str:
        return f"<Login {self._username!r} mechanism={self._mechanism}>"


class ServerLogin:
    """The server's side of a login, and the check that each action has one.

    Pass each action to :meth:`receive_action`. If it returns a response, send that; if it returns
    None, carry out the action. Close the connection after an ``Error`` response to a Login, as
    Asterisk does. The responses are those of Asterisk (11.25, 16.28, 22.10).

    :param users: the secret (str, or bytes) of each user name (str). The case of ASCII letters in
        user names does not matter.
    :param challenge: a random number in decimal digits (str), another one for each connection. It
        is sent in response to Challenge. Before that, no key is accepted.
    :raises LocalProtocolError: if the challenge has other characters.
    :raises InvalidHeader: for a username or secret that cannot be encoded.
    """

    def __init__(self, users: Mapping[str, Union[str, bytes]], *, challenge: str) -> None:
        challenge = to_exact_str(challenge, "challenge")
        if not (challenge.isascii() and challenge.isdigit()):
            raise LocalProtocolError("the challenge must be decimal digits", field="challenge")
        self._challenge = challenge
        self._is_challenge_sent = False
        #: The name of the user as in ``users`` (str), or None before the login.
        self.username: Optional[str] = None
        #: The event mask of the login (str). Without one it is ``""``, and all events are sent.
        self.events = ""
        self._users: Dict[bytes, Tuple[str, bytes]] = {}
        for name, secret in users.items():
            name = to_exact_str(name, "each name in users")
            if not is_encodable(name):
                raise InvalidHeader(
                    f"username {quote(name)} contains a lone surrogate, which cannot be encoded",
                    field="Username",
                )
            self._users[to_bytes(name).lower()] = (name, _encode_secret(secret))

    def receive_action(self, action: Action) -> Optional[Response]:
        """Return the response to an action (:class:`Response`), or None to carry it out.

        Challenge and Login always get a response. Before the login, all other actions except
        Logoff get ``Permission denied``.
        """
        name = action.name.lower()
        if name == "challenge":
            if get_header(action.wire, b"AuthType").lower() != b"md5":
                return _respond(action, "Error", "Message: Must specify AuthType")
            self._is_challenge_sent = True
            return _respond(action, "Success", f"Challenge: {self._challenge}")
        if name == "login":
            if self.username is not None:
                return _respond(action, "Success", "Message: Already authenticated")
            self.username = self._authenticate(action.wire)
            if self.username is None:
                return _respond(action, "Error", "Message: Authentication failed")
            self.events = to_text(get_header(action.wire, b"Events"))
            return _respond(action, "Success", "Message: Authentication accepted")
        if self.username is None and name != "logoff":
            return _respond(action, "Error", "Message: Permission denied")
        return None

    def _authenticate(self, wire: bytes) -> Optional[str]:
        """Return the name of the user, or None if a Login does not prove the secret."""
        from hmac import compare_digest

        user, secret = self._users.get(get_header(wire, b"Username").lower(), (None, b""))
        if get_header(wire, b"AuthType").lower() != b"md5":
            is_valid = compare_digest(get_header(wire, b"Secret"), secret)
        else:
            key = _md5_hex(to_bytes(self._challenge) + secret).encode()
            is_valid = compare_digest(get_header(wire, b"Key"), key) and self._is_challenge_sent
        return user if is_valid else None

    def __repr__(self) -> str:
        return f"<ServerLogin username={self.username!r}>"


def _respond(action: Action, name: str, header: str) -> Response:
    # Not built from names and values, because the server echoes an ActionID with a bare CR, too.
    echo = f"ActionID: {action.action_id}\r\n" if action.action_id else ""
    return Response.from_wire(to_bytes(f"Response: {name}\r\n{echo}{header}\r\n\r\n"))


def _encode_secret(secret: Union[str, bytes]) -> bytes:
    if isinstance(secret, str):
        secret = to_exact_str(secret, "secret")
        if not is_encodable(secret):
            raise InvalidHeader(
                "the secret contains a lone surrogate, which cannot be encoded", field="Secret"
            )
        return to_bytes(secret)
    return to_exact_bytes(secret, "secret")


def _md5_hex(data: bytes) -> str:
    # The server compares lowercase hexadecimal digits (11.25, 16.28, 22.10).
    from hashlib import md5

    try:
        return md5(data, usedforsecurity=False).hexdigest()
    except TypeError:  # Python 3.8 does not have the argument
        return md5(data).hexdigest()


class LoggedIn(NamedTuple):
    """The server accepted the login.

    :ivar Banner banner: the server's banner.
    :ivar Response response: the response to the login.
    """

    banner: Banner
    response: Response


class ActionResult(NamedTuple):
    """The complete response to an action.

    :ivar str action_id: the ActionID of the action.
    :ivar Response response: the response.
    :ivar events: the events of a list in order (tuple of Event), without the closing one.
    :ivar complete: the event that closed the list (Event), or None if the response is not a list.
    """

    action_id: str
    response: Response
    events: Tuple[Event, ...] = ()
    complete: Optional[Event] = None

    def __repr__(self) -> str:
        # A list can have thousands of events.
        return f"<ActionResult {self.response!r} events={len(self.events)}>"


class _List:
    """A list response that is not complete yet, and not abandoned."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.events: List[Event] = []
        #: The memory that the events take in bytes.
        self.size = 0


class Session:
    """The client's side of an AMI session, without any I/O.

    Pass received data to :meth:`receive_data` and :meth:`receive_eof`. After each call, call
    :meth:`next_event` until it returns :data:`NEED_DATA`, and write the bytes from
    :meth:`data_to_send`. The first event is :class:`LoggedIn`. From then on, :meth:`send` prepares
    an action for sending, and its :class:`ActionResult` has its ActionID. Other events are
    :class:`Event`, :class:`UnknownMessage`, a :class:`Response` that matches no pending action, and
    finally :class:`EndOfStream`.

    ActionIDs cannot be guessed, so that a stanza forged inside a header value (Asterisk does not
    escape line breaks) is never mistaken for a response. A response without an ActionID belongs to
    the oldest action, because servers respond in order, unless it could be part of a header value
    of the stanza before it.

    :param username: as for :class:`Login`.
    :param secret: as for :class:`Login`.
    :param entropy: at least 16 secret random bytes: ``os.urandom(16)``.
    :param mechanism: :data:`MD5` or :data:`PLAIN`.
    :param events: the event mask of the login.
    :param max_outstanding: most pending actions, with those abandoned ones that may still get a
        response.
    :param max_list_bytes: most bytes of memory for the events of incomplete lists.
    :param max_line, max_stanza, max_backlog: as for :class:`Connection`.
    :raises LocalProtocolError: if ``entropy`` is too short or ``max_outstanding`` is below 1, and
        as :class:`Login` does.
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
        from hashlib import shake_256

        if len(entropy) < MIN_ENTROPY:
            raise LocalProtocolError(
                f"entropy is {len(entropy)} bytes; at least {MIN_ENTROPY} are required",
                field="entropy",
                limit=MIN_ENTROPY,
                actual=len(entropy),
            )
        if max_outstanding < 1:
            raise LocalProtocolError(
                f"max_outstanding is {max_outstanding}; it must be at least 1",
                field="max_outstanding",
                limit=1,
                actual=max_outstanding,
            )
        self._connection = Connection(
            Role.CLIENT, max_line=max_line, max_stanza=max_stanza, max_backlog=max_backlog
        )
        self._id_hash = shake_256(entropy)
        self._id_count = 0
        self._new_ids: List[str] = []
        self._login: Optional[Login] = Login(username, secret, mechanism=mechanism, events=events)
        self._max_outstanding = max_outstanding
        self._max_list_bytes = max_list_bytes
        self._banner: Optional[Banner] = None
        self._to_send: List[bytes] = []
        # The ActionID of each action without a response, oldest first, and whether it is abandoned.
        self._pending: Dict[str, bool] = {}
        # Those of them that a response without an ActionID may belong to, oldest first. Servers
        # respond in order, so an action is removed when the response to a later one is received.
        self._in_order: OrderedDict[str, None] = OrderedDict()
        self._lists: Dict[str, _List] = {}
        self._list_bytes = 0
        # The ActionIDs of abandoned lists that are not complete yet.
        self._abandoned_lists: Set[str] = set()
        self._is_legacy = False
        self._previous: Optional[Message] = None
        self._logoff_id: Optional[str] = None
        self._ended = False

    @property
    def banner(self) -> Optional[Banner]:
        """The server's banner (:class:`Banner`), or None if it has not been received yet."""
        return self._banner

    @property
    def logged_in(self) -> bool:
        """True after the server has accepted the login."""
        return self._login is None

    @property
    def outstanding(self) -> Tuple[str, ...]:
        """The ActionIDs of the pending actions, oldest first, without abandoned ones (tuple)."""
        waiting = [key for key, is_abandoned in self._pending.items() if not is_abandoned]
        return (*self._lists, *waiting)

    def receive_data(self, data: bytes) -> None:
        """Add received bytes; raises as :meth:`Connection.receive_data` does."""
        self._connection.receive_data(data)

    def receive_eof(self) -> None:
        """Note the end of the stream. The data before it can still be read."""
        self._connection.receive_eof()

    def data_to_send(self) -> bytes:
        """Return the bytes of the login that must be written now, or ``b""``."""
        data = b"".join(self._to_send)
        self._to_send.clear()
        return data

    def send(self, action: A) -> A:
        """Add a pending action, and return it with its ActionID, ready for sending.

        Write the ``wire`` of the returned action.

        :param action: an :class:`Action`. If it has no ActionID, it gets a random one.
        :raises LocalProtocolError: before the login, after Logoff and after the end of the stream,
            if too many actions are pending, if one of them has the same ActionID, and as
            :meth:`Action.check_server` does. The session is then unchanged.
        :raises TypeError: for any other object.
        """
        if not isinstance(action, Action):
            if isinstance(action, Message):
                raise LocalProtocolError(f"cannot send {type(action).__name__}; expected an Action")
            raise TypeError(f"action must be an Action, not {type(action).__name__}")
        if self._login is not None:
            raise LocalProtocolError("cannot send an action before the login is complete")
        if self._logoff_id is not None:
            raise LocalProtocolError("cannot send an action after Logoff")
        if self._ended:
            raise LocalProtocolError("cannot send an action because the server ended the session")
        assert self._banner is not None
        action.check_server(self._banner)
        action = self._register(action)
        if action.name.lower() == "logoff":
            self._logoff_id = action.action_id
        return action

    def abandon(self, action_id: str) -> None:
        """Ignore the response to a pending action, because the caller no longer waits for it.

        The events of an incomplete list are freed. When a later action gets its response, the
        abandoned one is forgotten, because servers respond in order. If a server responds to it
        after that, the response and the events of its list are returned as any others that match no
        pending action. Do not use the ActionID again: such a response would match the new action.

        :param action_id: the ActionID (str); ignored if it is not pending.
        """
        if action_id in self._lists:
            self._list_bytes -= self._lists.pop(action_id).size
            self._abandoned_lists.add(action_id)
        elif action_id in self._in_order:
            self._pending[action_id] = True
        else:
            self._pending.pop(action_id, None)  # a later action has got its response already

    def cancel(self, action_id: str) -> None:
        """Cancel an action that has not been sent, or not completely.

        :param action_id: the ActionID (str); ignored if it is not pending.
        """
        if action_id == self._logoff_id:
            self._logoff_id = None
        self._pending.pop(action_id, None)
        self._in_order.pop(action_id, None)

    def next_event(self) -> Union[LoggedIn, ActionResult, Message, EndOfStream, NeedData]:
        """Return the next event, or :data:`NEED_DATA`.

        :raises LoginFailed: if the server rejects the login.
        :raises RemoteProtocolError: as :meth:`Connection.next_event` does, and if the events of
            lists exceed ``max_list_bytes``.
        """
        while True:
            message = self._connection.next_event()
            result: Union[LoggedIn, ActionResult, Message, None]
            if isinstance(message, Event):
                self._previous = None
                if not (self._lists or self._abandoned_lists):
                    return message
                result = self._handle_event(message)
            elif isinstance(message, Response):
                result = self._handle_response(message)
            elif isinstance(message, Banner):
                self._handle_banner(message)
                continue
            elif message is NEED_DATA:
                return message
            else:
                self._previous = None
                self._ended = isinstance(message, EndOfStream)
                return message
            if result is not None:
                return result

    def _handle_banner(self, banner: Banner) -> None:
        """Note the server's version, and start the login."""
        assert self._login is not None
        self._banner = self._previous = banner
        self._is_legacy = banner.major == 1  # Asterisk up to 11
        self._queue(self._login.start())

    def _queue(self, action: Action) -> None:
        self._to_send.append(self._register(action).wire)

    def _register(self, action: A) -> A:
        action_id = action.action_id
        if action_id is None:
            action_id = self._new_action_id()
            action = action.with_action_id(action_id)
        pending, lists, abandoned_lists = self._pending, self._lists, self._abandoned_lists
        if action_id in pending or action_id in lists or action_id in abandoned_lists:
            raise LocalProtocolError(
                "an action with the same ActionID is pending",
                field="ActionID",
                action_id=action_id,
            )
        count = len(pending) + len(lists) + len(abandoned_lists)
        if count >= self._max_outstanding:
            raise LocalProtocolError(
                f"{count} actions are pending; the limit is {self._max_outstanding}",
                limit=self._max_outstanding,
                actual=count,
                action_id=action_id,
            )
        self._connection.send(action)  # may raise
        pending[action_id] = False
        self._in_order[action_id] = None
        return action

    def _new_action_id(self) -> str:
        """Return a part of a hash of the entropy and a counter; others do not reveal it."""
        if not self._new_ids:  # hash for many at once, which takes a tenth of the time
            self._id_count += 1
            hashed = self._id_hash.copy()
            hashed.update(b"%d" % self._id_count)
            digits, size = hashed.hexdigest(_ACTION_ID_BYTES * _NEW_IDS), 2 * _ACTION_ID_BYTES
            self._new_ids = [digits[at : at + size] for at in range(0, len(digits), size)]
        return self._new_ids.pop()

    def _handle_response(self, response: Response) -> Union[LoggedIn, ActionResult, Response, None]:
        action_id = response.action_id
        if action_id is None and self._is_trusted_context():
            action_id = next(iter(self._in_order), None)
        if action_id is None or action_id not in self._pending:
            self._previous = None
            return response
        is_abandoned = self._pending.pop(action_id)
        if action_id in self._in_order:
            # Servers respond in order, and complete a list before the next response (16.28, 22.10).
            # Each action is removed once, so the total cost does not depend on the order.
            self._abandoned_lists.clear()
            earlier, _ = self._in_order.popitem(last=False)
            while earlier != action_id:
                if self._pending[earlier]:  # abandoned
                    del self._pending[earlier]
                earlier, _ = self._in_order.popitem(last=False)
        self._previous = response
        if self._login is not None:
            return self._handle_login(response)
        event_list = _event_list(response)
        if event_list == "start" or (not event_list and self._starts_unmarked_list(response)):
            if is_abandoned:
                self._abandoned_lists.add(action_id)
            else:
                self._lists[action_id] = _List(response)
            return None
        return None if is_abandoned else ActionResult(action_id, response)

    def _handle_login(self, response: Response) -> Optional[LoggedIn]:
        assert self._login is not None and self._banner is not None
        action = self._login.receive_response(response)
        if action is not None:
            self._queue(action)
            return None
        self._login = None  # also frees the secret
        return LoggedIn(self._banner, response)

    def _is_trusted_context(self) -> bool:
        """Return whether the next stanza cannot be part of a header value of the previous one."""
        return self._previous is not None and _has_only_server_headers(self._previous)

    def _starts_unmarked_list(self, response: Response) -> bool:
        # Asterisk 11 marks some lists only in the message text, and ends them with an event whose
        # name ends in "Complete".
        return (
            self._is_legacy
            and response.name == "Success"
            and response.message.lower().endswith("will follow")
            and _has_only_server_headers(response)
        )

    def _handle_event(self, event: Event) -> Union[ActionResult, Event, None]:
        # Headers are parsed in a copy. They stay with their message, and would otherwise add to the
        # memory of the events in a list.
        copy = Event.from_wire(event.wire)
        action_id = copy.action_id
        if action_id in self._abandoned_lists:
            if self._ends_list(copy):
                self._abandoned_lists.remove(action_id)
            return None
        if action_id is None or action_id not in self._lists:
            return event
        event_list = self._lists[action_id]
        if self._ends_list(copy):
            del self._lists[action_id]
            self._list_bytes -= event_list.size
            return ActionResult(action_id, event_list.response, tuple(event_list.events), event)
        event_list.events.append(event)
        size = len(event.wire) + MESSAGE_OVERHEAD
        event_list.size += size
        self._list_bytes += size
        if self._list_bytes > self._max_list_bytes:
            raise self._connection.fail(
                RemoteProtocolError(
                    f"the events of lists take more than {self._max_list_bytes} bytes",
                    limit=self._max_list_bytes,
                    action_id=action_id,
                )
            )
        return None

    def _ends_list(self, event: Event) -> bool:
        # Some modules send "cancelled" if they stop before the end of a list (Asterisk source).
        if _event_list(event) in ("complete", "cancelled"):
            return True
        return self._is_legacy and event.name.lower().endswith("complete")

    def __repr__(self) -> str:
        state = self._connection.state.value
        return f"<Session {state} logged_in={self.logged_in} outstanding={len(self.outstanding)}>"


def _has_only_server_headers(message: Message) -> bool:
    return all(name.lower() in _SERVER_HEADERS for name in message.headers)


def _event_list(message: Message) -> str:
    """Return the value of EventList in lower case, or an empty str.

    One module writes "Start" with a capital letter (16.28, 22.10).
    """
    if message.wire.lower().find(b"eventlist") < 0:
        return ""  # faster than splitting the lines of every message
    # The server writes EventList before all values that others can choose. An EventList after them
    # may be forged, by a line break in a value. It would start a list that never ends, or end one
    # early.
    for name, value in message.headers.items()[1:]:
        lowered = name.lower()
        if lowered == "eventlist":
            return value.lower()
        if lowered not in ("actionid", "privilege"):
            break
    return ""
