"""Results of a bulk that nobody iterates over, or not to the end: it warns, with the numbers."""

from __future__ import annotations

from functools import partial
from typing import Callable, Iterable, List

import pytest

from amiclient import MessageSend
from amiclient.loopback import LoopbackServer
from tests.faults import client_of


def _messages(count: int) -> List[MessageSend]:
    return [MessageSend("sip:a", str(number)) for number in range(count)]


def test_one_that_nobody_iterates_over(server: LoopbackServer) -> None:
    with client_of(server.port) as client:
        with pytest.warns(ResourceWarning, match="after 0 results.*10 messages was not sent"):
            client.send_messages(_messages(10))
    assert server.messages == []


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (list, "6 messages was not sent"),
        (partial(filter, None), "what is left of the messages, if anything"),  # of unknown number
    ],
    ids=["list", "filter"],
)
def test_one_left_after_its_first_result(
    server: LoopbackServer, kind: Callable[[List[MessageSend]], Iterable[MessageSend]], rest: str
) -> None:
    with client_of(server.port) as client:
        results = client.send_messages(kind(_messages(10)), window=4)
        next(results)
        with pytest.warns(ResourceWarning, match=f"after 1 results.* on their way.*{rest}"):
            del results
        client.ping()
        assert client._shared().open_link._session.outstanding == ()
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
