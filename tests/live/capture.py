"""Record the bytes that live servers send, as input for tests and benchmarks.

``python3 -m tests.live.capture tests/captures`` starts each available server and writes
``asterisk-16.bin`` and ``asterisk-22.bin``. It does not use the codec, which is tested with them.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import socket
import sys
import time
from pathlib import Path
from typing import Callable, Tuple

from tests.live.ami import TIMEOUT
from tests.live.asterisk import AsteriskServer
from tests.live.phone import SipPhone
from tests.live.servers import candidates

#: Additions to the configuration of the harness: more modules that write events, header names that
#: repeat (ChanVariable), a queue, and dialplan that writes a given stanza.
EXTRA = {
    "modules.conf": "".join(
        f"load = {name}.so\n"
        for name in ("res_monitor", "app_queue", "cdr_manager", "res_manager_devicestate")
    ),
    "manager.conf": "\n[general](+)\nchannelvars = PLAIN,ODD\n",
    "cdr.conf": "[general]\nenable = yes\n",
    "cdr_manager.conf": "[general]\nenabled = yes\n",
    "queues.conf": "[general]\n\n[support]\nstrategy = ringall\nmember => Local/answer@capture\n",
    "extensions.conf": """
[recorded]
exten = queue,1,Answer()
 same = n,Queue(support,,,,5)
 same = n,Hangup()

; Originate sets FORGED, which is URI-encoded and so may contain any byte.
[forging]
exten = appdata,1,Answer()
 same = n,NoOp(before${URIDECODE(${FORGED})})
 same = n,Hangup()

exten = variable,1,Answer()
 same = n,Set(GLOBAL(FORGED_VALUE)=before${URIDECODE(${FORGED})})
 same = n,Hangup()
""",
}

#: The channels of a round of calls. All are up at the same time, so that their events mix.
CALLS = (
    "answer@capture", "userevent@capture", "breaks@capture", "variables@capture", "dial@capture",
    "busy@capture", "queue@recorded",
)  # fmt: skip

#: The header lines of each action: lists, commands and other queries.
QUERIES: Tuple[Tuple[bytes, ...], ...] = (
    (b"Action: Ping",), (b"Action: CoreSettings",), (b"Action: CoreStatus",),
    (b"Action: ListCommands",), (b"Action: Status",), (b"Action: Status", b"AllVariables: true"),
    (b"Action: CoreShowChannels",), (b"Action: BridgeList",), (b"Action: DeviceStateList",),
    (b"Action: QueueStatus",), (b"Action: QueueSummary",), (b"Action: PJSIPShowEndpoints",),
    (b"Action: PJSIPShowEndpoint", b"Endpoint: alice"), (b"Action: PJSIPShowAors",),
    (b"Action: SIPpeers",), (b"Action: SIPshowpeer", b"Peer: alice"),
    (b"Action: ShowDialPlan", b"Context: capture"),
    (b"Action: Command", b"Command: core show version"),
    (b"Action: Command", b"Command: core show channels"),
    (b"Action: Command", b"Command: core show channels concise"),
    (b"Action: Command", b"Command: manager show users"),
    (b"Action: Command", b"Command: core show applications"),
    (b"Action: Command", b"Command: no such command"),
    # Blank lines in the output, and an output of one blank line.
    (b"Action: Command", b"Command: dialplan show globals"),
    (b"Action: Command", b"Command: queue reset stats"),
    (b"Action: DBPut", b"Family: capture", b"Key: odd", b"Val: a=b: c \xff,;"),
    (b"Action: DBGet", b"Family: capture", b"Key: odd"),
    (b"Action: DBPut", b"Family: capture", b"Key: empty", b"Val: "),
    (b"Action: DBGet", b"Family: capture", b"Key: empty"),
    (b"Action: DBDel", b"Family: capture", b"Key: odd"),
    (b"Action: Setvar", b"Variable: PLAIN", b"Value: of all"),
    (b"Action: Getvar", b"Variable: PLAIN"),
    # Two line breaks inside a value, so that the rest of it looks like a response.
    (b"Action: Getvar", b"Variable: BROKEN"),
    (b"Action: Getvar", b"Variable: URIDECODE(a%0D%0A%0D%0Ano header at all)"),
    (b"Action: Getvar", b"Variable: URIDECODE(lone %0D and %0A and %01%ff)"),
    (b"Action: Reload", b"Module: pbx_config"),
)  # fmt: skip

ERRORS: Tuple[Tuple[bytes, ...], ...] = (
    (b"Action: NoSuchAction",), (b"Action: Getvar",),
    (b"Action: Getvar", b"Channel: Local/none", b"Variable: X"), (b"Action: Originate",),
    (b"Action: Originate", b"Channel: Local/none@nowhere", b"Application: Wait"),
    (b"Action: Hangup", b"Channel: Local/none"),
    (b"Action: Redirect", b"Channel: Local/none", b"Exten: s", b"Context: x", b"Priority: 1"),
    (b"Action: DBGet", b"Family: capture", b"Key: missing"),
    (b"Action: DBGet", b"Family: capture"), (b"Action: Command",),
    (b"Action: MessageSend", b"Body: to nobody"),
    (b"Action: MessageSend", b"To: nosuch:alice", b"Body: x"),
    (b"Action: QueueAdd", b"Queue: none", b"Interface: Local/answer@capture"),
)  # fmt: skip

#: Actions that are echoed line by line in an event.
USER_EVENTS: Tuple[Tuple[bytes, ...], ...] = (
    (b"UserEvent: Plain", b"Key: value"),
    (b"UserEvent: Odd", b"no colon here", b"X:", b"Y:no blank", b"Z:  two", b": no name", b"Last:"),
    (b"UserEvent: Bytes", b"Latin: \xe9t\xe9", b"Not: \xff\xfe\x01\x7f", b"UTF-8: \xe2\x82\xac"),
    (b"UserEvent: Posing", b"Response: Success", b"ActionID: forged", b"Message: sent"),
    (b"UserEvent: Posing", b"Event: Hangup", b"Channel: Local/none", b"EventList: Complete"),
    (b"UserEvent: Repeated", b"Key: one", b"Key: two", b"key: three"),
    (b"UserEvent: Control", b"Tab:\tone", b"Return: a\rb", b"Trailing: blank "),
)  # fmt: skip


class Recorder:
    """A connection of the user admin that keeps every byte it receives; a context manager.

    The ActionIDs are ``capture-1``, ``capture-2`` and so on.
    """

    def __init__(self, server: AsteriskServer) -> None:
        self.data = bytearray()
        self.eof = False
        self._server = server
        self._count = 0
        self.socket = socket.create_connection((server.host, server.port), TIMEOUT)
        self._read_until(lambda: b"\n" in self.data, "banner")

    def login(self) -> None:
        """Log in with a challenge and all events."""
        start = len(self.data)
        self.ask(b"Action: Challenge", b"AuthType: MD5")
        self._read_until(lambda: self.data.endswith(b"\r\n\r\n"), "challenge")
        found = re.search(rb"\r\nChallenge: (\d+)\r\n", self.data[start:])
        assert found, bytes(self.data[start:])
        digest = hashlib.md5(found.group(1) + self._server.users["admin"].encode()).hexdigest()
        user = (b"Username: admin", b"Key: " + digest.encode())
        self.ask(b"Action: Login", b"AuthType: MD5", *user, b"Events: on")
        self._read_until(lambda: b"Event: FullyBooted\r\n" in self.data, "login")

    def ask(self, *lines: bytes) -> None:
        """Send an action, and wait for the start of its response."""
        action_id = self.send(*lines)
        line = b"\r\nActionID: %s\r\n" % action_id
        start = len(self.data)
        self._read_until(lambda: self.data.find(line, max(0, start - len(line))) >= 0, repr(lines))

    def send(self, *lines: bytes) -> bytes:
        """Send an action without waiting, and return its ActionID."""
        self._count += 1
        action_id = b"capture-%d" % self._count
        first, *rest = lines
        self.socket.sendall(b"\r\n".join([first, b"ActionID: " + action_id, *rest, b"", b""]))
        return action_id

    def originate(self, channel: str, *lines: bytes) -> None:
        """Start a call between a Local channel and the application Wait."""
        self.ask(
            b"Action: Originate", b"Channel: Local/" + channel.encode(),
            b"Application: Wait", b"Data: 2", b"Async: true",
            b"Account: account-%d" % (self._count % 5),
            b'CallerID: "Caller %d" <+4930%d>' % (self._count, 1000 + 7 * self._count), *lines,
        )  # fmt: skip

    def await_end_of_calls(self) -> None:
        """Wait until every channel is gone."""
        # A call that fails at once has no channel yet when its response arrives.
        time.sleep(0.2)
        self._read_until(
            lambda: self._events("Newchannel") == self._events("Hangup")
            and self.data.endswith(b"\r\n\r\n"),
            "end of all calls",
        )

    def logoff(self) -> None:
        """Log off, and read to the end of the stream."""
        self.send(b"Action: Logoff")
        self._read_until(lambda: self.eof, "end of the stream")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *reason: object) -> None:
        self.socket.close()

    def _events(self, name: str) -> int:
        return self.data.count(f"\r\n\r\nEvent: {name}\r\n".encode())

    def _read_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or self.eof:
                end = bytes(self.data[-500:])
                raise TimeoutError(f"no {what} in time; the last bytes were {end!r}")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                continue
            self.data += data
            self.eof = not data


def record(server: AsteriskServer, rounds: int) -> bytes:
    """Return the bytes of one session: calls, lists, commands, errors, messages, user events."""
    with Recorder(server) as recorder:
        recorder.login()
        # The output has lines that end in CR. It lists all unread events, so it comes first.
        recorder.ask(b"Action: Command", b"Command: manager show eventq")
        for _ in range(rounds):
            _calls(recorder)
        # After a call to "breaks", which sets the variables that are queried here.
        for query in QUERIES:
            recorder.ask(*query)
        for technology in server.technologies:
            to = f"To: {technology}:alice".encode()
            recorder.ask(b"Action: MessageSend", to, b"From: sip:me@example.org", b"Body: a text")
        for lines in USER_EVENTS:
            recorder.ask(b"Action: UserEvent", *lines)
        for lines in ERRORS:
            recorder.ask(*lines)
        _errors_without_action_id(recorder)
        recorder.await_end_of_calls()
        recorder.logoff()
        return bytes(recorder.data)


def _calls(recorder: Recorder) -> None:
    for channel in CALLS:
        recorder.originate(channel)
    recorder.originate("wait@capture", b"Variable: PLAIN=one", b"Variable: ODD=a: b")
    recorder.ask(b"Action: CoreShowChannels")
    recorder.ask(b"Action: Status")
    recorder.ask(b"Action: QueueStatus")
    recorder.ask(b"Action: Command", b"Command: core show channels")
    recorder.ask(b"Action: Hangup", b"Channel: /^Local\\/wait@.*$/")
    recorder.await_end_of_calls()


def _errors_without_action_id(recorder: Recorder) -> None:
    send = recorder.socket.sendall
    send(b"\r\nActionID: alone\r\n\r\n")
    send(b"Action: Ping\r\nKey: " + b"x" * 2000 + b"\r\nOther: line\r\n\r\n")
    send(b"Action: Ping\r\n" + b"Key: value\r\n" * 128 + b"\r\n")
    # Responses are sent in order, so this one comes after theirs.
    recorder.ask(b"Action: Ping")


def main() -> int:
    """Record each available server."""
    parser = argparse.ArgumentParser(description="Record the output of live Asterisk servers.")
    parser.add_argument("folder", type=Path, help="where to write asterisk-MAJOR.bin")
    folder: Path = parser.parse_args().folder
    found = candidates([])
    problems = [candidate.problem for candidate in found if candidate.problem]
    for candidate in found:
        if candidate.problem:
            continue
        with SipPhone() as phone:
            with AsteriskServer(candidate.place, phone_port=phone.port, extra=EXTRA) as server:
                data = record(server, rounds=2)
        path = folder / f"{candidate.label}.bin"
        path.write_bytes(data)
        print(f"{path}: {len(data)} bytes from Asterisk {server.version}")
    for problem in problems:
        print(f"capture: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
