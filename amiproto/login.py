"""Logging in, as an object of its own: which action comes next, and whether the server let us in.

A program with its own pairing of answers can use it without the session.
"""

from __future__ import annotations

from .errors import HeaderRefused, LocalProtocolError, LoginRefused
from .headers import REDACTED
from .messages import Action, Response
from .text import is_encodable, plain_bytes, plain_str, to_bytes, to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple, Union

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
    :raises HeaderRefused, LineTooLong: for a name or secret that no line can carry.
    """

    def __init__(
        self,
        username: str,
        secret: Union[str, bytes],
        *,
        mechanism: str = MD5,
        events: str = "off",
    ) -> None:
        mechanism = plain_str(mechanism, "mechanism")
        if mechanism not in (MD5, PLAIN):
            raise LocalProtocolError(
                f"no login mechanism {mechanism!r}; use {MD5!r} or {PLAIN!r}", field="mechanism"
            )
        self._username = plain_str(username, "username")
        self._secret = _plain_secret(secret)
        self._mechanism = mechanism
        self._events = plain_str(events, "events")
        self._challenged = mechanism == PLAIN
        self._plain_action()  # what cannot be sent is refused now, not in mid-login

    def start(self) -> Action:
        """The first action: ``Challenge``, or ``Login`` itself for :data:`PLAIN`."""
        if self._mechanism == PLAIN:
            return self._plain_action()
        return Action("Challenge", [("AuthType", "MD5")])

    def answer(self, response: Response) -> Optional[Action]:
        """The next action (:class:`Action`), or None when the user is in.

        :raises LoginRefused: when the server says no, or gives no challenge.
        """
        challenge = response.headers.get("Challenge", "")
        if response.name != "Success" or not (self._challenged or challenge):
            words = self._without_secret(response.message or response.name)
            raise LoginRefused(
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
        secret = plain_str(secret, "secret")
        if not is_encodable(secret):
            raise HeaderRefused(
                "the secret holds a lone surrogate, which no byte stands for; give bytes",
                field="Secret",
            )
        return to_bytes(secret)
    return plain_bytes(secret, "secret")


def _md5_hex(data: bytes) -> str:
    # The server compares with lowercase hexadecimal (11.25, 16.28, 22.10).
    from hashlib import md5

    try:
        return md5(data, usedforsecurity=False).hexdigest()
    except TypeError:  # Python 3.8, which does not know the word yet
        return md5(data).hexdigest()
