"""The programs in tests/examples; the Celery example has a test of its own."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    AMIError,
    Client,
    ConnectError,
    Event,
    LocalProtocolError,
    LoginFailed,
)
from amiclient.loopback import (
    SECRET,
    USERNAME,
    Delay,
    Disconnect,
    EventList,
    LoopbackServer,
    no_response,
    refuse,
)
from amiclient.loopback.versions import VERSIONS
from amiproto import Action, ActionResult, Message, MessageSend, Response, parse_message_send
from tests.examples import asyncio_client, failover, listener, proxy, receiving, web_app
from tests.faults import client_of, reset_connection, small_buffer_socket, start_thread
from tests.other_clients import STREAMS
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


@contextmanager
def clients_of(*servers: LoopbackServer, timeout: float = 10.0) -> Iterator[List[Client]]:
    """Return a client for each server, and close them at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(client_of(s.port, timeout))) for s in servers]


def outcomes_of(servers: failover.Failover, count: int, to: str = "pjsip:a") -> List[str]:
    def send(number: int) -> str:
        try:
            return servers.send(MessageSend(to, str(number))).outcome
        except AMIError as error:
            return error.outcome

    return [send(number) for number in range(count)]


def test_failover_rests() -> None:
    with LoopbackServer() as first, LoopbackServer() as second, clients_of(first, second) as both:
        servers = failover.Failover(*both)
        first.close()
        assert outcomes_of(servers, 2) == [ACCEPTED] * 2
        first.open()
        assert outcomes_of(servers, 2) == [ACCEPTED] * 2
        assert (len(first.messages), len(second.messages)) == (0, 4)
        # A resting server is tried if no other one responds, and is preferred again if it works.
        second.close()
        assert outcomes_of(servers, 2) == [ACCEPTED] * 2
        second.open()
        assert outcomes_of(servers, 1) == [ACCEPTED]
        assert (len(first.messages), len(second.messages)) == (3, 4)


def test_failover_after_an_unknown_outcome() -> None:
    with LoopbackServer() as first, LoopbackServer() as second, clients_of(first, second) as both:
        servers = failover.Failover(*both, rest=0.5)
        first.script(Disconnect())
        assert outcomes_of(servers, 2) == [UNKNOWN, ACCEPTED]
        assert (len(first.messages), len(second.messages)) == (1, 1)
        time.sleep(0.5)
        assert outcomes_of(servers, 1) == [ACCEPTED]
        assert (len(first.messages), len(second.messages)) == (2, 1)


def test_failover_by_error() -> None:
    with LoopbackServer() as first, LoopbackServer() as second, clients_of(first, second) as both:
        servers = failover.Failover(*both)
        # A server that responds does not rest.
        first.script(refuse(), refuse("Permission denied"), refuse())
        second.script(refuse())
        assert outcomes_of(servers, 4) == [FAILED, FAILED, ACCEPTED, ACCEPTED]
        assert (len(first.actions), len(second.actions)) == (4, 2)
        with pytest.raises(LocalProtocolError):
            servers.send(MessageSend("pjsip:a", "x", action_id="1" * 2000))
        assert outcomes_of(servers, 1) == [ACCEPTED]
        assert (len(first.messages), len(second.messages)) == (2, 1)
        # A message that another server has refused does not wait for the resting one.
        first.close()
        assert outcomes_of(servers, 1) == [ACCEPTED]
        first.open()
        second.script(refuse())
        assert outcomes_of(servers, 1) == [FAILED]
        assert not both[0].connected
    for other in (servers, failover.Failover()):
        assert outcomes_of(other, 1) == [NOT_SENT]


def test_failover_has_one_thread_try_a_server_that_has_rested() -> None:
    first = LoopbackServer(handlers={"MessageSend": no_response})
    with first, LoopbackServer() as second, clients_of(first, second, timeout=0.5) as both:
        servers = failover.Failover(*both, rest=0.5)
        assert outcomes_of(servers, 1) == [UNKNOWN]
        time.sleep(0.5)

        def send(_: int) -> Tuple[float, List[str]]:
            start = time.monotonic()
            outcomes = outcomes_of(servers, 10)
            return time.monotonic() - start, outcomes

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(send, range(8)))
    assert min(results)[0] < 0.5, "all waited for the first server"
    outcomes = sum([outcomes for _, outcomes in results], [])
    # Two threads if they look at the same moment.
    assert 1 <= outcomes.count(UNKNOWN) <= 2
    assert len(second.messages) == outcomes.count(ACCEPTED) >= 78


def test_listener_survives_restarts_and_dropped_events() -> None:
    event = Event("UserEvent", [("UserEvent", "Test")])
    with LoopbackServer() as server, client_of(server.port, events="user", max_events=1) as client:
        events = listener.listen(client, pause=0.01)
        for _ in range(3):
            assert next(events) is None
            server.send_event(event)
            assert next(events) == event
            server.close()
            threading.Timer(0.05, server.open).start()
        assert next(events) is None
        for _ in range(3):
            server.send_event(event)
        client.ping()  # after the events
        assert [next(events), next(events)] == [event, None]
        threading.Timer(0.05, client.close).start()
        assert list(events) == []
        with pytest.raises(LoginFailed):
            next(listener.listen(client_of(server.port, secret="wrong")))


def post(app: Any, data: bytes) -> Tuple[int, Any]:
    """Send a request to a WSGI application, and return the status and the result."""
    started: List[str] = []
    environ = {"CONTENT_LENGTH": str(len(data)), "wsgi.input": io.BytesIO(data)}
    body = b"".join(app(environ, lambda status, headers: started.append(status)))
    return int(started[0][:3]), json.loads(body)


def request(number: int) -> bytes:
    return json.dumps({"to": "pjsip:a", "body": str(number)}).encode()


def test_web_app_reports_outcomes() -> None:
    with LoopbackServer() as server, closing(client_of(server.port)) as client:
        app = web_app.create_app(client)
        server.script(lambda action: None, refuse(), Disconnect())
        statuses = [post(app, request(number))[0] for number in range(3)]
        assert statuses == [202, 502, 504]
        status, result = post(app, b'{"to": "pjsip:a", "body": ""}')
        assert (status, result["outcome"]) == (202, ACCEPTED)
        status, result = post(app, b'{"to": "", "body": ""}')
        assert (status, result["field"]) == (422, "To")
        for data in (b"", b"[]", b"{}", b'{"to": 1, "body": ""}'):
            assert post(app, data)[0] == 400
        server.close()
        assert post(app, request(3))[0] == 503


def test_web_app_shares_a_client_over_a_restart() -> None:
    with LoopbackServer() as server, closing(client_of(server.port)) as client:
        app = web_app.create_app(client)

        def send(number: int) -> int:
            if number == 100:
                server.close()
                threading.Timer(0.05, server.open).start()
            status = post(app, request(number))[0]
            while status == 503:
                time.sleep(0.02)
                status = post(app, request(number))[0]
            return status

        with ThreadPoolExecutor(10) as pool:
            statuses = list(pool.map(send, range(200)))
    assert statuses.count(202) + statuses.count(504) == 200 and statuses.count(504) <= 1
    received = [int(text) for text in texts(server)]
    assert len(received) == len(set(received))
    assert {n for n in range(200) if statuses[n] == 202} <= set(received)


def test_calls_of_a_shared_client_are_serial() -> None:
    server = LoopbackServer(handlers={"MessageSend": Delay(0.02)})
    with server, clients_of(*[server] * 10) as clients:
        apps = [web_app.create_app(client) for client in clients]

        def seconds(shared: bool) -> float:
            start = time.monotonic()
            with ThreadPoolExecutor(10) as pool:
                jobs = [
                    pool.submit(post, apps[0 if shared else number % 10], request(number))
                    for number in range(COUNT)
                ]
            assert [job.result()[0] for job in jobs] == [202] * COUNT
            return time.monotonic() - start

        assert seconds(shared=True) >= 1.0 > 2 * seconds(shared=False)


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


@contextmanager
def proxied(target: int, change: proxy.Change = lambda message: message) -> Iterator[int]:
    """Run the proxy to a port of 127.0.0.1, and return its own port."""
    started: "Future[Tuple[asyncio.AbstractEventLoop, int]]" = Future()

    async def run() -> None:
        serve = proxy.Proxy("127.0.0.1", target, change).serve
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            started.set_result((asyncio.get_running_loop(), port))
            await listening.serve_forever()

    def run_until_cancelled() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(run())

    thread = start_thread(run_until_cancelled)
    loop, port = started.result(10)
    try:
        yield port
    finally:
        for task in asyncio.all_tasks(loop):
            loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def received(port: int, stream: str, user: str, secret: str, to: str) -> bytes:
    """Send a stream, half-close the connection, and return what was received, without timestamps."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(stream.format(user=user, secret=secret, to=to).encode())
        sock.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    return re.sub(rb"Timestamp: [\d.]+", b"", data)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(STREAMS))
def test_proxy_answers_as_the_server_does(name: str, version: int) -> None:
    login = USERNAME, SECRET, "pjsip:alice"
    with LoopbackServer(version=version) as server, proxied(server.port) as port:
        direct = received(server.port, STREAMS[name], *login)
        assert direct.count(b"Response: Success") > 1
        assert received(port, STREAMS[name], *login) == direct
        half = len(server.messages) // 2
        assert server.messages[:half] == server.messages[half:] != []


def test_proxy_changes_messages() -> None:
    log: List[Message] = []

    def change(message: Message) -> Message:
        log.append(message)
        if isinstance(message, Action) and message.name == "MessageSend":
            sent = parse_message_send(message)
            assert sent.action_id is not None
            message = MessageSend(sent.to, sent.body.upper(), variables={"X-Proxy": "1"})
            return message.with_action_id("proxy-" + sent.action_id)
        action_id = message.action_id or ""
        if isinstance(message, Response) and action_id.startswith("proxy-"):
            return message.with_action_id(action_id[len("proxy-") :])
        return message

    with LoopbackServer() as server, proxied(server.port, change) as port:
        with client_of(port) as client:
            receipt = client.send_message("pjsip:a", "two\nlines")
            with pytest.raises(ActionFailed) as caught:
                client.send_message("fax:a", "x")
            # The ActionID with the prefix would be too long.
            with pytest.raises(ActionFailed) as rejected:
                client.send(MessageSend("pjsip:a", "x", action_id="1" * 67))
            assert client.send_action(Action("Ping")).response.headers["Ping"] == "Pong"
    (message,) = server.messages
    assert (message.text, message.variables) == ("TWO\nLINES", (("X-Proxy", "1"),))
    assert message.action_id == f"proxy-{receipt.action_id}"
    assert caught.value.server_message == "Message technology not found."
    assert "67" in rejected.value.server_message
    assert [each.name for each in log if isinstance(each, Action)] == [
        "Challenge", "Login", "MessageSend", "MessageSend", "MessageSend", "Ping", "Logoff",
    ]  # fmt: skip


def test_proxy_relays_both_directions_at_once() -> None:
    # The client reads nothing until it has written everything, and then it reads slowly.
    login = STREAMS["pyst2"].format(user=USERNAME, secret=SECRET, to="pjsip:alice").encode()
    items, pings = 20_000, 20_000
    with LoopbackServer() as server, proxied(server.port) as port:
        server.script(EventList([Event("Item", [("Text", "x" * 500)])] * items), action="Items")
        with small_buffer_socket(port) as sock:
            sock.settimeout(60)
            sock.sendall(login + b"Action: Items\r\n\r\n" + b"Action: Ping\r\n\r\n" * pings)
            sock.shutdown(socket.SHUT_WR)
            data = bytearray()
            for chunk in iter(lambda: sock.recv(65536), b""):
                data += chunk
                time.sleep(0.0005)
    assert (data.count(b"Event: Item\r\n"), data.count(b"Ping: Pong\r\n")) == (items, pings)


def test_proxy_ends_with_either_side() -> None:
    with LoopbackServer() as server, proxied(server.port) as port, client_of(port) as client:
        client.ping()
        server.close()
        with pytest.raises(AMIError) as caught:
            client.send_message("pjsip:a", "x")
        assert caught.value.outcome != ACCEPTED
        with pytest.raises(ConnectError):  # the proxy has no server
            client.send_message("pjsip:a", "x")
        server.open()
        reset = socket.create_connection(("127.0.0.1", port))
        assert reset.recv(1) == b"A"
        reset_connection(reset)
        assert client.send_message("pjsip:a", "x").outcome == ACCEPTED
