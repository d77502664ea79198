"""Codec and client inside of other machinery: asyncio, Twisted, gevent, a proxy, pools."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import socket
import subprocess
import sys
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional

import pytest

from amiclient import Client
from amiclient.loopback import SECRET, USERNAME, Delay, LoopbackServer
from amiproto import (
    Action,
    ActionResult,
    Connection,
    Message,
    MessageSend,
    Response,
    parse_message_send,
)
from tests.faults import client_of, start_thread
from tests.readme import ROOT, block, run

COUNT = 50
PROGRAMS = ROOT / "tests" / "client" / "embedding"


def texts(server: LoopbackServer, to: str = "pjsip:a") -> List[str]:
    return sorted(message.text for message in server.messages if message.to == to)


def meet() -> Callable[[Action], None]:
    """A handler that answers nobody before all have asked, which shows that they are at once."""
    barrier = threading.Barrier(COUNT)

    def handler(action: Action) -> None:
        if action.headers["To"] == "pjsip:a":
            barrier.wait(30.0)

    return handler


def test_fifty_connections_of_the_manual_in_one_loop() -> None:
    send = run(block("python", "import asyncio"))["send"]

    async def talk(port: int) -> List[ActionResult]:
        jobs = [
            asyncio.wait_for(
                send("127.0.0.1", port, USERNAME, SECRET, MessageSend("pjsip:a", f"{number}\n")), 30
            )
            for number in range(COUNT)
        ]
        answers: List[ActionResult] = await asyncio.gather(*jobs)
        return answers

    with LoopbackServer(handlers={"MessageSend": meet()}) as server:
        met = asyncio.run(talk(server.port))
        assert [answer.response.name for answer in met] == ["Success"] * COUNT
        assert texts(server) == sorted(f"{number}\n" for number in range(COUNT))


def test_the_manual_s_coroutine_ends_in_time_and_closes() -> None:
    send = run(block("python", "import asyncio"))["send"]

    async def talk(port: int) -> None:
        message = MessageSend("pjsip:a", "x")
        await asyncio.wait_for(send("127.0.0.1", port, USERNAME, SECRET, message), 0.3)

    with LoopbackServer() as server:
        server.script(Delay(20.0))
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(talk(server.port))
        with pytest.raises(ConnectionError):
            start_thread(server.close)
            asyncio.run(talk(server.port))


def script(name: str, server: LoopbackServer) -> List[str]:
    """The lines that a program of tests/client/embedding writes, with fifty messages to send."""
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / name), str(server.port), USERNAME, SECRET, str(COUNT)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert texts(server) == sorted(f"number {number}\n" for number in range(COUNT))
    return done.stdout.split("\n")


def test_a_twisted_protocol() -> None:
    pytest.importorskip("twisted", reason="Twisted is not installed")
    with LoopbackServer() as server:
        assert script("twisted_protocol.py", server) == [f"{COUNT} Success", ""]


def test_fifty_greenlets() -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    with LoopbackServer(handlers={"MessageSend": meet()}) as server:
        # Each with a client of its own, then all with one.
        assert script("gevent_greenlets.py", server) == [f"{COUNT} accepted"] * 2 + [""]
        assert texts(server, "pjsip:b") == sorted(map(str, range(COUNT)))


class Relay:
    """The manual's proxy over sockets: what it lets through, it logs, and may change."""

    def __init__(self, port: int, change: Callable[[Message], Message]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._target = port
        self._change = change
        self.log: List[Message] = []
        self._thread = start_thread(self._serve)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *reason: object) -> None:
        self._thread.join(20)
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        names = run(block("python", "def relay("))
        relay: Any = names["relay"]
        to_client: Connection = names["to_client"]
        to_server: Connection = names["to_server"]

        class Noting:
            """The side that is written to, with a look at what goes there."""

            def __init__(self, connection: Connection) -> None:
                self._connection = connection

            def send(noting, message: Message) -> bytes:  # noqa: N805
                self.log.append(message)
                return noting._connection.send(self._change(message))

        with client, server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        server.sendall(relay(data, to_client, Noting(to_server)))
                    else:
                        client.sendall(relay(data, to_server, Noting(to_client)))


def test_a_proxy_in_both_roles_logs_and_rewrites() -> None:
    def change(message: Message) -> Message:
        if isinstance(message, Action) and message.name == "MessageSend":
            asked = parse_message_send(message)
            return MessageSend(
                asked.to, asked.body.upper(), variables={"X-Proxy": "1"}, action_id=asked.action_id
            )
        if isinstance(message, Response) and message.message == "Message successfully sent":
            return Response("Success", {"Message": "by proxy"}, action_id=message.action_id)
        return message

    with LoopbackServer() as server:
        with Relay(server.port, change) as relay, client_of(relay.port) as client:
            receipt = client.send_message("pjsip:a", "two\nlines")
            assert receipt.server_message == "by proxy"
            with pytest.raises(Exception, match="technology not found"):
                client.send_message("fax:a", "x")
            assert client.send_action(Action("Ping")).response.headers["Ping"] == "Pong"
    (message,) = server.messages
    assert (message.text, message.variables) == ("TWO\nLINES", (("X-Proxy", "1"),))
    assert message.action_id == receipt.action_id
    assert [each.name for each in relay.log if isinstance(each, Action)] == [
        "Challenge", "Login", "MessageSend", "MessageSend", "Ping", "Logoff",
    ]  # fmt: skip


#: The client of a worker, opened by whoever uses it first, as the manual says.
_worker: Dict[str, Client] = {}


def _start_worker(client: Client) -> None:
    _worker["client"] = client


def _work(number: int) -> Optional[str]:
    client = _worker["client"]
    if not client.connected:
        client.connect()
    return client.send_message("pjsip:a", f"number {number}").action_id


def pools() -> List[Any]:
    methods = multiprocessing.get_all_start_methods()
    return ["threads", *[method for method in ("fork", "spawn") if method in methods]]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("kind", pools())
def test_a_pool_of_workers(kind: str) -> None:
    with LoopbackServer() as server:
        client = client_of(server.port)
        client.connect()
        if kind == "threads":
            pool: Executor = ThreadPoolExecutor(8, initializer=_start_worker, initargs=(client,))
        else:
            context = multiprocessing.get_context(kind)
            if kind == "fork":
                _start_worker(client)  # open, and of no use to the children
                pool = ProcessPoolExecutor(2, mp_context=context)
            else:
                pool = ProcessPoolExecutor(
                    2, mp_context=context, initializer=_start_anew, initargs=(server.port,)
                )
        with pool:
            ids = list(pool.map(_work, range(COUNT)))
        assert len(set(ids)) == COUNT
        assert texts(server) == sorted(f"number {number}" for number in range(COUNT))
        client.ping()  # the children's ends were not its own
        client.close()
    _worker.clear()


def _start_anew(port: int) -> None:
    _start_worker(client_of(port))
