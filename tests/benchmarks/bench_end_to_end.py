"""One message at a time, compared with a bare socket, and beside a thread in ``events()``.

With a loopback server in another process, and with a live server if ``--asterisk`` is given.
"""

from __future__ import annotations

import select
import socket
import statistics
from contextlib import suppress
from threading import Thread
from time import perf_counter, sleep
from typing import List

from amiclient import AMIError, Client
from amiproto import ActionResult, MessageSend, Session
from tests.benchmarks.common import Server, interleave, logged_in, options, ratio, servers, show

LOGIN = "Action: Login\r\nUsername: {}\r\nSecret: {}\r\nEvents: off\r\n\r\n"
TO, BODY = "pjsip:alice", "Someone is at the door"
FROM = "Door <sip:door@example.org>"
RESPONSE = b"Response: Success\r\nActionID: %s\r\nMessage: Message successfully sent\r\n\r\n"


class Bare:
    """R: sends prepared bytes and reads up to the blank line."""

    def __init__(self, server: Server) -> None:
        self._sock = socket.create_connection(("127.0.0.1", server.port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read(b"\r\n")
        self._sock.sendall(LOGIN.format(server.username, server.secret).encode())
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
        """Send messages."""
        for _ in range(count):
            self._sock.sendall(self._wire)
            assert b"Success" in self._read(b"\r\n\r\n")

    def run_careful(self, count: int) -> None:
        """Send messages with what every client with timeouts and outcomes has to do: check for a
        dead connection before each message, and poll before each read."""
        waiting = select.poll()
        waiting.register(self._sock, select.POLLIN)
        for _ in range(count):
            assert not waiting.poll(0)
            self._sock.sendall(self._wire)
            assert waiting.poll(10_000)
            assert b"Success" in self._read(b"\r\n\r\n")

    def close(self) -> None:
        self._sock.close()


def message(number: int) -> MessageSend:
    """Return a new message."""
    variables = {"X-Door": f"{number}", "X-Place": f"front {number}", "X-Time": f"12:{number}"}
    return MessageSend(TO, f"{BODY} {number}", FROM, variables)


def run_codec(session: Session, count: int) -> None:
    """Create and send messages, and match their responses, without a connection."""
    for number in range(count):
        action = session.send(message(number))
        assert action.wire and action.action_id is not None
        session.receive_data(RESPONSE % action.action_id.encode())
        event = session.next_event()
        assert isinstance(event, ActionResult) and event.response.name == "Success"


def measure(server: Server, count: int, rounds: int) -> None:
    """Compare bare socket, client and codec over connections that stay open."""
    floor, session = Bare(server), logged_in()
    with server.client() as client:

        def send(times: int) -> None:
            for number in range(times):
                client.send(message(number))

        times = interleave(
            {
                "bare": lambda: floor.run(count),
                "careful": lambda: floor.run_careful(count),
                "client": lambda: send(count),
                "codec": lambda: run_codec(session, count),
            },
            rounds,
        )
    floor.close()
    bare, careful, ours = times["bare"], times["careful"], times["client"]
    rate = count / statistics.median(bare.wall)
    show(f"bare socket, {server.label}", rate, "messages a second")
    show(f"rate of the client, {server.label}", ratio(bare.wall, ours.wall), "R", "at least 0.92")
    show(f"client's CPU, {server.label}", ratio(ours.cpu, bare.cpu), "R", "at most 1.25")
    share = ratio(times["codec"].wall, ours.wall)
    show("  the codec's share of the client's time", share, "of it", "at most 0.05")
    show("  rate of the bare socket with check and poll", ratio(bare.wall, careful.wall), "R")
    show("  its CPU", ratio(careful.cpu, bare.cpu), "R")


def _listen(client: Client) -> None:
    with suppress(AMIError):  # the client is closed
        list(client.events(timeout=None))


def _times(client: Client, count: int) -> List[float]:
    times = []
    for _ in range(count):
        start = perf_counter()
        client.send_message(TO, "hello")
        times.append(perf_counter() - start)
    return times


def measure_listener(server: Server, count: int) -> None:
    """Show the median and the maximum of a call's time, with and without a listener."""
    alone: List[float] = []
    beside: List[float] = []
    for _ in range(5):
        for times, listens in ((alone, False), (beside, True)):
            client = server.client()
            client.connect()
            thread = Thread(target=_listen, args=(client,))
            if listens:
                thread.start()
                sleep(0.05)
            times += _times(client, count // 5)
            client.close()
            if listens:
                thread.join()
    show(f"median of a call alone, {server.label}", statistics.median(alone) * 1e3, "ms")
    show(f"maximum of a call alone, {server.label}", max(alone) * 1e3, "ms")
    target = "at most 1.5"
    medians = statistics.median(beside) / statistics.median(alone)
    show(f"median with a listener, {server.label}", medians, "times", target)
    show(f"maximum with a listener, {server.label}", max(beside) / max(alone), "times", target)


def main() -> None:
    chosen = options(asterisk=True)
    count, rounds = (100, 3) if chosen.short else (1000, 15)
    for server in servers(chosen.asterisk):
        measure(server, count, rounds)
        measure_listener(server, count)


if __name__ == "__main__":
    main()
