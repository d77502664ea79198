"""Clients that run for long: lost connections, health checks, shared ``with`` statements."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

from amiclient import (
    ACCEPTED,
    NOT_SENT,
    UNKNOWN,
    AMIError,
    Client,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    Event,
    MessageSend,
    NotConnected,
    ResponseTimeout,
    SendFailed,
    SendTimeout,
)
from amiclient.loopback import LoopbackServer
from tests.faults import (
    Proxy,
    assert_no_fd_leak,
    can_drop_packets,
    client_of,
    count_open_fds,
    opened,
    rss_kib,
    start_thread,
)
from tests.script import (
    EVENT,
    Script,
    accept,
    accept_all,
    close,
    expect,
    expect_eof,
    log_in,
    read,
    read_until_eof,
    repeat_forever,
    respond,
    send,
)

#: Ways in which a connection dies silently; each is called with True, and with False to end it.
_FAULTS: Dict[str, Callable[[Proxy, bool], None]] = {
    "frozen": Proxy.stall,
    "black-hole": Proxy.drop_packets,
}

faults = pytest.mark.parametrize(
    "fault",
    [
        pytest.param(_FAULTS["frozen"], id="frozen"),
        pytest.param(
            _FAULTS["black-hole"],
            id="black-hole",
            marks=pytest.mark.skipif(not can_drop_packets(), reason="cannot set a socket filter"),
        ),
    ],
)


def _messages(count: int) -> List[MessageSend]:
    return [MessageSend("pjsip:a", str(number)) for number in range(count)]


def _error_of(call: Callable[[], object], kind: type) -> AMIError:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    error = caught.value
    assert isinstance(error, AMIError)
    return error


@pytest.fixture
def proxy(server: LoopbackServer) -> Iterator[Proxy]:
    with Proxy(server.port) as relay:
        yield relay


# -- A connection that dies silently.


@faults
def test_only_the_first_message_is_unknown(
    server: LoopbackServer, proxy: Proxy, fault: Callable[[Proxy, bool], None]
) -> None:
    with opened(client_of(proxy.port, 0.3)) as client:
        client.send_message("pjsip:a", "before")
        fault(proxy, True)
        _error_of(lambda: client.send_message("pjsip:a", "unknown"), ResponseTimeout)
        assert not client.connected
        for _ in range(3):
            _error_of(lambda: client.send_message("pjsip:a", "not sent"), ConnectTimeout)
        fault(proxy, False)
        client.send_message("pjsip:a", "after", timeout=5.0)
    texts = [message.text for message in server.messages]
    assert texts[0] == "before" and "after" in texts and "not sent" not in texts
    assert len(texts) == len(set(texts))


@faults
def test_only_the_first_window_is_unknown(
    server: LoopbackServer, proxy: Proxy, fault: Callable[[Proxy, bool], None]
) -> None:
    with opened(client_of(proxy.port, 0.3)) as client:
        results = client.send_messages(_messages(100), window=8)
        outcomes = [next(results).outcome for _ in range(20)]
        fault(proxy, True)
        outcomes += [result.outcome for result in results]
        done, lost = outcomes.count(ACCEPTED), outcomes.count(UNKNOWN)
        assert outcomes == [ACCEPTED] * done + [UNKNOWN] * lost + [NOT_SENT] * (100 - done - lost)
        assert 1 <= lost <= 8
        _error_of(lambda: next(client.send_messages(_messages(100))), ConnectTimeout)
        fault(proxy, False)
        again = client.send_messages(_messages(100), timeout=5.0)
        assert [result.outcome for result in again] == [ACCEPTED] * 100


@faults
def test_listener_notices_a_dead_connection(
    server: LoopbackServer, proxy: Proxy, fault: Callable[[Proxy, bool], None]
) -> None:
    options = {"events": "on", "health_check_interval": 0.2}
    with opened(client_of(proxy.port, 0.3, **options)) as client:
        server.send_event(Event("Tick"))
        events = client.events(timeout=None)
        assert [next(events).name for _ in range(2)] == ["FullyBooted", "Tick"]
        fault(proxy, True)
        start = time.monotonic()
        _error_of(lambda: next(events), ConnectionLost)
        assert 0.4 < time.monotonic() - start < 1.5
        assert next(events, None) is None
        _error_of(lambda: next(client.events(timeout=None)), ConnectTimeout)
        fault(proxy, False)
        assert next(client.events(timeout=5.0)).name == "FullyBooted"


def test_listener_ends_with_the_call_that_times_out(proxy: Proxy) -> None:
    errors: List[AMIError] = []
    with opened(client_of(proxy.port, health_check_interval=None)) as client:
        thread = start_thread(
            lambda: errors.append(
                _error_of(lambda: list(client.events(timeout=None)), ConnectionLost)
            )
        )
        time.sleep(0.05)
        proxy.stall()
        _error_of(lambda: client.ping(timeout=0.1), ResponseTimeout)
        thread.join(1.0)
        assert len(errors) == 1


# -- A connection that the server has closed.


def _bulk(client: Client) -> object:
    return [result.unwrap() for result in client.send_messages(_messages(3))]


@pytest.mark.parametrize(
    "call",
    [Client.ping, lambda client: client.send_message("pjsip:a", "b"), _bulk],
    ids=["ping", "send_message", "send_messages"],
)
@pytest.mark.parametrize("connected", [False, True])
def test_calls_connect_when_they_have_to(connected: bool, call: Callable[[Client], object]) -> None:
    with LoopbackServer() as server:
        client = client_of(server.port, 5.0)
        if connected:
            client.connect()
            server.close()
            _error_of(lambda: call(client), ConnectError)
        port = server.port
    with LoopbackServer(port=port):
        call(client)
        assert client.connected
        client.close()
        _error_of(lambda: call(client), NotConnected)
        with client:
            call(client)
        _error_of(lambda: call(client), NotConnected)


def test_listener_reconnects(server: LoopbackServer) -> None:
    with Script(log_in, send(EVENT), close) as script:
        client = client_of(script.port, 5.0, events="on")
        for count in (1, 2):
            events = client.events(timeout=None)
            assert next(events).name == "Newexten"
            _error_of(lambda: next(events), ConnectionLost)
            assert len(script.peers) == count
        client.close()
        _error_of(lambda: next(client.events()), NotConnected)


# -- Health checks.


def _names(script: Script) -> List[str]:
    return [action["Action"] for action in script.actions]


@pytest.mark.parametrize(
    ("interval", "names"),
    [(0.05, ["MessageSend", "Ping", "MessageSend", "Command"]), (None, None), (5.0, None)],
)
def test_ping_before_the_first_action_after_silence(
    interval: Optional[float], names: Optional[List[str]]
) -> None:
    with Script(log_in, accept_all) as script:
        with opened(client_of(script.port, health_check_interval=interval)) as client:
            client.send_message("pjsip:a", "b")
            time.sleep(0.1)
            client.send_message("pjsip:a", "b")
            client.command("x")
    assert _names(script) == (names or ["MessageSend", "MessageSend", "Command"])


def test_any_response_to_the_ping_will_do() -> None:
    steps = (expect("Ping"), respond("Error", "Message: Permission denied"), accept)
    with Script(log_in, *steps) as script:
        with opened(client_of(script.port, health_check_interval=0.01)) as client:
            time.sleep(0.02)
            assert client.send_message("pjsip:a", "b", timeout=1.0).outcome == ACCEPTED


def _send_many(client: Client) -> None:
    next(client.send_messages(_messages(3), timeout=0.1))


def _call_errors() -> List[Any]:
    return [
        pytest.param(lambda client: client.ping(timeout=0.1), id="ping"),
        pytest.param(lambda client: client.send_message("pjsip:a", "b", timeout=0.1), id="message"),
        pytest.param(_send_many, id="bulk"),
    ]


@pytest.mark.parametrize("call", _call_errors())
def test_action_is_not_sent_without_a_response_to_the_ping(call: Callable[[Client], None]) -> None:
    with Script(log_in, expect("Ping"), expect_eof) as script:
        with opened(client_of(script.port, health_check_interval=0.05)) as client:
            time.sleep(0.1)
            error = _error_of(lambda: call(client), SendTimeout)
            assert error.outcome == NOT_SENT and error.retryable
            assert not client.connected


def test_health_check_between_results() -> None:
    steps = (accept, accept, expect("Ping"), expect_eof)
    with Script(log_in, *steps) as script:
        with opened(client_of(script.port, 0.2, health_check_interval=0.05)) as client:
            results = client.send_messages(_messages(5), window=1)
            assert [next(results).outcome for _ in range(2)] == [ACCEPTED] * 2
            time.sleep(0.1)
            assert [type(result.error) for result in results] == [
                SendTimeout, SendFailed, SendFailed
            ]  # fmt: skip


def test_idle_listener_sends_pings() -> None:
    with Script(log_in, repeat_forever(expect("Ping"), accept)) as script:
        with opened(client_of(script.port, health_check_interval=0.05)) as client:
            assert list(client.events(timeout=0.28)) == []
            assert 3 <= len(script.actions) <= 5
            # It is the server's silence that counts, not the client's.
            script.peers[0].send(EVENT)
            assert len(list(client.events(timeout=0.03))) == 1


@pytest.mark.parametrize("timeout", [0.0, 0.05, 0.2])
def test_listener_ends_by_its_timeout_during_a_health_check(timeout: float) -> None:
    # The Ping has the time of the client, over several calls.
    with Script(log_in, expect("Ping"), read_until_eof) as script:
        with opened(client_of(script.port, 0.5, health_check_interval=0.05)) as client:
            start = time.monotonic()
            with pytest.raises(ConnectionLost):
                while True:
                    begin = time.monotonic()
                    assert list(client.events(timeout=timeout)) == []
                    time.sleep(0.01)
            assert time.monotonic() - begin < timeout + 0.2
            assert 0.5 < time.monotonic() - start < 1.5


def test_call_goes_before_the_health_check_of_a_listener() -> None:
    # The listener waits for the response to its Ping, which comes after that to the call.
    with Script(log_in, expect("Ping"), expect("Ping"), accept, accept, accept_all) as script:
        with opened(client_of(script.port, 5.0, health_check_interval=0.2)) as client:
            thread = start_thread(lambda: list(client.events(timeout=0.6)))
            script.wait_for_actions(1)
            client.ping(timeout=1.0)
            thread.join()


# -- ``with`` statements of one client.


def test_inner_with_statement_joins(server: LoopbackServer) -> None:
    client = client_of(server.port)
    with client:
        with client:
            client.ping()
        with pytest.raises(ZeroDivisionError), client:
            raise ZeroDivisionError
        client.ping()
        assert client.connected
    assert not client.connected
    with client:
        client.close()
        _error_of(client.ping, NotConnected)
        with client:
            client.ping()
        client.ping()
    _error_of(client.ping, NotConnected)


@pytest.mark.parametrize("fails", [False, True])
def test_threads_share_with_statements(server: LoopbackServer, fails: bool) -> None:
    errors: List[Exception] = []
    client = client_of(server.port, 10.0)

    def work() -> None:
        for _ in range(80):
            try:
                with client:
                    client.ping()
                    if fails:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            except Exception as error:
                errors.append(error)

    threads = [start_thread(work) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert errors == []
    assert not client.connected
    _error_of(client.ping, NotConnected)


def test_leaving_ends_calls_of_threads_that_did_not_enter(server: LoopbackServer) -> None:
    ended = threading.Event()
    with client_of(server.port) as client:

        def listen() -> None:
            _error_of(lambda: list(client.events(timeout=None)), ConnectionLost)
            ended.set()

        start_thread(listen)
        time.sleep(0.05)
    assert ended.wait(2.0)


# -- Months.

_CALLS: List[Callable[[Client], object]] = [
    Client.ping,
    lambda client: client.send_message("pjsip:a", "b"),
    _bulk,
    lambda client: (_bulk(client), list(client.events(timeout=0.005))),
]


def test_kept_errors_hold_no_file_open(server: LoopbackServer) -> None:
    server.close()
    errors: List[AMIError] = []
    gc.collect()
    with assert_no_fd_leak(), Script(log_in, read, close) as script:
        for port, kind in (server.port, ConnectError), (script.port, ConnectionLost):
            client = client_of(port, 5.0)
            for _ in range(10):
                errors.append(_error_of(client.ping, kind))
    assert len(errors) == 20


@pytest.mark.slow
def test_memory_and_open_files_over_many_reconnects(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "amiclient")  # pytest keeps every record
    # AMICLIENT_EVERY_BYTE=1 makes 10,000 cycles of idle, drop and reconnect instead of 200.
    cycles = 10_000 if os.environ.get("AMICLIENT_EVERY_BYTE") else 200
    memory, files = [], []
    with LoopbackServer(keep=0) as server, Proxy(server.port) as proxy:
        client = client_of(proxy.port, health_check_interval=0.002, events="on")
        for cycle in range(1, cycles + 1):
            _CALLS[cycle % 4](client)
            time.sleep(0.003)  # until a health check is due
            if cycle % 100 == 0:
                proxy.stall()
                _error_of(lambda: client.ping(timeout=0.01), SendTimeout)
                proxy.stall(False)
            else:
                proxy.cut()
                with pytest.raises(ConnectionLost):
                    list(client.events(timeout=None))
            proxy.up.passed.clear()
            proxy.down.passed.clear()
            if cycle in (cycles // 10, cycles):
                time.sleep(0.05)  # until the server and the proxy have closed theirs
                gc.collect()
                memory.append(rss_kib())
                files.append(count_open_fds())
        client.close()
    assert files[0] == files[1]
    assert memory[1] - memory[0] < 2_000
