# mypy: ignore-errors
"""The codec in a Twisted protocol that sends many messages over one connection.

The arguments are the port, the user, the secret and the number of messages.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from amiproto import NEED_DATA, ActionResult, EndOfStream, LoggedIn, MessageSend, Session


class AMIProtocol(Protocol):
    """Logs in, and then sends messages."""

    def __init__(self, username: str, secret: str) -> None:
        self._session = Session(username, secret, entropy=os.urandom(16))
        self._results: Dict[str, "Deferred[ActionResult]"] = {}
        #: Fires after the login.
        self.logged_in: "Deferred[AMIProtocol]" = Deferred()

    def send(self, message: MessageSend) -> "Deferred[ActionResult]":
        """Send a message; the result fires with the response."""
        action = self._session.send(message)
        self.transport.write(action.wire)
        result = self._results[action.action_id] = Deferred()
        return result

    def dataReceived(self, data: bytes) -> None:
        self._session.receive_data(data)
        self._process_events()

    def connectionLost(self, reason: Any = None) -> None:
        self._session.receive_eof()
        self._process_events()

    def _process_events(self) -> None:
        while True:
            event = self._session.next_event()
            self.transport.write(self._session.data_to_send())
            if event is NEED_DATA or isinstance(event, EndOfStream):
                return
            if isinstance(event, LoggedIn):
                self.logged_in.callback(self)
            elif isinstance(event, ActionResult):
                self._results.pop(event.action_id).callback(event)


def main(port: str, username: str, secret: str, count: str) -> None:
    def send_all(protocol: AMIProtocol) -> "Deferred[List[ActionResult]]":
        messages = [MessageSend("pjsip:a", f"number {number}\n") for number in range(int(count))]
        return gatherResults([protocol.send(message) for message in messages])

    def show(results: List[ActionResult]) -> None:
        print(len(results), *{result.response.name for result in results})

    def stop(failure: Any) -> None:
        if failure is not None:
            print(failure)
        reactor.stop()

    protocol = AMIProtocol(username, secret)
    connected = connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", int(port)), protocol)
    connected.addCallback(lambda _: protocol.logged_in).addCallback(send_all)
    connected.addCallback(show).addBoth(stop)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
