"""send_messages(): order, outcomes, deadlines, slow callers, early ends, no deadlock."""

from __future__ import annotations

import gc
import os
import pickle
import re
import time
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Type, Union

import pytest

from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    ConnectError,
    ConnectionLost,
    LocalProtocolError,
    MessageSend,
    NotConnected,
    ReentrantCall,
    ResponseTimeout,
    SendFailed,
    SendResult,
)
from amiclient.loopback import LoopbackServer, refuse
from amiproto import SHUTTING_DOWN, BodyTooLong
from tests.certificates import SERVER_PEM
from tests.faults import (
    Proxy,
    buffered_results,
    client_of,
    client_over,
    count_open_fds,
    opened,
    rss_kib,
    small_buffer_socket,
    start_thread,
)
from tests.script import (
    Script,
    accept,
    accept_all,
    expect,
    expect_silence,
    hold,
    in_one_write,
    log_in,
    pause,
    read,
    read_until_eof,
    repeat,
    repeat_forever,
    reset,
    send,
)

Item = Union[MessageSend, Mapping[str, Any]]


def _items(count: int, to: str = "pjsip:a") -> Iterator[Item]:
    for number in range(count):
        if number % 2:
            yield {"to": to, "body": f"{number}", "variables": {"X-N": str(number)}}
        else:
            yield MessageSend(to, f"{number}")


def _messages(count: int) -> List[MessageSend]:
    return [MessageSend("pjsip:a", str(number)) for number in range(count)]


def _outcomes(results: Iterable[SendResult[Any]]) -> List[str]:
    return [result.outcome for result in results]


@pytest.mark.parametrize("window", [1, 2, 7, 32, 1024])
def test_results_are_in_order(server: LoopbackServer, window: int) -> None:
    items = list(_items(100))
    with client_of(server.port) as client:
        results = list(client.send_messages(iter(items), window=window))
    assert [result.message for result in results] == items
    assert _outcomes(results) == [ACCEPTED] * 100
    assert [message.text for message in server.messages] == [str(number) for number in range(100)]
    ids = [result.receipt.action_id for result in results if result.receipt]
    assert ids == [message.action_id for message in server.messages]
    assert pickle.loads(pickle.dumps(results)) == results


def test_failed_messages_do_not_stop_the_rest(server: LoopbackServer) -> None:
    items: List[Item] = list(_items(12))
    items[3] = {"to": "smoke:signal", "body": "rejected by the server"}
    items[5] = {"to": "pjsip:a", "body": "x" * 2000}
    items[11] = MessageSend("smoke:signal", "the last one")
    with client_of(server.port) as client:
        results = list(client.send_messages(items, window=4))
        client.ping()
    expected: List[str] = [ACCEPTED] * 12
    expected[3] = expected[11] = FAILED
    expected[5] = NOT_SENT
    assert _outcomes(results) == expected
    assert isinstance(results[3].error, ActionFailed)
    assert isinstance(results[5].error, BodyTooLong) and results[5].receipt is None
    assert [result.message for result in results] == items
    assert len(server.messages) == 9


_OK: Dict[Any, Any] = {"to": "pjsip:a", "body": "x"}


@pytest.mark.parametrize(
    ("row", "to"),
    [
        (None, ""), (5, ""), ("pjsip:a", ""), ((), ""), (["to"], ""), ({"to"}, ""), ({}, ""),
        ({"to": "pjsip:a"}, "pjsip:a"), ({"body": "x"}, ""), ({"To": "pjsip:a", "Body": "x"}, ""),
        ({**_OK, "to": 5}, "5"), ({**_OK, "body": None}, "pjsip:a"),
        ({**_OK, "from_": 5}, "pjsip:a"),
        ({**_OK, "variables": 5}, "pjsip:a"), ({**_OK, "variables": [("x",)]}, "pjsip:a"),
        ({**_OK, "destination": b"pjsip:a"}, "pjsip:a"), ({**_OK, "action_id": 5}, "pjsip:a"),
    ],
)  # fmt: skip
def test_row_of_a_wrong_type_fails_alone(server: LoopbackServer, row: Any, to: str) -> None:
    with client_of(server.port) as client:
        first, second, third = client.send_messages([_OK, row, _OK], window=2)
    assert _outcomes([first, second, third]) == [ACCEPTED, NOT_SENT, ACCEPTED]
    assert isinstance(second.error, LocalProtocolError) and not second.retryable
    assert second.message is row
    record = second.to_dict()
    assert (record["to"], record["outcome"], record["error"]) == (
        to,
        NOT_SENT,
        "LocalProtocolError",
    )
    with pytest.raises(LocalProtocolError) as caught:
        second.unwrap()
    assert caught.value is second.error


class _Sized(MessageSend):
    """A message that is false if its body is empty."""

    def __len__(self) -> int:
        return len(self.body)


def test_false_messages_are_sent(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        results = list(client.send_messages([_Sized("pjsip:a", body) for body in ("1", "", "3")]))
    assert [result.outcome for result in results] == [ACCEPTED] * 3
    assert [message.text for message in server.messages] == ["1", "", "3"]


def test_released_memory_fails_alone(server: LoopbackServer) -> None:
    released = memoryview(b"2")
    released.release()
    rows = [{"to": "pjsip:a", "body": body} for body in (b"1", released, b"3")]
    with client_of(server.port) as client:
        outcomes = [result.outcome for result in client.send_messages(rows)]
    assert outcomes == [ACCEPTED, NOT_SENT, ACCEPTED]


def test_refused_logoff_in_a_pipeline_ends_the_connection(server: LoopbackServer) -> None:
    server.script(refuse(SHUTTING_DOWN), action="Logoff")
    with client_of(server.port) as client:
        logoff = MessageSend.from_wire(b"Action: Logoff\r\n\r\n")
        assert [result.outcome for result in client.send_messages([logoff])] == [FAILED]
        assert client.send_message("pjsip:a", "1").outcome == ACCEPTED  # on a new connection


def test_other_keys_of_a_mapping_are_ignored(server: LoopbackServer) -> None:
    row = {**_OK, "id": 7, "timeout": None, 5: 6, "variables": None, "from_": None}
    with client_of(server.port) as client:
        (result,) = client.send_messages([row])
    assert result.unwrap() == result.receipt is not None and result.message is row
    assert [message.text for message in server.messages] == ["x"]


@pytest.mark.parametrize(
    "key", ["from", "From", "FROM_", "variable:X-A", "Variable", "variable", "Base64Body", "To "]
)
def test_key_that_is_almost_an_argument_is_rejected(server: LoopbackServer, key: str) -> None:
    with client_of(server.port) as client:
        results = list(client.send_messages([{**_OK, key: "sip:door@example.org"}, _OK]))
    assert [result.outcome for result in results] == [NOT_SENT, ACCEPTED]
    assert isinstance(results[0].error, LocalProtocolError)
    assert len(server.messages) == 1


def test_repeated_action_id_is_rejected_while_pending(server: LoopbackServer) -> None:
    twins = [MessageSend("pjsip:a", text, action_id="same") for text in "ab"]
    with client_of(server.port) as client:
        first, second = client.send_messages(twins)
        assert (first.outcome, second.outcome) == (ACCEPTED, NOT_SENT)
        assert isinstance(second.error, LocalProtocolError)
        assert _outcomes(client.send_messages(twins, window=1)) == [ACCEPTED] * 2


# -- The iterable, and calls in between.


@pytest.mark.parametrize("window", [1, 3, 32])
@pytest.mark.parametrize(
    "kind", [ZeroDivisionError, TypeError, ValueError, BodyTooLong], ids=lambda kind: kind.__name__
)
def test_error_of_iterable_is_raised_after_earlier_results(
    server: LoopbackServer, window: int, kind: Type[Exception]
) -> None:
    def items() -> Iterator[Item]:
        yield from _items(7)
        raise kind("raised by the iterable")

    outcomes: List[str] = []
    with client_of(server.port) as client:
        with pytest.raises(kind):
            for result in client.send_messages(items(), window=window):
                outcomes.append(result.outcome)
        client.ping()
    assert outcomes == [ACCEPTED] * 7
    assert len(server.messages) == 7


def test_other_calls_in_between(server: LoopbackServer) -> None:
    with client_of(server.port) as client:

        def items() -> Iterator[Item]:
            for number, item in enumerate(_items(20)):
                client.send_message("pjsip:a", f"in iterable {number}")
                yield item

        for number, result in enumerate(client.send_messages(items(), window=5)):
            assert result.outcome == ACCEPTED
            client.ping()
            client.send_message("pjsip:a", f"after result {number}")
    assert len(server.messages) == len({message.text for message in server.messages}) == 60


# -- The window.


@pytest.mark.parametrize(
    ("tls", "options", "full"),
    [(False, {"window": 16}, 16), (False, {}, 32), (SERVER_PEM, {"window": 32}, 1)],
    ids=["plain", "default", "tls"],
)
def test_window_is_filled_and_is_one_over_tls(
    tls: Union[bool, str], options: Dict[str, int], full: int
) -> None:
    steps = (repeat(full, read), expect_silence(0.02), in_one_write(repeat(full, accept)))
    with Script(log_in, repeat(5, *steps), accept_all, tls=bool(tls)) as script:
        with client_of(script.port, tls=tls) as client:
            results = client.send_messages(_items(5 * full), **options)
            assert _outcomes(results) == [ACCEPTED] * 5 * full


def test_window_is_full_while_the_caller_works() -> None:
    with Script(log_in, accept_all) as script, client_of(script.port) as client:
        for done, _ in enumerate(client.send_messages(_messages(40), window=4), start=1):
            script.wait_for_actions(min(40, done + 3))
            time.sleep(0.003)


def test_message_is_sent_although_the_next_result_has_arrived() -> None:
    steps = (repeat(4, read), accept, pause(0.005), repeat(3, accept), accept_all)
    with Script(log_in, *steps) as script, client_of(script.port) as client:
        results = client.send_messages(_messages(6), window=4)
        next(results)
        time.sleep(0.05)  # until the other responses have arrived
        next(results)
        script.wait_for_actions(5)
        assert len(list(results)) == 4


# -- The connection.


def test_first_request_connects(server: LoopbackServer) -> None:
    client = client_of(server.port)
    results = client.send_messages(_items(3))
    assert not client.connected
    assert next(results).outcome == ACCEPTED and client.connected
    client.close()
    assert len(list(results)) == 2
    read_items: List[Item] = []
    items = map(read_items.append, _items(3))
    with pytest.raises(NotConnected):
        next(client.send_messages(items))
    assert read_items == []
    server.close()
    with pytest.raises(ConnectError):
        next(client_of(server.port).send_messages(_items(3)))


def test_next_bulk_reconnects() -> None:
    steps = (repeat(5, accept), read_until_eof)
    with Script(log_in, *steps) as script, opened(client_of(script.port)) as client:
        for _ in range(2):
            outcomes = _outcomes(client.send_messages(_items(20), window=4, timeout=0.1))
            assert outcomes == [ACCEPTED] * 5 + [UNKNOWN] * 4 + [NOT_SENT] * 11
    assert len(script.peers) == 2


@pytest.mark.parametrize("close", [False, True])
def test_results_are_for_one_thread(close: bool) -> None:
    outcomes: List[str] = []
    with Script(log_in, read, hold, accept_all) as script, client_of(script.port) as client:
        results = client.send_messages(_messages(40), window=4)
        reader = start_thread(lambda: outcomes.extend(_outcomes(results)))
        script.wait_for_actions(1)
        for _ in range(4):
            with pytest.raises(ReentrantCall):
                results.close() if close else next(results)
        script.release()
        reader.join()
    assert outcomes == [ACCEPTED] * 40


def test_four_threads_share_the_results(server: LoopbackServer) -> None:
    outcomes: List[str] = []
    errors: List[Exception] = []

    def read_results() -> None:
        while True:
            try:
                outcomes.append(next(results).outcome)
            except StopIteration:
                return
            except ReentrantCall:
                time.sleep(0.0001)
            except Exception as error:
                errors.append(error)
                return

    with client_of(server.port) as client:
        results = client.send_messages(_messages(1000))
        threads = [start_thread(read_results) for _ in range(4)]
        for thread in threads:
            thread.join()
    assert not errors
    assert outcomes == [ACCEPTED] * 1000 == [ACCEPTED] * len(server.messages)


# -- Deadlines.


def test_missing_response_ends_connection() -> None:
    steps = (repeat(5, accept), read_until_eof)
    with Script(log_in, *steps) as script, client_of(script.port) as client:
        start = time.monotonic()
        results = list(client.send_messages(_items(20), window=4, timeout=0.2))
        assert time.monotonic() - start < 0.5
        assert _outcomes(results) == [ACCEPTED] * 5 + [UNKNOWN] * 4 + [NOT_SENT] * 11
        assert [type(result.error) for result in results[5:]] == [
            ResponseTimeout, *[ConnectionLost] * 3, *[SendFailed] * 11
        ]  # fmt: skip
        assert not client.connected


@pytest.fixture
def advance_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advance the client's clock by a number of seconds, as if the caller were working."""
    advanced = 0.0

    def advance(seconds: float) -> None:
        nonlocal advanced
        advanced += seconds

    for module in ("amiclient._pipeline", "amiclient._transport"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: time.monotonic() + advanced)
    return advance


@pytest.mark.parametrize(
    ("window", "tls"),
    [(1, False), (3, False), (64, False), (32, SERVER_PEM)],
    ids=["1", "3", "64", "tls"],
)
def test_work_of_the_caller_extends_the_deadline(
    window: int, tls: Union[bool, str], advance_clock: Callable[[float], None]
) -> None:
    def items() -> Iterator[Item]:
        for item in _items(6):
            advance_clock(100.0)
            yield item

    late = repeat_forever(pause(0.03), accept)
    with Script(log_in, late, tls=bool(tls)) as script:
        with client_of(script.port, 5.0, tls=tls) as client:
            for result in client.send_messages(items(), window=window):
                assert result.outcome == ACCEPTED
                advance_clock(100.0)


def test_timeout_continues_after_work_of_the_caller(advance_clock: Callable[[float], None]) -> None:
    with Script(log_in, accept, read_until_eof) as script, opened(client_of(script.port)) as client:
        advance_clock(100.0)
        results = client.send_messages(_items(3), window=3, timeout=0.1)
        assert next(results).outcome == ACCEPTED
        advance_clock(100.0)
        start = time.monotonic()
        assert _outcomes(results) == [UNKNOWN] * 2
        assert time.monotonic() - start < 2.0


def test_message_is_sent_while_the_next_one_is_made() -> None:
    def messages() -> Iterator[MessageSend]:
        for number, message in enumerate(_messages(3)):
            time.sleep(0.01)
            yield message
            script.wait_for_actions(number + 1)

    with Script(log_in, accept_all) as script, client_of(script.port) as client:
        assert _outcomes(client.send_messages(messages(), window=32)) == [ACCEPTED] * 3
    assert [action["Body"] for action in script.actions[:3]] == ["0", "1", "2"]


def test_result_is_yielded_before_the_next_slow_message_is_made() -> None:
    made: List[str] = []

    def messages() -> Iterator[MessageSend]:
        for message in _messages(4):
            time.sleep(0.05)
            made.append(message.text)
            yield message

    with Script(log_in, accept_all) as script, client_of(script.port) as client:
        results = client.send_messages(messages(), window=32)
        assert next(results).outcome == ACCEPTED
        assert len(made) <= 3
        assert len(list(results)) == 3


def test_slow_iterable_does_not_wait_for_responses() -> None:
    def items() -> Iterator[Item]:
        for item in _items(3):
            time.sleep(0.005)
            yield item

    steps = (repeat(3, read), in_one_write(repeat(3, accept)))
    with Script(log_in, *steps, accept_all) as script, client_of(script.port, 1.0) as client:
        assert _outcomes(client.send_messages(items(), window=3)) == [ACCEPTED] * 3


@pytest.mark.parametrize("work", [0.005, 0.1])
def test_slow_iterable_does_not_wait_for_calls_of_others(work: float) -> None:
    # The response to the other call comes after all three messages are made.
    def items() -> Iterator[Item]:
        for item in _items(3):
            time.sleep(work)
            yield item
        script.release()

    steps = (expect("Ping"), hold, accept_all)
    with Script(log_in, *steps) as script, client_of(script.port) as client:
        other = start_thread(client.ping)
        script.wait_for_actions(1)
        start = time.monotonic()
        assert _outcomes(client.send_messages(items(), timeout=3.0)) == [ACCEPTED] * 3
        assert time.monotonic() - start < 2.0
        other.join()


# -- Broken connections, and servers that do not read.


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("after", [0, 1, 100, 1500, 3000])
def test_connection_cut_during_send_messages(
    server: LoopbackServer, after: int, reset: bool
) -> None:
    with Proxy(server.port, reset=reset) as proxy:
        client = client_of(proxy.port)
        client.connect()
        proxy.up.cut = len(proxy.up.passed) + after
        outcomes = _outcomes(client.send_messages(_items(100), window=8))
        client.close()
    server.close()
    texts = {message.text for message in server.messages}
    done = outcomes.count(ACCEPTED)
    in_flight = outcomes.count(UNKNOWN)
    assert outcomes == (
        [ACCEPTED] * done + [UNKNOWN] * in_flight + [NOT_SENT] * (100 - done - in_flight)
    )
    assert in_flight <= 8
    assert {str(number) for number in range(done)} <= texts
    assert texts <= {str(number) for number in range(done + in_flight)}


@pytest.mark.parametrize("window", [32, 1024])
def test_server_that_stops_reading(window: int) -> None:
    items = [MessageSend("pjsip:a", f"{number:04}" + "x" * 1000) for number in range(2000)]
    with Script(log_in, hold, repeat_forever(read), small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            start = time.monotonic()
            outcomes = _outcomes(client.send_messages(items, window=window, timeout=0.3))
            assert time.monotonic() - start < 0.8
        script.release()
        script.wait_for_end()
    in_flight = outcomes.count(UNKNOWN)
    assert 0 < in_flight < window
    assert outcomes == [UNKNOWN] * in_flight + [NOT_SENT] * (2000 - in_flight)
    texts = [action["Body"][:4] for action in script.actions]
    assert texts == [f"{number:04}" for number in range(len(texts))]
    assert len(texts) <= in_flight


def test_server_that_does_not_read_until_it_has_written() -> None:
    # The buffers of both sides are full again and again, so the client must read while it writes.
    noise = send((b"Event: Noise\r\nText: " + b"x" * 5000 + b"\r\n\r\n") * 10)
    items = [MessageSend("pjsip:a", f"{number:04}" + "x" * 1000) for number in range(300)]
    steps = repeat_forever(read, in_one_write(noise, accept))
    with Script(log_in, steps, small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port), max_events=0)) as client:
            results = client.send_messages(items, window=256, timeout=20.0)
            assert _outcomes(results) == [ACCEPTED] * 300


@pytest.mark.parametrize("reconnect", [False, True])
def test_messages_in_flight_at_close_are_unknown(reconnect: bool) -> None:
    with Script(log_in, accept, read_until_eof) as script, client_of(script.port) as client:
        results = client.send_messages(_items(8), window=5)
        assert next(results).outcome == ACCEPTED
        if reconnect:
            client.connect()
        else:
            client.close()
        assert _outcomes(results) == [UNKNOWN] * 4 + [NOT_SENT] * 3


def test_responses_before_a_failed_write_count() -> None:
    steps = (repeat(5, read), accept, hold, in_one_write(repeat(3, accept)), reset)
    with Script(log_in, *steps) as script, opened(client_of(script.port)) as client:
        results = client.send_messages(_items(8), window=5)
        assert next(results).outcome == ACCEPTED
        script.release()
        script.wait_for_end()
        assert _outcomes(results) == [ACCEPTED] * 3 + [UNKNOWN] + [NOT_SENT] * 3


def test_dead_connection_is_found_between_results(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        # With a larger window, the third message could be in flight already.
        results = client.send_messages(_items(6), window=1)
        assert [next(results).outcome, next(results).outcome] == [ACCEPTED] * 2
        server.close()
        assert _outcomes(results) == [NOT_SENT] * 4
        assert not client.connected


def test_close_by_another_thread_is_found_between_results(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        results = client.send_messages(_items(3), window=1)
        assert next(results).outcome == ACCEPTED
        transport = client._state().transport
        assert transport is not None
        transport.request_close("closed")  # as close() does while another call has the lock
        assert [type(result.error) for result in results] == [SendFailed] * 2
        assert not client.connected
    assert len(server.messages) == 1


# -- Results that are not read to the end.


@pytest.mark.parametrize("dropped", [False, True])
def test_client_is_usable_after_early_stop(server: LoopbackServer, dropped: bool) -> None:
    with client_of(server.port) as client:
        results = client.send_messages(_items(1000), window=8)
        for _ in range(6):
            assert next(results).outcome == ACCEPTED
        if dropped:
            with pytest.warns(ResourceWarning):
                del results
        else:
            results.close()
            with pytest.raises(StopIteration):
                next(results)
        receipt = client.send_message("pjsip:a", "after")
        assert receipt.response.action_id == receipt.action_id
        assert list(client.events(timeout=0)) == []
        assert _outcomes(client.send_messages(_items(10))) == [ACCEPTED] * 10
    texts = [message.text for message in server.messages]
    assert len(texts) <= 6 + 8 + 1 + 10 and "after" in texts


@pytest.mark.parametrize("late", [True, False])
def test_responses_to_abandoned_messages_are_dropped(late: bool) -> None:
    # Late ones come after close(). The others are read by another call before it.
    steps = (accept, repeat(4, read), hold, in_one_write(repeat(4, accept)))
    with Script(log_in, *steps, accept_all) as script, client_of(script.port) as client:
        before = buffered_results()
        results = client.send_messages(_items(20 if late else 5), window=5)
        assert next(results).outcome == ACCEPTED
        if late:
            results.close()
        script.release()
        client.ping()
        assert buffered_results() == before + (0 if late else 4)
        results.close()
        client.ping()
        assert list(client.events(timeout=0)) == []
        assert buffered_results() == before


def test_action_id_is_used_again_after_an_early_stop() -> None:
    items = [MessageSend("pjsip:a", "x", action_id=str(number)) for number in range(4)]
    steps = (repeat(4, read), accept, hold, in_one_write(repeat(3, accept)), accept_all)
    with Script(log_in, *steps) as script, client_of(script.port, 1.0) as client:
        results = client.send_messages(items)
        assert next(results).outcome == ACCEPTED
        results.close()
        script.release()
        time.sleep(0.05)  # until the other responses have arrived
        for item in reversed(items):
            assert client.send(item).outcome == ACCEPTED


Kind = Callable[[List[MessageSend]], Iterable[MessageSend]]

#: An iterable without a known length.
_iterator: Kind = partial(filter, None)


@pytest.mark.parametrize(
    ("kind", "count", "read_results", "unread", "in_flight", "rest"),
    [
        (list, 10, 0, 0, 0, [10]), (_iterator, 10, 0, 0, 0, []),
        (list, 10, 1, 1, 2, [6]), (_iterator, 10, 1, 1, 2, []),
        (list, 10, 2, 0, 3, [5]), (list, 6, 2, 0, 3, [1]), (list, 5, 2, 0, 3, [0]),
    ],
)  # fmt: skip
def test_dropped_results_warn_with_counts(
    kind: Kind, count: int, read_results: int, unread: int, in_flight: int, rest: List[int]
) -> None:
    # The window of four is full before the first response, and again before the next one.
    one_by_one = (repeat(4, read), accept, read, accept)
    at_once = (repeat(4, read), in_one_write(accept, accept))
    with Script(log_in, *(one_by_one if read_results == 2 else at_once), hold) as script:
        with opened(client_of(script.port)) as client:
            results = client.send_messages(kind(_messages(count)), window=4)
            assert [next(results).outcome for _ in range(read_results)] == [ACCEPTED] * read_results
            with pytest.warns(ResourceWarning if read_results else RuntimeWarning) as caught:
                del results
            script.release()
    numbers = [int(number) for number in re.findall(r"\d+", str(caught[0].message))]
    assert numbers == [read_results, unread, in_flight, *rest]


def test_complete_results_do_not_warn(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        assert list(client.send_messages([])) == []
        assert len(list(client.send_messages(_messages(3)))) == 3
        results = client.send_messages(_messages(3), window=1)
        assert [next(results).outcome for _ in range(3)] == [ACCEPTED] * 3
        del results  # the length of a list shows that there are no more
        results = client.send_messages(iter(_messages(3)))
        next(results)
        results.close()
        del results
        gc.collect()


@pytest.mark.slow
def test_memory_and_open_files_do_not_grow() -> None:
    # AMICLIENT_EVERY_BYTE=1 sends 100,000 messages instead of 5,000.
    count = 20_000 if os.environ.get("AMICLIENT_EVERY_BYTE") else 1_000
    memory, files = [], []
    with LoopbackServer(keep=0) as server, client_of(server.port) as client:
        for _ in range(5):
            for message in _messages(count // 10):
                client.send(message)
            for result in client.send_messages(_items(count - count // 10)):
                assert result.outcome == ACCEPTED
            gc.collect()
            memory.append(rss_kib())
            files.append(count_open_fds())
    assert files[-1] == files[0]
    assert memory[-1] - memory[1] < 2_000
