"""Results of a bulk that nobody iterates over, or not to the end: it warns, with the numbers."""

from __future__ import annotations

from functools import partial
from typing import Callable, Iterable, List

import pytest

from amiclient import MessageSend
from amiclient.loopback import LoopbackServer
from tests.faults import client_of, opened
from tests.script import Script, accept, hold, in_one_write, log_in, read, repeat

Kind = Callable[[List[MessageSend]], Iterable[MessageSend]]

#: Messages of which nobody knows how many there are.
iterator: Kind = partial(filter, None)


def _messages(count: int) -> List[MessageSend]:
    return [MessageSend("sip:a", str(number)) for number in range(count)]


#: Of how many messages how many results are read; how many more have come then, how many messages
#: are on their way, and what is said of the rest.
LEFT = [
    (list, 10, 0, 0, 0, "10 messages was not sent"),
    (iterator, 10, 0, 0, 0, "what is left of the messages, if anything, was not sent"),
    (list, 10, 1, 1, 2, "6 messages was not sent"),
    (iterator, 10, 1, 1, 2, "what is left of the messages, if anything, was not sent"),
    (list, 10, 2, 0, 3, "5 messages was not sent"),
    (list, 6, 2, 0, 3, "1 messages was not sent"),
    (list, 5, 2, 0, 3, "nothing is left"),
]


@pytest.mark.parametrize(("kind", "count", "wanted", "unread", "under_way", "rest"), LEFT)
def test_the_numbers_of_what_is_left(
    kind: Kind, count: int, wanted: int, unread: int, under_way: int, rest: str
) -> None:
    # The window of four is full before an answer comes, and again before the next one does.
    one_by_one = (repeat(4, read), accept, read, accept)
    at_once = (repeat(4, read), in_one_write(accept, accept))
    with Script(log_in, *(one_by_one if wanted == 2 else at_once), hold) as script:
        with opened(client_of(script.port)) as client:
            results = client.send_messages(kind(_messages(count)), window=4)
            assert [next(results).outcome for _ in range(wanted)] == ["accepted"] * wanted
            with pytest.warns(ResourceWarning) as caught:
                del results
            script.release()
    assert str(caught[0].message) == (
        f"send_messages() was dropped after {wanted} results: {unread} more were not read, "
        f"{under_way} messages may be on their way, and {rest}; iterate to the end, or call close()"
    )


def test_one_that_nobody_iterates_over(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        with pytest.warns(ResourceWarning, match="after 0 results.*10 messages was not sent"):
            client.send_messages(_messages(10))
    assert server.messages == []


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (list, "6 messages was not sent"),
        (iterator, "what is left of the messages, if anything"),
    ],
    ids=["list", "filter"],
)
def test_one_left_after_its_first_result(server: LoopbackServer, kind: Kind, rest: str) -> None:
    with client_of(server.port) as client:
        results = client.send_messages(kind(_messages(10)), window=4)
        next(results)
        with pytest.warns(ResourceWarning, match=f"after 1 results.* on their way.*{rest}"):
            del results
        client.ping()
        assert client._state().open_connection._session.outstanding == ()
    assert len(server.messages) == 4


def test_one_of_which_all_was_sent_and_not_all_read(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        results = client.send_messages(_messages(5))
        next(results)
        with pytest.warns(ResourceWarning, match="after 1 results.*nothing is left"):
            del results


def test_one_that_was_read_to_the_end_or_closed_is_silent(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        assert len(list(client.send_messages(_messages(3)))) == 3
        results = client.send_messages(_messages(3), window=1)
        assert [next(results).outcome for _ in range(3)] == ["accepted"] * 3
        del results  # a list has no more
        results = client.send_messages(iter(_messages(3)))
        next(results)
        results.close()
        with pytest.raises(StopIteration):
            next(results)
    with pytest.raises(Exception, match="not open"):
        client.send_messages(_messages(3))
