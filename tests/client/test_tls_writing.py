"""Writing over TLS to a server that reads as Asterisk 11 does.

Its read of up to 1023 bytes runs across records, and then it polls the socket and not the TLS
layer: what is left of a record that was read in part waits there until the client writes again.
"""

from __future__ import annotations

import pytest

from amiclient import ACCEPTED, Action, MessageSend
from amiclient._connection import SendQueue
from amiclient.loopback import LoopbackServer
from tests.certificates import SERVER_PEM, server_tls
from tests.faults import client_of


def _message(size: int) -> MessageSend:
    """A message whose action has so many bytes, the ActionID of a session included."""
    variables = {"Y": "y" * 900, "Z": "z"} if size > 1500 else {"Z": "z"}
    start = MessageSend("pjsip:a", "x" * 300, None, variables, action_id="0" * 32)
    variables["Z"] = "z" * (1 + size - len(start.wire))
    message = MessageSend("pjsip:a", "x" * 300, None, variables)
    assert len(message.with_action_id("0" * 32).wire) == size
    return message


@pytest.mark.parametrize("size", [1022, 1023, 1024, 1025, 1026, 2046, 2047, 2048])
def test_a_message_of_any_size_is_read_at_once(size: int) -> None:
    with LoopbackServer(version=11, tls=server_tls()) as server:
        with client_of(server.port, 2.0, tls=SERVER_PEM) as client:
            for _ in range(3):
                assert client.send(_message(size)).outcome == ACCEPTED


def test_one_record_for_the_last_line_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Proof that the server is such a one: as the client wrote before.
    def next_chunk(outbox: SendQueue) -> bytes:
        first = outbox._queue[0][1]
        return first[outbox._offset : first.find(b"\n", outbox._offset) + 1]

    monkeypatch.setattr(SendQueue, "next_chunk", next_chunk)
    late = []
    for size in (1022, 1023, 1024, 1025):
        with LoopbackServer(version=11, tls=server_tls()) as server:
            client = client_of(server.port, 5.0, tls=SERVER_PEM)
            client.connect()
            try:
                client.send(_message(size), timeout=0.3)
            except TimeoutError:
                late.append(size)
            client.close()
    assert late == [1024]


def test_pieces_over_tls_and_without() -> None:
    wire = Action("Ping", [("A", "b")]).wire
    for is_tls, expected in (
        (True, [b"Action: Ping\r\n", b"A: b\r\n", b"\r", b"\n"] * 2),
        (False, [wire + wire]),
    ):
        outbox = SendQueue(is_tls)
        outbox.append("1", wire)
        outbox.append("2", wire)
        pieces = []
        while outbox:
            pieces.append(outbox.next_chunk())
            outbox.advance(len(pieces[-1]))
        assert pieces == expected
        assert "1" not in outbox
        outbox.append("1", wire)
        outbox.append("2", wire)
        assert not outbox.remove("2") and "1" in outbox
        outbox.advance(1)
        assert outbox.remove("1") and not outbox
        with pytest.raises(KeyError):
            outbox.remove("1")
