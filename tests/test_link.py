"""The link: what had left, and what had not, when a call was given up."""

from __future__ import annotations

import select
import socket
import threading
from typing import List

import pytest

from amiclient import Action, AMIError, Client, Event, EventOverflow, SendTimeout, ServerClosed
from amiclient.deadline import Deadline
from amiclient.loopback import SECRET, USERNAME, LoopbackServer
from amiclient.transport import Closed
from tests.faults import (
    SERVER_PEM,
    Peer,
    Script,
    accepted,
    client_of,
    narrow_socket,
    server_tls,
)


def test_a_record_that_left_in_part_is_not_forgotten() -> None:
    """TLS that could not write a record keeps it, and would write it in place of the next one.

    So what was given up then must close the connection, though by the count of bytes nothing of
    the action had left.
    """
    seen_whole = False
    for attempt in range(160):
        go = threading.Event()
        received: List[str] = []

        def talk(peer: Peer) -> None:
            peer.log_in()
            go.wait(10.0)
            while True:
                action = peer.read()
                received.append(action["Action"] + " " + action["ActionID"])
                peer.send(accepted(action))

        with Script(talk, tls=server_tls(), narrow=True) as script:
            sock = narrow_socket(script.port)
            client = Client.from_socket(
                sock, username=USERNAME, secret=SECRET, tls=SERVER_PEM, tls_hostname="localhost"
            )
            client.connect()
            link = client._shared().link
            assert link is not None
            # A line of another length each time, so that the socket is full at another place.
            action = Action("Ping", [("X", "x" * (attempt * 3))])
            while True:
                with pytest.raises(AMIError) as caught:
                    client.send_action(action, timeout=0.002)
                action = Action("Ping")
                if isinstance(caught.value, SendTimeout) and caught.value.action_id:
                    break
            if link._transport.has_half_record:
                assert not client.connected
                seen_whole = seen_whole or not link._outbox._offset
            go.set()
            if client.connected:
                receipt = client.send_action(Action("Long-Name"))
                assert f"Long-Name {receipt.response.action_id}" in received
            client.close()
        if seen_whole:
            break
    assert seen_whole


def test_many_chunks_wait_before_an_action_leaves() -> None:
    event = Event("Tick", [("Text", "x" * 1000)])
    with LoopbackServer() as server:
        with client_of(server.port, events="on", max_events=10) as client:
            for _ in range(300):
                server.send_event(event)
            client.ping()
            events = client.events()
            assert len([next(events) for _ in range(10)]) == 10
            with pytest.raises(EventOverflow) as caught:
                next(events)
            assert caught.value.actual == 290


def test_what_came_before_a_write_failed_is_read_all_the_same() -> None:
    with LoopbackServer() as server:
        sock = socket.create_connection((server.host, server.port))
        client = Client.from_socket(sock, username=USERNAME, secret=SECRET, events="on")
        client.connect()
        link = client._shared().link
        assert link is not None
        server.send_event(Event("Tick"))
        assert select.select([sock], [], [], 10.0)[0]
        sock.shutdown(socket.SHUT_WR)
        ticket = link.put(Action("Ping"))
        with pytest.raises(Closed) as caught:
            link.step(Deadline(10.0))
        assert isinstance(link.give_up(ticket, caught.value), ServerClosed)
        event = link.events.take()
        assert event is not None and event.wire == Event("Tick").wire
        client.close()
