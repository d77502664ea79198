"""One client as seen by a scripted server: reads its actions and writes responses."""

from __future__ import annotations

import socket
import threading
from hashlib import md5
from typing import Dict, List, Optional

from amiclient.loopback import SECRET

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


class Peer:
    """A connected client.

    :param go: the event that the step ``hold`` waits for.
    :param number: how many clients connected to the server before this one.
    """

    def __init__(
        self, sock: socket.socket, go: Optional[threading.Event] = None, number: int = 0
    ) -> None:
        self.sock = sock
        self.go = go or threading.Event()
        self.number = number
        #: All bytes received, and the offset of the next stanza.
        self.received = b""
        self._start = 0
        #: The actions after the login, and those without a response yet.
        self.actions: List[Dict[str, str]] = []
        self.pending: List[Dict[str, str]] = []
        #: Bytes collected for a single write, or None.
        self.gathered: Optional[List[bytes]] = None

    def send(self, *parts: bytes) -> None:
        """Write all parts at once, or add them to the bytes being collected."""
        if self.gathered is None:
            self.sock.sendall(b"".join(parts))
        else:
            self.gathered += parts

    @property
    def unread(self) -> bytes:
        """The bytes received after the last stanza that was read."""
        return self.received[self._start :]

    def read_stanza(self) -> bytes:
        """Return the next stanza with its blank line; raise EOFError at the end."""
        while True:
            end = self.received.find(b"\r\n\r\n", self._start) + 4
            if end > 3:
                stanza = self.received[self._start : end]
                self._start = end
                return stanza
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self.received += data

    def read(self) -> Dict[str, str]:
        """Return the headers of the next action."""
        lines = self.read_stanza().decode("utf-8", "surrogateescape").split("\r\n")
        return dict(line.split(": ", 1) for line in lines if ": " in line)

    def log_in(self) -> None:
        """Accept the login of the client, with either mechanism."""
        self.send(BANNER)
        action = self.read()
        if action["Action"] == "Challenge":
            self.send(response(action, "Success", "Challenge: 1234"))
            action = self.read()
            assert action["Key"] == md5(b"1234" + SECRET.encode()).hexdigest()
        assert action["Action"] == "Login"
        self.send(response(action, "Success", "Message: Authentication accepted"))

    def read_action(self) -> Dict[str, str]:
        """Return the next action and add it to the pending ones."""
        action = self.read()
        self.actions.append(action)
        self.pending.append(action)
        return action

    def next_pending(self) -> Dict[str, str]:
        """Remove and return the oldest pending action, or read one."""
        if not self.pending:
            self.read_action()
        return self.pending.pop(0)


def response(action: Dict[str, str], name: str, *lines: str) -> bytes:
    """Return a response to an action, with its ActionID if it has one."""
    head = [f"Response: {name}"]
    if "ActionID" in action:
        head.append(f"ActionID: {action['ActionID']}")
    return "\r\n".join([*head, *lines, "", ""]).encode("utf-8", "surrogateescape")


def accepted(action: Dict[str, str]) -> bytes:
    """Return Asterisk's response to a message that it accepts."""
    return response(action, "Success", "Message: Message successfully sent")
