"""One message at a time, against a bare socket with prebuilt bytes; and the codec's part of it.

Against the loopback server in a process of its own; ``--asterisk`` adds a live server, started from
the tree of ``tests/live``.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import statistics
import subprocess
import sys
from time import perf_counter, process_time
from typing import Iterator, List, NamedTuple, Tuple

from amiclient import Client
from amiclient.loopback import SECRET, USERNAME
from amiproto import ActionResult, MessageSend
from tests.benchmarks.common import logged_in, ratio, serving, show

LOGIN = "Action: Login\r\nUsername: {}\r\nSecret: {}\r\nEvents: off\r\n\r\n"
TO, BODY = "pjsip:alice", "Someone is at the door"
FROM = "Door <sip:door@example.org>"
ANSWER = b"Response: Success\r\nActionID: %s\r\nMessage: Message successfully sent\r\n\r\n"


class Speed(NamedTuple):
    wall: List[float]
    cpu: List[float]


class Bare:
    """R: prebuilt bytes, and reading up to the blank line."""

    def __init__(self, port: int, username: str, secret: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read(b"\r\n")
        self._sock.sendall(LOGIN.format(username, secret).encode())
        self._read(b"\r\n\r\n")
        self._wire = (
            f"Action: MessageSend\r\nActionID: {'0' * 32}\r\nTo: {TO}\r\nFrom: {FROM}\r\n"
            "Variable: X-Door=1\r\nVariable: X-Place=front 1\r\nVariable: X-Time=12:30:01\r\n"
            f"Body: {BODY}\r\n\r\n"
        ).encode()

    def _read(self, end: bytes) -> bytes:
        data = self._sock.recv(65536)
        while not data.endswith(end):
            more = self._sock.recv(65536)
            assert more, data
            data += more
        return data

    def run(self, count: int) -> None:
        """Send so many messages."""
        for _ in range(count):
            self._sock.sendall(self._wire)
            answer = self._read(b"\r\n\r\n")
            assert b"Success" in answer, answer

    def run_careful(self, count: int) -> None:
        """The same, with what no client can leave out that has a deadline and tells what was not
        sent: a look for a dead connection before each message, and a wait that can end."""
        waiting = select.poll()
        waiting.register(self._sock, select.POLLIN)
        for _ in range(count):
            assert not waiting.poll(0)
            self._sock.sendall(self._wire)
            assert waiting.poll(10_000)
            answer = self._read(b"\r\n\r\n")
            assert b"Success" in answer, answer

    def close(self) -> None:
        self._sock.close()


def message(number: int) -> MessageSend:
    """A message that was not there before."""
    variables = {"X-Door": f"{number}", "X-Place": f"front {number}", "X-Time": f"12:{number}"}
    return MessageSend(TO, f"{BODY} {number}", FROM, variables)


class Codec:
    """The codec alone: a message is built and sent, and its answer paired."""

    def __init__(self) -> None:
        self._session = logged_in()

    def run(self, count: int) -> None:
        """Do it for so many messages."""
        session = self._session
        for number in range(count):
            action = session.send(message(number))
            assert action.wire and action.action_id is not None
            session.receive_data(ANSWER % action.action_id.encode())
            event = session.next_event()
            assert isinstance(event, ActionResult) and event.response.name == "Success"


def measure(port: int, username: str, secret: str, count: int, rounds: int, where: str) -> None:
    """Bare socket, client and codec in turns, over connections that stay open."""
    bare, careful, ours, codec = (Speed([], []) for _ in range(4))
    floor = Bare(port, username, secret)
    with Client("127.0.0.1", port, username=username, secret=secret) as client:

        def send(times: int) -> None:
            for number in range(times):
                client.send(message(number))

        for run, speed in [(floor.run, Speed([], [])), (send, Speed([], []))] + [
            (floor.run, bare),
            (floor.run_careful, careful),
            (send, ours),
            (Codec().run, codec),
        ] * rounds:
            cpu, wall = process_time(), perf_counter()
            run(count)
            speed.wall.append(perf_counter() - wall)
            speed.cpu.append(process_time() - cpu)
    floor.close()
    rate = count / statistics.median(bare.wall)
    show(f"bare socket, {where}", rate, "messages a second")
    show(f"rate of one at a time, {where}", ratio(bare.wall, ours.wall), "R", "at least 0.92")
    show(f"client's CPU, {where}", ratio(ours.cpu, bare.cpu), "R", "at most 1.25")
    part = ratio(codec.wall, ours.wall)
    show("  the codec's part of the time for one", part, "of it", "at most 0.05")
    show("  rate of the bare socket with a look and a wait", ratio(bare.wall, careful.wall), "R")
    show("  its CPU", ratio(careful.cpu, bare.cpu), "R")


@contextlib.contextmanager
def live(suite: str) -> Iterator[Tuple[int, str, str]]:
    """A live server and its phone, each in a process of its own; port, user and secret."""
    command = [sys.executable, "-m", "tests.benchmarks.serve_live", suite]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            port, username, secret = process.stdout.readline().rstrip("\n").split("\t", 2)
            yield int(port), username, secret
        finally:
            process.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="few rounds, small numbers")
    parser.add_argument("--asterisk", metavar="SUITE", help="bullseye (16) or sid (22)")
    options = parser.parse_args()
    count, rounds = (100, 3) if options.short else (1000, 15)
    with serving() as port:
        measure(port, USERNAME, SECRET, count, rounds, "loopback")
    if options.asterisk:
        with live(options.asterisk) as (port, username, secret):
            measure(port, username, secret, count, rounds, f"Asterisk ({options.asterisk})")


if __name__ == "__main__":
    main()
