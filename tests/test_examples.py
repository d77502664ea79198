"""The programs in tests/examples; the Celery example has a test of its own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from typing import Callable, List

import pytest

from amiclient import ActionFailed, Event, NotSent
from amiclient.loopback import SECRET, USERNAME, Delay, LoopbackServer
from amiproto import Action, ActionResult, Message, MessageSend, Response, parse_message_send
from tests.examples import asyncio_client, failover, proxy, receiving
from tests.faults import client_of, start_thread
from tests.readme import ROOT

COUNT = 50


def texts(server: LoopbackServer, to: str = "pjsip:a") -> List[str]:
    return sorted(message.text for message in server.messages if message.to == to)


def wait_for_all() -> Callable[[Action], None]:
    """Return a handler that delays responses until all messages to pjsip:a have arrived."""
    barrier = threading.Barrier(COUNT)

    def handler(action: Action) -> None:
        if action.headers["To"] == "pjsip:a":
            barrier.wait(30.0)

    return handler


def test_failover() -> None:
    message = MessageSend("pjsip:a", "b")
    with LoopbackServer() as down:
        port = down.port
    with LoopbackServer() as server:
        clients = [client_of(port), client_of(server.port)]
        assert failover.send_by_any(message, *clients).outcome == "accepted"
        assert len(server.messages) == 1
        with pytest.raises(ActionFailed):
            failover.send_by_any(MessageSend("fax:a", "b"), *clients)
        clients[1].close()
    for given in ([], clients):
        with pytest.raises(NotSent):
            failover.send_by_any(message, *given)


def test_receiving() -> None:
    sent = ("<sip:a@b>", "sip:c", 'Grüße, "quoted"\r\n\r\nResponse: Success')
    encoded = [b64encode(value.encode()).decode() for value in sent]
    headers = [("UserEvent", "MessageIn"), *zip(("From64", "To64", "Body64"), encoded)]
    with LoopbackServer() as server, client_of(server.port, events="user") as client:
        server.send_event(Event("UserEvent", [("UserEvent", "Other")]))
        server.send_event(Event("UserEvent", headers))
        assert next(receiving.incoming(client)) == sent


def test_asyncio_connections_in_one_loop() -> None:
    async def send_all(port: int) -> List[ActionResult]:
        jobs = [
            asyncio_client.send(
                "127.0.0.1", port, USERNAME, SECRET, MessageSend("pjsip:a", f"{number}\n")
            )
            for number in range(COUNT)
        ]
        return list(await asyncio.wait_for(asyncio.gather(*jobs), 30))

    with LoopbackServer(handlers={"MessageSend": wait_for_all()}) as server:
        results = asyncio.run(send_all(server.port))
        assert [result.response.name for result in results] == ["Success"] * COUNT
        assert texts(server) == sorted(f"{number}\n" for number in range(COUNT))


def test_asyncio_timeout_and_disconnect() -> None:
    async def send(port: int) -> None:
        message = MessageSend("pjsip:a", "x")
        await asyncio.wait_for(
            asyncio_client.send("127.0.0.1", port, USERNAME, SECRET, message), 0.3
        )

    with LoopbackServer() as server:
        server.script(Delay(20.0))
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(send(server.port))
        with pytest.raises(ConnectionError):
            start_thread(server.close)
            asyncio.run(send(server.port))


def run_example(name: str, server: LoopbackServer) -> List[str]:
    """Run an example that sends fifty messages, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.examples.{name}", str(server.port), USERNAME, SECRET,
         str(COUNT)],
        cwd=ROOT, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert texts(server) == sorted(f"number {number}\n" for number in range(COUNT))
    return done.stdout.splitlines()


def test_twisted() -> None:
    pytest.importorskip("twisted", reason="Twisted is not installed")
    with LoopbackServer() as server:
        assert run_example("twisted_protocol", server) == [f"{COUNT} Success"]


def test_gevent() -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    with LoopbackServer(handlers={"MessageSend": wait_for_all()}) as server:
        assert run_example("gevent_greenlets", server) == [f"{COUNT} accepted"] * 2
        assert texts(server, "pjsip:b") == sorted(map(str, range(COUNT)))


def test_proxy_logs_and_changes_messages() -> None:
    log: List[Message] = []

    def change(message: Message) -> Message:
        log.append(message)
        if isinstance(message, Action) and message.name == "MessageSend":
            sent = parse_message_send(message)
            return MessageSend(
                sent.to, sent.body.upper(), variables={"X-Proxy": "1"}, action_id=sent.action_id
            )
        if isinstance(message, Response) and message.message == "Message successfully sent":
            return Response("Success", {"Message": "by proxy"}, action_id=message.action_id)
        return message

    def serve() -> None:
        with listener.accept()[0] as to_client:
            with socket.create_connection((server.host, server.port)) as to_server:
                proxy.serve(to_client, to_server, change)

    with LoopbackServer() as server, socket.create_server(("127.0.0.1", 0)) as listener:
        thread = start_thread(serve)
        with client_of(listener.getsockname()[1]) as client:
            receipt = client.send_message("pjsip:a", "two\nlines")
            assert receipt.server_message == "by proxy"
            with pytest.raises(ActionFailed):
                client.send_message("fax:a", "x")
            assert client.send_action(Action("Ping")).response.headers["Ping"] == "Pong"
        thread.join(20)
    (message,) = server.messages
    assert (message.text, message.variables) == ("TWO\nLINES", (("X-Proxy", "1"),))
    assert message.action_id == receipt.action_id
    assert [each.name for each in log if isinstance(each, Action)] == [
        "Challenge", "Login", "MessageSend", "MessageSend", "Ping", "Logoff",
    ]  # fmt: skip
