"""Many messages at once: order, outcomes, deadlines, and no deadlock."""

from __future__ import annotations

import pickle
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Union

import pytest

from amiclient import (
    ACCEPTED,
    FAILED,
    NOT_SENT,
    UNKNOWN,
    ActionFailed,
    ConnectionLost,
    LocalProtocolError,
    MessageSend,
    NotConnected,
    ResponseTimeout,
    SendResult,
)
from amiclient.loopback import LoopbackServer
from amiproto import BodyTooLong
from tests.certificates import SERVER_PEM
from tests.faults import Proxy, client_of, client_over, opened, small_buffer_socket, start_thread
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
    respond,
    send,
)
from tests.soak import run as soak

Item = Union[MessageSend, Mapping[str, Any]]


def _items(count: int, to: str = "sip:a") -> Iterator[Item]:
    for number in range(count):
        if number % 2:
            yield {"to": to, "body": f"{number}", "variables": {"X-N": str(number)}}
        else:
            yield MessageSend(to, f"{number}")


def _outcomes(results: List[SendResult[Any]]) -> List[str]:
    return [result.outcome for result in results]


@pytest.mark.parametrize("window", [1, 2, 7, 32, 1024])
def test_results_come_in_order(server: LoopbackServer, window: int) -> None:
    items = list(_items(100))
    with client_of(server.port) as client:
        results = list(client.send_messages(iter(items), window=window))
    assert [result.message for result in results] == items
    assert _outcomes(results) == [ACCEPTED] * 100
    assert [message.text for message in server.messages] == [str(number) for number in range(100)]
    ids = [result.receipt.action_id for result in results if result.receipt]
    assert ids == [message.action_id for message in server.messages]
    assert pickle.loads(pickle.dumps(results)) == results


def test_nothing_to_send(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        assert list(client.send_messages([])) == []
        client.ping()


def test_refused_ones_do_not_stop_the_rest(server: LoopbackServer) -> None:
    items: List[Item] = list(_items(12))
    items[3] = {"to": "smoke:signal", "body": "refused by the server"}
    items[5] = {"to": "sip:a", "body": "x" * 2000}  # refused here
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


def test_two_messages_under_one_action_id(server: LoopbackServer) -> None:
    twins = [MessageSend("sip:a", text, action_id="same") for text in "ab"]
    with client_of(server.port) as client:
        first, second = client.send_messages(twins)
        assert (first.outcome, second.outcome) == (ACCEPTED, NOT_SENT)
        assert isinstance(second.error, LocalProtocolError)
        assert _outcomes(list(client.send_messages(twins, window=1))) == [ACCEPTED] * 2


@pytest.mark.parametrize("broken", ["error", "mapping", "nothing", "failed"])
@pytest.mark.parametrize("window", [1, 3, 32])
def test_an_error_of_the_iterable_comes_after_earlier_results(
    server: LoopbackServer, window: int, broken: str
) -> None:
    def items() -> Iterator[Any]:
        yield from _items(7)
        if broken == "error":
            raise ZeroDivisionError
        if broken == "failed":  # by the iterable's own making
            yield MessageSend("sip:a", "x" * 2000)
        yield {"no": "such argument"} if broken == "mapping" else None
        raise AssertionError("never asked for")

    results: List[SendResult[Any]] = []
    kinds = {"error": ZeroDivisionError, "failed": LocalProtocolError}
    with client_of(server.port) as client:
        with pytest.raises(kinds.get(broken, TypeError)):
            for result in client.send_messages(items(), window=window):
                results.append(result)
        client.ping()
    assert _outcomes(results) == [ACCEPTED] * 7
    assert len(server.messages) == 7


def test_who_stops_early_leaves_the_client_usable(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        results = client.send_messages(_items(1000), window=8)
        for count, result in enumerate(results):
            assert result.outcome == ACCEPTED
            if count == 5:
                break
        results.close()
        receipt = client.send_message("sip:a", "after")
        assert receipt.response.action_id == receipt.action_id
        assert list(client.events(timeout=0)) == []
        assert _outcomes(list(client.send_messages(_items(10)))) == [ACCEPTED] * 10
    texts = [message.text for message in server.messages]
    assert len(texts) <= 6 + 8 + 1 + 10 and "after" in texts


def test_other_calls_in_between(server: LoopbackServer) -> None:
    with client_of(server.port) as client:

        def items() -> Iterator[Item]:
            for number, item in enumerate(_items(20)):
                client.send_message("sip:a", f"made {number}")
                yield item

        for number, result in enumerate(client.send_messages(items(), window=5)):
            assert result.outcome == ACCEPTED
            client.ping()
            client.send_message("sip:a", f"taken {number}")
    assert len(server.messages) == len({message.text for message in server.messages}) == 60


def test_two_bulks_at_once(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        one = client.send_messages(_items(50), window=7)
        other = client.send_messages(_items(50, "pjsip:b"), window=3)
        for left, right in zip(one, other):
            assert left.outcome == right.outcome == ACCEPTED
        # zip() ends with the first; the other may not know yet that no message is left.
        assert list(other) == []
    for to in ("sip:a", "pjsip:b"):
        texts = [message.text for message in server.messages if message.to == to]
        assert texts == [str(number) for number in range(50)]


@pytest.mark.parametrize("window", [0, -1, 1025, 10**9])
def test_a_window_has_limits(server: LoopbackServer, window: int) -> None:
    with client_of(server.port) as client, pytest.raises(ValueError, match="1 to 1024"):
        client.send_messages([], window=window)


@pytest.mark.parametrize(
    ("tls", "options", "full"),
    [(False, {"window": 16}, 16), (False, {}, 32), (SERVER_PEM, {"window": 32}, 1)],
    ids=["plain", "default", "tls"],
)
def test_a_window_is_filled_and_over_tls_it_is_one(
    tls: Union[bool, str], options: Dict[str, int], full: int
) -> None:
    in_full = (repeat(full, read), expect_silence(0.05), in_one_write(repeat(full, accept)))
    with Script(log_in, repeat(5, *in_full), accept_all, tls=bool(tls)) as script:
        with client_of(script.port, tls=tls) as client:
            results = list(client.send_messages(_items(5 * full), **options))
            assert _outcomes(results) == [ACCEPTED] * 5 * full


def test_bulk_over_tls(secure: LoopbackServer) -> None:
    with client_of(secure.port, tls=SERVER_PEM) as client:
        results = list(client.send_messages(_items(50)))
    assert _outcomes(results) == [ACCEPTED] * 50
    assert [message.text for message in secure.messages] == [str(number) for number in range(50)]


def test_answers_that_stop_coming() -> None:
    with Script(log_in, repeat(5, accept), read_until_eof) as script, client_of(
        script.port
    ) as client:
        start = time.monotonic()
        results = list(client.send_messages(_items(20), window=4, timeout=0.3))
        assert time.monotonic() - start < 0.6
        assert _outcomes(results) == [ACCEPTED] * 5 + [UNKNOWN] * 4 + [NOT_SENT] * 11
        assert isinstance(results[5].error, ResponseTimeout)
        for result in results[6:9]:
            assert isinstance(result.error, ConnectionLost)
            assert "(an answer did not come in time)" in str(result.error)
        for result in results[9:]:
            assert isinstance(result.error, NotConnected) and "did not come" in str(result.error)
        assert not client.connected


def test_no_time_out_runs_while_the_caller_works_on_a_result() -> None:
    # The second answer comes later than the time-out, and soon after the caller is back.
    with Script(log_in, accept, pause(0.5), accept_all) as script, client_of(script.port) as client:
        results = client.send_messages(_items(3), window=3, timeout=0.3)
        assert next(results).outcome == ACCEPTED
        time.sleep(0.4)
        assert _outcomes(list(results)) == [ACCEPTED] * 2


@pytest.fixture
def put_forward(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts the client's clock forward, for seconds in which the caller seems to be at work."""
    away = 0.0

    def put_forward(seconds: float) -> None:
        nonlocal away
        away += seconds

    for module in ("amiclient.bulk", "amiclient.deadline"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: time.monotonic() + away)
    return put_forward


def test_all_work_of_the_caller_is_added_to_the_time(put_forward: Callable[[float], None]) -> None:
    def items() -> Iterator[Item]:
        for item in _items(6):
            put_forward(100.0)
            yield item

    answer_late = repeat_forever(pause(0.03), accept)
    with Script(log_in, answer_late) as script, client_of(script.port, 5.0) as client:
        for result in client.send_messages(items(), window=3):
            assert result.outcome == ACCEPTED
            put_forward(100.0)


def test_the_time_out_goes_on_where_the_caller_is_back(
    put_forward: Callable[[float], None],
) -> None:
    with Script(log_in, accept, read_until_eof) as script, opened(client_of(script.port)) as client:
        put_forward(100.0)
        results = client.send_messages(_items(3), window=3, timeout=0.2)
        assert next(results).outcome == ACCEPTED
        put_forward(100.0)
        start = time.monotonic()
        assert _outcomes(list(results)) == [UNKNOWN] * 2
        assert time.monotonic() - start < 2.0


def test_a_slow_iterable_waits_for_no_answer() -> None:
    def items() -> Iterator[Item]:
        for item in _items(3):
            time.sleep(0.005)
            yield item

    in_full = (repeat(3, read), in_one_write(repeat(3, accept)))
    with Script(log_in, *in_full, accept_all) as script, client_of(script.port, 1.0) as client:
        assert _outcomes(list(client.send_messages(items(), window=3))) == [ACCEPTED] * 3


def test_a_slow_iterable_waits_for_no_other_call() -> None:
    # The other call is answered when all three are made.
    def items() -> Iterator[Item]:
        for item in _items(3):
            time.sleep(0.005)
            yield item
        script.release()

    with Script(log_in, expect("Ping"), hold, accept_all) as script, client_of(
        script.port
    ) as client:
        other = start_thread(client.ping)
        script.wait_for_actions(1)
        start = time.monotonic()
        assert _outcomes(list(client.send_messages(items(), timeout=3.0))) == [ACCEPTED] * 3
        assert time.monotonic() - start < 2.0
        other.join()


def test_a_result_is_waited_for_while_another_calls() -> None:
    with Script(log_in, expect("Ping"), pause(0.2), accept_all) as script:
        with client_of(script.port) as client:
            other = start_thread(client.ping)
            script.wait_for_actions(1)
            assert _outcomes(list(client.send_messages(_items(3)))) == [ACCEPTED] * 3
            other.join()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("after", [0, 1, 100, 1500, 3000])
def test_a_link_that_is_cut_mid_way(server: LoopbackServer, after: int, reset: bool) -> None:
    with Proxy(server.port, reset=reset) as proxy:
        client = client_of(proxy.port)
        client.connect()
        proxy.up.cut = len(proxy.up.passed) + after
        results = list(client.send_messages(_items(100), window=8))
        outcomes = _outcomes(results)
        client.close()
    server.close()
    texts = {message.text for message in server.messages}
    done = outcomes.count(ACCEPTED)
    flying = outcomes.count(UNKNOWN)
    assert outcomes == [ACCEPTED] * done + [UNKNOWN] * flying + [NOT_SENT] * (100 - done - flying)
    assert flying <= 8
    assert {str(number) for number in range(done)} <= texts
    assert texts <= {str(number) for number in range(done + flying)}


@pytest.mark.parametrize("window", [32, 1024])
def test_a_server_that_stops_reading(window: int) -> None:
    items = [MessageSend("sip:a", f"{number:04}" + "x" * 1000) for number in range(2000)]
    with Script(log_in, hold, repeat_forever(read), small_buffers=True) as script:
        with opened(client_over(small_buffer_socket(script.port))) as client:
            start = time.monotonic()
            results = list(client.send_messages(items, window=window, timeout=0.5))
            assert time.monotonic() - start < 1.0
        script.release()
        script.wait_for_end()
    outcomes = _outcomes(results)
    flying = outcomes.count(UNKNOWN)
    assert 0 < flying < window
    assert outcomes == [UNKNOWN] * flying + [NOT_SENT] * (2000 - flying)
    texts = [action["Body"][:4] for action in script.actions]
    assert texts == [f"{number:04}" for number in range(len(texts))]
    assert len(texts) <= flying


def test_a_server_that_does_not_read_until_it_has_written() -> None:
    # Both sides' buffers are full, over and over: only who reads while it writes gets through.
    noise = send((b"Event: Noise\r\nText: " + b"x" * 5000 + b"\r\n\r\n") * 10)
    items = [MessageSend("sip:a", f"{number:04}" + "x" * 1000) for number in range(300)]
    with Script(
        log_in, repeat_forever(read, in_one_write(noise, accept)), small_buffers=True
    ) as script:
        with opened(client_over(small_buffer_socket(script.port), max_events=0)) as client:
            results = list(client.send_messages(items, window=256, timeout=20.0))
            assert _outcomes(results) == [ACCEPTED] * 300


def test_what_is_left_of_a_bulk_when_the_client_closes(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        results = client.send_messages(_items(10), window=2)
        assert next(results).outcome == ACCEPTED
        client.connect()  # another connection, which the old bulk has no part in
        outcomes = _outcomes(list(results))
        assert outcomes[2:] == [NOT_SENT] * 7
        assert set(outcomes[:2]) <= {ACCEPTED, UNKNOWN, NOT_SENT}
        client.ping()


def test_what_was_on_its_way_is_given_up_by_who_stops_early() -> None:
    late = (repeat(4, read), hold, in_one_write(repeat(4, accept)))
    with Script(log_in, accept, *late, accept_all) as script, client_of(script.port) as client:
        results = client.send_messages(_items(20), window=5)
        for result in results:
            break
        results.close()
        script.release()
        receipt = client.send_message("sip:a", "after")
        assert receipt.response.action_id == receipt.action_id
        assert list(client.events(timeout=0)) == []
        assert not client._state().open_connection._results


def test_answers_that_another_call_read_go_with_their_bulk() -> None:
    with Script(log_in, repeat(5, read), accept, hold, accept_all) as script:
        with client_of(script.port) as client:
            results = client.send_messages(_items(5), window=5)
            assert next(results).outcome == ACCEPTED
            script.release()
            client.ping()  # behind the other four answers
            assert len(client._state().open_connection._results) == 4
            results.close()
            client.ping()
            assert not client._state().open_connection._results


def test_what_was_on_its_way_when_another_closed_is_unknown() -> None:
    with Script(log_in, accept, read_until_eof) as script, client_of(script.port) as client:
        results = client.send_messages(_items(8), window=5)
        assert next(results).outcome == ACCEPTED
        client.close()
        rest = list(results)
        assert _outcomes(rest) == [UNKNOWN] * 4 + [NOT_SENT] * 3
        assert all("(the client was closed)" in str(result.error) for result in rest)


def test_answers_that_came_before_a_write_failed_count() -> None:
    rest = (hold, in_one_write(repeat(3, accept)), reset)
    with Script(log_in, repeat(5, read), accept, *rest) as script:
        with opened(client_of(script.port)) as client:
            results = client.send_messages(_items(8), window=5)
            assert next(results).outcome == ACCEPTED
            script.release()
            script.wait_for_end()
            assert _outcomes(list(results)) == [ACCEPTED] * 3 + [UNKNOWN] + [NOT_SENT] * 3


def test_an_interrupted_iterable(server: LoopbackServer) -> None:
    def items() -> Iterator[Item]:
        yield from _items(3)
        raise KeyboardInterrupt

    with client_of(server.port) as client:
        results = client.send_messages(items(), window=2)
        with pytest.raises(KeyboardInterrupt):
            list(results)
        results.close()
        client.ping()


@pytest.mark.slow
def test_memory_and_files_do_not_grow() -> None:
    samples = soak(5_000, samples=5)
    assert samples[-1].messages == 5_000
    assert samples[-1].files == samples[0].files
    assert samples[-1].rss_kib - samples[1].rss_kib < 2_000


def test_an_answer_of_another_name_is_unknown() -> None:
    goodbye = respond("Goodbye", "Message: Message successfully sent")
    with Script(log_in, accept, goodbye, accept, read_until_eof) as script:
        with client_of(script.port, 0.5) as client:
            results = list(client.send_messages(_items(3), window=1))
            assert _outcomes(results) == [ACCEPTED, UNKNOWN, ACCEPTED]


def test_a_connection_found_dead_in_between_sends_no_more(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        # With room for two, the third may be with the server when the second result is read.
        results = client.send_messages(_items(6), window=1)
        assert [next(results).outcome, next(results).outcome] == [ACCEPTED] * 2
        server.close()  # its end has come when this is done
        assert _outcomes(list(results)) == [NOT_SENT] * 4
        assert not client.connected
