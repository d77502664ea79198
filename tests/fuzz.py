"""Random and mutated bytes through a connection of each role, and a session.

    python3 tests/fuzz.py --inputs 2000000 [--seed N] [--seconds S] [--jobs N]

Every input is read by a client's and a server's connection, some also by a session. Nothing but
RemoteProtocolError may be raised, every reader has to come to an end, what it keeps is bounded, and
of some inputs it is checked that they give the same when they are cut otherwise. An input that
fails is printed, so that it can become a test. Ends with counts, and 1 where something failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from amiproto import (  # noqa: E402
    NEED_DATA,
    Action,
    Banner,
    Connection,
    EndOfStream,
    Message,
    RemoteProtocolError,
    Response,
    Role,
    Session,
    parse_message_send,
)
from amiproto.limits import MAX_PARTIAL_ACTION  # noqa: E402

Reader = Union[Connection, Session]

CAPTURES = Path(__file__).resolve().parent / "captures"
ENTROPY = b"0123456789abcdef"
BANNERS = [
    b"Asterisk Call Manager/1.3\r\n",
    b"Asterisk Call Manager/5.0.4\r\n",
    b"Asterisk Call Manager/11.0.0\n",
] * 5 + [b""]  # the input has to bring its own

#: Limits low enough for inputs of some hundred bytes to meet them, and the usual ones.
LIMITS: List[Dict[str, int]] = [
    {},
    {},
    {},
    {"max_line": 100, "max_stanza": 400, "max_backlog": 500},
    {"max_line": 30, "max_stanza": 5000, "max_backlog": 0},
    {"max_line": 5000, "max_stanza": 60, "max_backlog": 0},
]

SAMPLES = [
    b"Event: Newexten\r\nPrivilege: dialplan,all\r\nChannel: Local/1@x-1;2\r\nAppData: a=b\r\n\r\n",
    b"Event: X\r\nEmpty: \r\nEmpty:\r\nno colon\r\nVariable(SIP/x:1-2): a=b\r\n\xff\xfe\r\n\r\n",
    b"Response: Success\r\nVariable: X\r\nValue: a\r\n\r\nResponse: Error\r\nMessage: x\r\n\r\n",
    b"Response: Follows\r\nPrivilege: Command\r\nActionID: 1\r\n"
    b"a\n\n\r\n\r\nb\n--END COMMAND--\r\n\r\n",
    b"Response: Follows\r\nPrivilege: Command\r\n--END COMMAND--\r\n\r\n",
    b"Response: Success\r\nOutput: a\r\nOutput: \r\nOutput: b\r\r\n\r\n",
    b"Asterisk Call Manager/9.0.0\r\n",
    b"Event: X\nA: b\n\n",
    b"Event: X\nA: b\r\n\r\n",
    b"default has 0 calls (max unlimited)\r\n   No Members\r\n\r\n",
    b"\r\n\r\n\n",
]  # fmt: skip
CLIENT_SAMPLES = [
    b"Action: Ping\r\nActionID: 1\r\n\r\n",
    b"Action: Ping\n\n",
    b"Action: Challenge\r\nAuthType: MD5\r\n\r\n",
    b"Action: Logoff\r\n\r\n",
    b"action:Originate\r\nActionID:\r\nVariable: a=b\r\nACTIONID: 2\r\n\r\n",
    b"Action: \r\nAction: Setvar\0\r\nActionID: 3\0 4\r\nno colon\r\n\r\n",
    b"Action: Login\r\nUsername: joe\r\nSecret: geheim\r\nEvents: off\r\n\r\n",
    b"Action: MessageSend\r\nTo: p:a\r\nVariable: (b,\"c\\\"),d=e\r\nBase64Body: Y\r\n\r\n",
    b"Action: X\r\nLong: " + b"x" * 1017 + b"\r\n\r\n",
    b"Action: X\r\n" + b"A: b\r\n" * 127 + b"\r\n",
    b"ActionID: 7\nAction: Ping\n\n\0Action: Evil\r\n\r\n",
]  # fmt: skip
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\0", b":", b"(", b"):", b"\xff",
    b"Event: ", b"Response: ", b"Action: ", b"ActionID: ", b"EventList: Complete\r\n",
    b"EventList: start\r\n", b"--END COMMAND--\r\n\r\n", b"Base64Body: ", b"Variable: ",
    b"Response: Follows\r\nPrivilege: Command\r\n", b"x" * 60, b"x" * 1022, b"A\r\n" * 40,
]  # fmt: skip


class Failure(NamedTuple):
    """An input that broke a rule."""

    data: bytes
    chunks: List[int]
    reader: str
    trace: str


class Report(NamedTuple):
    """What one process has done."""

    inputs: int
    counts: Dict[str, int]
    grown: int
    failure: Optional[Failure]


class Broken(Exception):
    """A rule that does not hold."""


class _Login:
    """The bytes that log a session in and open actions, the same each time."""

    def __init__(self) -> None:
        session = Session("joe", "geheim", entropy=ENTROPY)
        server = Connection(Role.SERVER)
        self.chunks = [server.send(Banner("1.3"))]
        while not session.logged_in:
            session.receive_data(self.chunks[-1])
            if session.next_event() is not NEED_DATA:
                break
            server.receive_data(session.data_to_send())
            action = server.next_event()
            assert isinstance(action, Action)
            answer = Response("Success", {"Challenge": "1"}, action_id=action.action_id)
            self.chunks.append(server.send(answer))
        self.ids = [self._ask(session) for _ in range(3)]

    @staticmethod
    def _ask(session: Session) -> str:
        action_id = session.send(Action("X")).action_id
        assert action_id is not None
        return action_id

    def session(self) -> Session:
        """A session that is logged in and waits for answers; low limits, which its login meets."""
        session = Session(
            "joe", "geheim", entropy=ENTROPY, max_list_bytes=300, max_line=100, max_stanza=400
        )
        for chunk in self.chunks:
            session.receive_data(chunk)
            session.next_event()
        session.data_to_send()
        for _ in self.ids:
            self._ask(session)
        return session


def _client(banner: bytes, limits: Dict[str, int]) -> Connection:
    client = Connection(Role.CLIENT, **limits)
    client.receive_data(banner)
    if isinstance(client.next_event(), Banner):
        # Whose answers may be raw text, where the banner is an old one.
        for action_id in (None, "1", "1"):
            client.send(Action("Command", {"Command": "x"}, action_id=action_id))
    return client


class Fuzzer:
    """Makes inputs, has them read, and counts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.login = _Login()
        # The recorded ones are many: taken alike, they would leave no room for the others.
        self.samples = [CLIENT_SAMPLES, SAMPLES + self._answers(), _recorded() or SAMPLES]
        self.counts: Counter[str] = Counter()
        self.data = b""
        self.sizes: List[int] = []
        self.reader = ""

    def _answers(self) -> List[bytes]:
        made = []
        for action_id in self.login.ids:
            line = f"ActionID: {action_id}\r\n".encode()
            made += [
                b"Response: Success\r\n" + line + b"\r\n",
                b"Response: Success\r\n" + line + b"EventList: start\r\n\r\n",
                b"Response: Success\r\n" + line + b"Message: Peers will follow\r\n\r\n",
                b"Event: Item\r\n" + line + b"A: b\r\n\r\n",
                b"Event: ListComplete\r\n" + line + b"EventList: Complete\r\n\r\n",
                b"Response: Error\r\nMessage: no\r\n\r\n",
            ]
        return made

    def make(self) -> bytes:
        """One input: samples put together and damaged, or bytes out of nowhere."""
        chance = self.random.random
        if chance() < 0.05:
            size = int(chance() * 200)
            return self.random.getrandbits(8 * size + 1).to_bytes(size + 1, "little")
        data = bytearray()
        samples = self.samples[int(chance() * len(self.samples))]
        for _ in range(1 + int(chance() * 3)):
            data += samples[int(chance() * len(samples))]
        for _ in range(int(chance() * 5)):
            place = int(chance() * (len(data) + 1))
            end = place + 1 + int(chance() ** 3 * 200)
            what = chance()
            if what < 0.3 and data:
                data[place - 1] ^= 1 << int(chance() * 8)
            elif what < 0.5:
                del data[place:end]
            elif what < 0.65:
                data[place:place] = data[place:end] * (1 + int(chance() * 3))
            elif what < 0.95:
                data[place:place] = TOKENS[int(chance() * len(TOKENS))]
            else:
                data[place:end] = self.random.getrandbits(64).to_bytes(8, "little")
        return bytes(data)

    def cut(self, size: int) -> List[int]:
        """Where an input is cut: not at all, here and there, or into small pieces."""
        chance = self.random.random
        what = chance()
        if what < 0.3:
            return [0, size]
        if what < 0.95:
            places = sorted(int(chance() * (size + 1)) for _ in range(1 + int(chance() * 4)))
            return [0, *places, size]
        step = 1 + int(chance() * 30)
        return [*range(0, size, step), size]

    def run(self, inputs: int) -> None:
        """Make so many inputs and have them read; raises what goes wrong."""
        for _ in range(inputs):
            self.data = self.make()
            self.sizes = self.cut(len(self.data))
            limits = LIMITS[int(self.random.random() * len(LIMITS))]
            banner = BANNERS[int(self.random.random() * len(BANNERS))]
            self.reader = f"client {banner!r} {limits}"
            seen, error = self.read(_client(banner, limits), self.sizes)
            self.reader = "server"
            actions, _ = self.read(Connection(Role.SERVER, **limits), self.sizes)
            if self.random.random() < 0.9:
                continue
            self.look_at(seen)
            self.look_at(actions)
            self.reader = f"client {banner!r} {limits}, cut and in one piece"
            whole = self.read(_client(banner, limits), [0, len(self.data)])
            if (whole[0], str(whole[1])) != (seen, str(error)):
                raise Broken(f"{seen} {error} in one piece: {whole}")
            self.reader = "session"
            session = self.login.session()
            self.read(session, self.sizes)
            if not set(session.outstanding) <= set(self.login.ids):
                raise Broken("an action came from nowhere")

    def read(
        self, reader: Reader, places: Sequence[int]
    ) -> Tuple[List[Any], Optional[RemoteProtocolError]]:
        """Every event of the input, and the error at its end."""
        data, counts = self.data, self.counts
        seen: List[Any] = []
        # No event without a byte, but for the end: whoever gives more gives for ever.
        left = len(data) + 3
        try:
            for start, end in zip(places, places[1:]):
                reader.receive_data(data[start:end])
                while True:
                    event = reader.next_event()
                    if event is NEED_DATA:
                        break
                    seen.append(event)
                    left -= 1
                    if left < 0:
                        raise Broken("next_event never comes to an end")
            reader.receive_eof()
            while True:
                event = reader.next_event()
                seen.append(event)
                if isinstance(event, EndOfStream):
                    break
                left -= 1
                if left < 0 or event is NEED_DATA:
                    raise Broken("the stream never comes to an end")
        except RemoteProtocolError as error:
            counts[f"RemoteProtocolError: {str(error).rstrip('0123456789')[:45]}"] += 1
            for event in seen:
                counts[type(event).__name__] += 1
            return seen, error
        for event in seen:
            counts[type(event).__name__] += 1
        if event.unread > max(len(data), MAX_PARTIAL_ACTION):
            raise Broken(f"{event} of {len(data)} bytes")
        return seen, None

    def look_at(self, seen: Sequence[Any]) -> None:
        """Read all there is to read of events."""
        size = 0
        for event in seen:
            repr(event)
            if not isinstance(event, Message):
                continue
            size += len(event.wire)
            hash(event)
            for name in ("headers", "action_id", "name", "output", "message", "version", "reason"):
                getattr(event, name, None)
            parse_message_send(Action.from_wire(event.wire))
            if event != type(event).from_wire(event.wire):
                raise Broken(f"{event} is not what its bytes say")
        if size > len(self.data) + 300:
            raise Broken("more bytes came out than went in")


def _recorded() -> List[bytes]:
    """Stanzas of the recorded captures, where there are any."""
    stanzas: List[bytes] = []
    for path in sorted(CAPTURES.glob("*.bin")):
        pieces = path.read_bytes().split(b"\r\n\r\n")
        stanzas += [piece + b"\r\n\r\n" for piece in pieces if len(piece) < 2000]
    return stanzas


def memory() -> int:
    """Most bytes this process has had, or 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def work(seed: int, inputs: int, seconds: Optional[float]) -> Report:
    """Fuzz in this process."""
    fuzzer = Fuzzer(seed)
    started = time.perf_counter()
    done = 0
    before = 0
    while done < inputs and (seconds is None or time.perf_counter() - started < seconds):
        count = min(500, inputs - done)
        try:
            fuzzer.run(count)
        except Exception:
            trace = traceback.format_exc()
            failure = Failure(fuzzer.data, list(fuzzer.sizes), fuzzer.reader, trace)
            return Report(done, dict(fuzzer.counts), 0, failure)
        done += count
        # From here on the caches are full, and nothing else may stay.
        before = before or (memory() if done >= min(20_000, inputs // 2) else 0)
    return Report(done, dict(fuzzer.counts), memory() - before, None)


#: Most bytes that a process may grow by once its caches are full.
MAX_GROWTH = 32 * 1024 * 1024


def fuzz(inputs: int, seed: int, seconds: Optional[float] = None, jobs: int = 1) -> bool:
    """Fuzz, print what came of it, and say whether all is well."""
    started = time.perf_counter()
    shares = [(seed + job, (inputs + job) // jobs, seconds) for job in range(jobs)]
    if jobs == 1:
        reports = [work(*shares[0])]
    else:
        with multiprocessing.Pool(jobs) as pool:
            reports = pool.starmap(work, shares)
    spent = time.perf_counter() - started
    done = sum(report.inputs for report in reports)
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.counts)
    print(f"{done} inputs in {spent:.1f} s, {done / spent:.0f} a second, seed {seed}, {jobs} jobs")
    for name, count in sorted(counts.items()):
        print(f"{count:10} {name}")
    grown = max(report.grown for report in reports)
    print(f"grown by {grown // 1024} KiB")
    for report in reports:
        if report.failure is not None:
            data, places, reader, trace = report.failure
            print(f"FAILED: {reader}\ninput {data!r}\ncut at {places}\n{trace}")
    return grown <= MAX_GROWTH and all(report.failure is None for report in reports)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="how many inputs")
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run")
    parser.add_argument("--seconds", type=float, default=None, help="end after so long")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    return 0 if fuzz(options.inputs, seed, options.seconds, max(1, options.jobs)) else 1


if __name__ == "__main__":
    sys.exit(main())
