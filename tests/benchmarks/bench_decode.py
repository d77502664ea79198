"""Decoding, pairing in a flood, and cutting: amiproto against the least that Python can do."""

from __future__ import annotations

import re
from typing import Callable, Dict, List

from amiproto import NEED_DATA, Action, Answer, Banner, Connection, Response, Role, Session
from tests.benchmarks.common import CAPTURES, interleave, is_short, ratio, show

CHUNK = 64 * 1024


def stanzas_of(name: str, times: int = 1) -> bytes:
    """A capture without its banner line, repeated with other ids each time.

    The serial numbers of calls and channels never come back in life, and a decoder that remembers
    what it has seen must not have seen all of it.
    """
    data = (CAPTURES / name).read_bytes().split(b"\r\n", 1)[1]
    return b"".join(
        re.sub(rb"(\d{10}\.|-0000)(?=[0-9a-f])", rb"\g<1>%d" % time if time else rb"\1", data)
        for time in range(times)
    )


def pieces(data: bytes, size: int) -> List[bytes]:
    """The data in pieces of so many bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def floor(chunks: List[bytes]) -> None:
    """P: split at blank lines, decode, split lines, partition, put in a dict."""
    rest = b""
    for chunk in chunks:
        *stanzas, rest = (rest + chunk).split(b"\r\n\r\n")
        for stanza in stanzas:
            headers = {}
            for line in stanza.decode("utf-8", "replace").split("\r\n"):
                name, _, value = line.partition(": ")
                headers[name] = value


def split_only(chunks: List[bytes]) -> None:
    """S: split at blank lines, and nothing else."""
    rest = b""
    for chunk in chunks:
        *_, rest = (rest + chunk).split(b"\r\n\r\n")


def connected() -> Connection:
    """A client's connection behind the banner."""
    connection = Connection(Role.CLIENT)
    connection.receive_data(Banner("11.0.0").wire)
    connection.next_event()
    return connection


def decode(chunks: List[bytes]) -> None:
    """Every stanza decoded, every header read."""
    connection = connected()
    next_event = connection.next_event
    for chunk in chunks:
        connection.receive_data(chunk)
        message = next_event()
        while message is not NEED_DATA:
            message.headers.items()  # type: ignore[union-attr]
            message = next_event()


def cut(chunks: List[bytes]) -> None:
    """Every stanza found, no header read."""
    connection = connected()
    next_event = connection.next_event
    for chunk in chunks:
        connection.receive_data(chunk)
        while next_event() is not NEED_DATA:
            pass


class Flood:
    """A logged-in session, and the answers to its actions spread over a flood of events."""

    ACTIONS = 100

    def __init__(self, events: bytes, times: int) -> None:
        stanzas = events.split(b"\r\n\r\n")[:-1]
        self._step = len(stanzas) // self.ACTIONS
        # The ActionIDs are the same in each, as the entropy is.
        self._sessions = [self._logged_in() for _ in range(times)]
        for session in self._sessions:
            actions = [session.send(Action("Ping")).action_id for _ in range(self.ACTIONS)]
        for number, action_id in enumerate(actions):
            answer = Response("Success", [("Ping", "Pong")], action_id=action_id).wire[:-4]
            stanzas.insert(number * (self._step + 1), answer)
        self.data = b"\r\n\r\n".join(stanzas) + b"\r\n\r\n"
        self.chunks = pieces(self.data, CHUNK)

    def _logged_in(self) -> Session:
        session = Session("user", "secret", entropy=bytes(16), mechanism="plain", events="on")
        session.receive_data(Banner("11.0.0").wire)
        session.next_event()
        login = session.data_to_send().split(b"ActionID: ")[1].split(b"\r\n")[0].decode()
        session.receive_data(Response("Success", action_id=login).wire)
        session.next_event()
        return session

    def pair(self) -> None:
        """Find each answer."""
        session = self._sessions.pop()
        waiting = set(session.outstanding)
        next_event = session.next_event
        for chunk in self.chunks:
            session.receive_data(chunk)
            event = next_event()
            while event is not NEED_DATA:
                if type(event) is Answer:
                    waiting.remove(event.action_id)
                event = next_event()
        assert not waiting


def main() -> None:
    short = is_short()
    rounds = 3 if short else 15
    for name in ("asterisk-16.bin", "asterisk-22.bin"):
        for what, data in (
            ("as recorded", stanzas_of(name)),
            ("new ids each time", stanzas_of(name, 2 if short else 8)),
        ):
            reading(f"{name}, {what}", data, rounds)
    cutting(stanzas_of("asterisk-22.bin"), rounds)
    one_stanza(rounds)


def reading(where: str, data: bytes, rounds: int) -> None:
    """The same stream decoded, cut, and searched for answers."""
    chunks = pieces(data, CHUNK)
    flood = Flood(data, rounds + 1)
    took = interleave(
        {
            "floor": lambda: floor(chunks),
            "decode": lambda: decode(chunks),
            "split": lambda: split_only(flood.chunks),
            "floor of flood": lambda: floor(flood.chunks),
            "pair": flood.pair,
        },
        rounds,
    )
    decoded = ratio(took["decode"].wall, took["floor"].wall)
    show(f"decode, every header read ({where})", decoded, "P", "at most 1.0")
    paired = ratio(took["pair"].wall, took["floor of flood"].wall)
    show(f"answers found in a flood ({where})", paired, "P", "at most 0.35")
    alone = ratio(took["split"].wall, took["floor of flood"].wall)
    show("  split alone, S", alone, "P")


def cutting(data: bytes, rounds: int) -> None:
    """The same bytes in pieces of many sizes; and with the cost of the calls taken off.

    What the calls cost is seen with the same lines in as many pieces, but with one blank line of
    64: each call then does all that it does elsewhere, except to end a stanza. (Without any, the
    stanza would be so long that the length of its lines is looked at.)
    """
    sizes = (1, 7, 1460, 65536)
    stanzas = data.split(b"\r\n\r\n")
    long = [b"\r\n".join(stanzas[start : start + 64]) for start in range(0, len(stanzas), 64)]
    endless = b"\r\n\r\n".join(long)
    endless += endless[: len(data) - len(endless)]
    functions: Dict[str, Callable[[], object]] = {}
    for size in sizes:
        chunks, calls = pieces(data, size), pieces(endless, size)
        functions[f"{size}"] = lambda chunks=chunks: cut(chunks)  # type: ignore[misc]
        functions[f"calls {size}"] = lambda calls=calls: cut(calls)  # type: ignore[misc]
    took = interleave(functions, rounds)
    whole = took["65536"].wall
    for size in sizes[:-1]:
        raw = ratio(took[f"{size}"].wall, whole)
        net = [a - b for a, b in zip(took[f"{size}"].wall, took[f"calls {size}"].wall)]
        show(f"time per byte in pieces of {size}, to pieces of 65536", raw, "times")
        target = "at most 4" if size == 7 else None
        show("  per-call cost aside", ratio(net, whole), "times", target)


def one_stanza(rounds: int) -> None:
    """A stanza of 1 MB in pieces of 16 bytes."""
    line = b"Output: " + b"x" * 90 + b"\r\n"
    data = b"Response: Success\r\n" + line * 10000 + b"\r\n"
    chunks = pieces(data, 16)
    took = interleave({"stanza": lambda: cut(chunks)}, min(rounds, 7))
    show(f"one stanza of {len(data)} bytes in pieces of 16", min(took["stanza"].wall), "s", "0.2")


if __name__ == "__main__":
    main()
