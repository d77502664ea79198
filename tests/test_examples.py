"""The programs in tests/examples; the Celery example has a test of its own."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from base64 import b64encode
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, redirect_stdout, suppress
from functools import partial
from random import Random
from typing import Any, Callable, Iterator, List, Tuple, Union

import pytest

import amiclient
from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    AMIError,
    Client,
    ConnectError,
    ConnectionLost,
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
from amiproto import Action, LoggedIn, Message, MessageSend, Response, parse_message_send
from tests.examples import asyncio_client, failover, listener, proxy, receiving, web_app
from tests.faults import Proxy, client_of, reset_connection, small_buffer_socket, start_thread
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


def test_loop_of_the_manual_prints_values_that_are_not_utf_8() -> None:
    (loop,) = re.findall(r"\n( *for event in client.events.*\n.*\n)", amiclient.__doc__ or "")
    event = Event.from_wire(b"Event: Newchannel\r\nCallerIDName: M\xfcller\r\n\r\n")
    data = io.BytesIO()
    with LoopbackServer() as server, client_of(server.port, events="on") as client:
        client.ping()
        server.send_event(event)
        threading.Timer(0.3, client.close).start()
        with redirect_stdout(io.TextIOWrapper(data, encoding="utf-8")) as text:
            with pytest.raises(ConnectionLost):
                exec(textwrap.dedent(loop), {"client": client})
            text.flush()
        assert rb"Newchannel 'M\udcfcller'" in data.getvalue()
    (encode,) = re.findall(r"``(value\.encode\(.*?\))``", amiclient.__doc__ or "")
    assert eval(encode, {"value": event.headers["CallerIDName"]}) == b"M\xfcller"


def asyncio_client_of(port: int, **settings: Any) -> asyncio_client.AsyncClient:
    settings = {"username": USERNAME, "secret": SECRET, **settings}
    return asyncio_client.AsyncClient("127.0.0.1", port, **settings)


async def outcome_of(
    client: asyncio_client.AsyncClient, action: Union[int, Action], timeout: float = 20.0
) -> str:
    """Send an action, or a message with a number, and return the outcome."""
    if isinstance(action, int):
        action = MessageSend("pjsip:a", str(action))
    try:
        result = await client.send(action, timeout)
        return ACCEPTED if result.response.name == "Success" else FAILED
    except asyncio.CancelledError:
        return UNKNOWN
    except AMIError as error:
        return error.outcome


def check_outcomes(outcomes: List[str], server: LoopbackServer) -> None:
    """Check the outcome of each call, whose message is its number."""
    received = {int(text) for text in texts(server)}
    assert len(received) == len(texts(server))
    for number, outcome in enumerate(outcomes):
        possible = (ACCEPTED, UNKNOWN) if number in received else (NOT_SENT, UNKNOWN)
        assert outcome in possible


def test_asyncio_tasks_share_a_connection() -> None:
    async def run() -> List[str]:
        client = asyncio_client_of(server.port, max_outstanding=COUNT)
        client.on_event = logins.append
        return await asyncio.gather(*[outcome_of(client, number) for number in range(1000)])

    logins: List[Any] = []
    with LoopbackServer() as server:
        assert asyncio.run(run()) == [ACCEPTED] * 1000
    assert [type(each) for each in logins] == [LoggedIn]
    assert texts(server) == sorted(map(str, range(1000)))


def test_asyncio_limits_outstanding_calls() -> None:
    async def run() -> List[str]:
        client = asyncio_client_of(server.port, max_outstanding=10)
        client.on_event = logins.append
        timeouts = [0.5] * 10 + [20.0] * 90
        tasks = [asyncio.ensure_future(outcome_of(client, *each)) for each in enumerate(timeouts)]
        await asyncio.sleep(0.25)
        assert len(server.actions) == 10
        return await asyncio.gather(*tasks)

    logins: List[Any] = []
    with LoopbackServer() as server:
        server.script(*[no_response] * 10)
        assert asyncio.run(run()) == [UNKNOWN] * 10 + [ACCEPTED] * 90
    assert len(logins) == 2, "the timeout did not close the connection"


@pytest.mark.parametrize("seed", range(3))
def test_asyncio_outcomes_are_true(seed: int) -> None:
    # Calls are cancelled and time out, and the server ends, at random moments.
    random = Random(seed)

    async def call(client: asyncio_client.AsyncClient, number: int) -> str:
        await asyncio.sleep(random.uniform(0, 1))
        task = asyncio.ensure_future(outcome_of(client, number, random.choice([0.02] + [10.0] * 9)))
        if random.random() < 0.3:
            await asyncio.sleep(random.uniform(0, 0.02))
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:  # before it has started
            return NOT_SENT

    async def restart() -> None:
        for _ in range(5):
            await asyncio.sleep(random.uniform(0.05, 0.2))
            await asyncio.get_running_loop().run_in_executor(None, server.close)
            await asyncio.sleep(random.uniform(0, 0.05))
            server.open()

    async def run() -> List[str]:
        client = asyncio_client_of(server.port)
        restarting = asyncio.ensure_future(restart())
        outcomes = await asyncio.gather(*[call(client, number) for number in range(1000)])
        await restarting
        assert await outcome_of(client, 1000) == ACCEPTED
        return outcomes

    delays = [Delay(random.choice([0.0] * 30 + [0.05])) for _ in range(1000)]
    with LoopbackServer() as server:
        server.script(*delays)
        outcomes = asyncio.run(run())
    check_outcomes(outcomes, server)
    assert set(outcomes) == {ACCEPTED, NOT_SENT, UNKNOWN}
    assert outcomes.count(ACCEPTED) > 100


def test_asyncio_call_that_is_sent_in_part() -> None:
    large = Action("UserEvent", [("UserEvent", "x" * 1000)] + [("X", "x" * 1000)] * 120)

    async def run() -> List[str]:
        client = asyncio_client_of(network.port, max_outstanding=COUNT)
        assert await outcome_of(client, 0) == ACCEPTED
        network.stall()
        tasks = [asyncio.ensure_future(outcome_of(client, large, 20)) for _ in range(COUNT)]
        await asyncio.sleep(0.5)
        network.stall(False)
        network.cut()
        return await asyncio.gather(*tasks)

    with LoopbackServer(handlers={"UserEvent": lambda action: [Response("Success")]}) as server:
        with Proxy(server.port, reset=True) as network:
            outcomes = asyncio.run(run())
    sent = outcomes.index(NOT_SENT)
    assert outcomes == [UNKNOWN] * sent + [NOT_SENT] + [ACCEPTED] * (COUNT - sent - 1)
    assert 0 < sent < COUNT - 1


def test_asyncio_events_and_lists() -> None:
    event = Event("UserEvent", [("UserEvent", "Test")])

    async def run() -> None:
        client = asyncio_client_of(server.port, events="user")
        received: "asyncio.Queue[Any]" = asyncio.Queue()
        client.on_event = received.put_nowait
        for _ in range(3):
            assert (await client.send(Action("Ping"))).response.headers["Ping"] == "Pong"
            assert isinstance(await received.get(), LoggedIn)
            server.send_event(event)
            assert await received.get() == event
            client.close()
        server.script(Delay(0.1), action="Items")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.send(Action("Items")), 0.05)  # cancels the call
        server.script(EventList([event] * 3), action="Items")
        assert len((await client.send(Action("Items"))).events) == 3

    with LoopbackServer() as server:
        asyncio.run(run())


def test_asyncio_cannot_connect() -> None:
    async def error_of(port: int, **settings: Any) -> AMIError:
        client = asyncio_client_of(port, **settings)
        with pytest.raises(AMIError) as caught:
            await client.send(MessageSend("pjsip:a", "x"), 0.5)
        return caught.value

    with LoopbackServer() as server:
        assert isinstance(asyncio.run(error_of(server.port, secret="wrong")), LoginFailed)
    assert asyncio.run(error_of(server.port)).outcome == NOT_SENT
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asyncio.run(error_of(silent.getsockname()[1])).outcome == NOT_SENT


#: Programs that send fifty messages with a timeout of a second, and print the outcome of each.
PROGRAMS = {
    "twisted": """
import sys
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from amiproto import MessageSend
from tests.examples.twisted_protocol import TwistedClient

def report(outcomes):
    print(*outcomes)
    reactor.stop()

endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(sys.argv[1]))
client = TwistedClient(endpoint, username=sys.argv[2], secret=sys.argv[3])
calls = [client.send(MessageSend("pjsip:a", str(n)), 1.0) for n in range(50)]
for call in calls:
    call.addCallbacks(lambda result: "accepted", lambda failure: failure.value.outcome)
gatherResults(calls).addBoth(report)
reactor.run()
""",
    "trio": """
import sys
import trio
from amiproto import AMIError, MessageSend
from tests.examples.trio_client import TrioClient

async def send(client, number, outcomes):
    try:
        await client.send(MessageSend("pjsip:a", str(number)), 1.0)
        outcomes[number] = "accepted"
    except AMIError as error:
        outcomes[number] = error.outcome

async def main():
    outcomes = [None] * 50
    async with trio.open_nursery() as background:
        client = TrioClient(
            background, int(sys.argv[1]), username=sys.argv[2], secret=sys.argv[3]
        )
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(send, client, number, outcomes)
        background.cancel_scope.cancel()
    print(*outcomes)

trio.run(main)
""",
}


def run_example(arguments: List[str], server: LoopbackServer) -> str:
    """Run a program, and return its output."""
    done = subprocess.run(
        [sys.executable, *arguments, str(server.port), USERNAME, SECRET, str(COUNT)],
        cwd=ROOT, timeout=30,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("library", sorted(PROGRAMS))
def test_asynchronous_client(library: str) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")

    def outcomes() -> List[str]:
        server.messages.clear()
        found = run_example(["-c", PROGRAMS[library]], server).split()
        check_outcomes(found, server)
        return found

    with LoopbackServer() as server:
        assert outcomes() == [ACCEPTED] * COUNT
        # The connection ends with up to 32 calls in flight. Another call has no response.
        normal = [lambda action: None] * 10
        server.script(*normal, Disconnect(), *normal[:2], no_response)
        found = outcomes()
        assert found.count(UNKNOWN) >= 2 and found.count(ACCEPTED) >= COUNT - 33
        server.script(*[no_response] * COUNT)
        assert sorted(outcomes()) == [NOT_SENT] * (COUNT - 32) + [UNKNOWN] * 32
        server.close()
        assert outcomes() == [NOT_SENT] * COUNT


def test_gevent() -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    sent = sorted(f"number {number}\n" for number in range(COUNT))
    arguments = ["-m", "tests.examples.gevent_greenlets"]
    with LoopbackServer(handlers={"MessageSend": wait_for_all()}) as server:
        assert run_example(arguments, server).splitlines() == [f"{COUNT} accepted"] * 2
        assert texts(server) == sent
        assert texts(server, "pjsip:b") == sorted(map(str, range(COUNT)))


@contextmanager
def proxied(target: int, change: proxy.Change = lambda message: message) -> Iterator[int]:
    """Run the proxy to a port of 127.0.0.1, and return its own port."""
    started: "Future[Tuple[Callable[[], object], int]]" = Future()

    async def run() -> None:
        serve = proxy.Proxy("127.0.0.1", target, change).serve
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None
            started.set_result((partial(loop.call_soon_threadsafe, task.cancel), port))
            await listening.serve_forever()

    def run_until_cancelled() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(run())

    thread = start_thread(run_until_cancelled)
    stop, port = started.result(10)
    try:
        yield port
    finally:
        stop()  # asyncio.run() cancels the other tasks
        thread.join(10)


def received(port: int, stream: str, user: str, secret: str, to: str) -> bytes:
    """Send a stream and half-close; return what was received, without timestamps."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(stream.format(user=user, secret=secret, to=to).encode())
        sock.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    return re.sub(rb"Timestamp: [\d.]+", b"", data)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(STREAMS))
def test_proxy_answers_as_the_server_does(name: str, version: int) -> None:
    login = USERNAME, SECRET, "sip:alice" if version == 11 else "pjsip:alice"
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


def test_proxy_keeps_a_half_closed_connection() -> None:
    with LoopbackServer() as server, proxied(server.port) as port:
        server.script(Delay(0.4))
        threading.Timer(0.2, gc.collect).start()
        data = received(port, STREAMS["pyst2"], USERNAME, SECRET, "pjsip:a")
    assert b"Message successfully sent" in data


def test_proxy_ends_with_either_side() -> None:
    with LoopbackServer() as server, proxied(server.port) as port, client_of(port) as client:
        client.ping()
        server.close()
        with pytest.raises(AMIError) as caught:
            client.send_message("pjsip:a", "x")
        assert caught.value.outcome in (NOT_SENT, UNKNOWN)
        with pytest.raises(ConnectError):  # the proxy has no server
            client.send_message("pjsip:a", "x")
        server.open()
        reset = socket.create_connection(("127.0.0.1", port))
        assert reset.recv(1) == b"A"
        reset_connection(reset)
        assert client.send_message("pjsip:a", "x").outcome == ACCEPTED
