"""A client as a scripted server sees it: what comes from it by stanzas, and what goes to it."""

from __future__ import annotations

import socket
import threading
from hashlib import md5
from typing import Dict, List, Optional

from amiclient.loopback import SECRET

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


class Peer:
    """A client.

    :param go: what a step that holds the conversation waits for.
    :param number: how many clients came to the server before this one.
    """

    def __init__(
        self, sock: socket.socket, go: Optional[threading.Event] = None, number: int = 0
    ) -> None:
        self.sock = sock
        self.go = go or threading.Event()
        self.number = number
        #: Everything that was read, and where the next stanza starts in it.
        self.received = b""
        self._start = 0
        #: The actions after the login, and those of them that are not answered yet.
        self.actions: List[Dict[str, str]] = []
        self.pending: List[Dict[str, str]] = []
        #: What is to be written together, while that is being gathered.
        self.gathered: Optional[List[bytes]] = None

    def send(self, *parts: bytes) -> None:
        """Write, all at once."""
        if self.gathered is None:
            self.sock.sendall(b"".join(parts))
        else:
            self.gathered += parts

    @property
    def unread(self) -> bytes:
        """What has come in behind the last stanza that was read."""
        return self.received[self._start :]

    def read_stanza(self) -> bytes:
        """The next stanza with its blank line; EOFError where there is none any more."""
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
        """The next action: values by name."""
        lines = self.read_stanza().decode("utf-8", "surrogateescape").split("\r\n")
        return dict(line.split(": ", 1) for line in lines if ": " in line)

    def log_in(self) -> None:
        """Let any client in, by whatever mechanism."""
        self.send(BANNER)
        action = self.read()
        if action["Action"] == "Challenge":
            self.send(response(action, "Success", "Challenge: 1234"))
            action = self.read()
            assert action["Key"] == md5(b"1234" + SECRET.encode()).hexdigest()
        assert action["Action"] == "Login"
        self.send(response(action, "Success", "Message: Authentication accepted"))

    def read_action(self) -> Dict[str, str]:
        """The next action, noted as one to be answered."""
        action = self.read()
        self.actions.append(action)
        self.pending.append(action)
        return action

    def next_pending(self) -> Dict[str, str]:
        """The oldest action that is not answered yet; the next to come where there is none."""
        if not self.pending:
            self.read_action()
        return self.pending.pop(0)


def response(action: Dict[str, str], name: str, *lines: str) -> bytes:
    """A response to an action; without ActionID where the action has none."""
    head = [f"Response: {name}"]
    if "ActionID" in action:
        head.append(f"ActionID: {action['ActionID']}")
    return "\r\n".join([*head, *lines, "", ""]).encode("utf-8", "surrogateescape")


def accepted(action: Dict[str, str]) -> bytes:
    """What Asterisk answers to a message that it takes."""
    return response(action, "Success", "Message: Message successfully sent")
