# mypy: ignore-errors
"""As the example for asyncio, but a call that is sent in part counts as one that may be sent."""

from __future__ import annotations

import os

from twisted.application.internet import ClientService
from twisted.internet import error, reactor
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.protocol import Factory, Protocol

from amiproto import NEED_DATA, ActionResult, AMIError, LoggedIn, NotSent, Session


class AMIProtocol(Protocol):
    def __init__(self, on_event, settings):
        self._on_event = on_event
        self._session = Session(entropy=os.urandom(16), **settings)
        self._results = {}
        self.logged_in = Deferred()

    async def send(self, action, end):
        action = self._session.send(action)
        action_id = action.action_id
        result = self._results[action_id] = Deferred(lambda _: self._abandon(action_id))
        self.transport.write(action.wire)
        timer = reactor.callLater(max(0, end - reactor.seconds()), self.transport.abortConnection)
        try:
            return await result
        finally:
            if timer.active():
                timer.cancel()

    def _abandon(self, action_id):
        del self._results[action_id]
        self._session.abandon(action_id)

    def dataReceived(self, data):
        try:
            self._session.receive_data(data)
            while (event := self._session.next_event()) is not NEED_DATA:
                if isinstance(event, ActionResult):
                    self._results.pop(event.action_id).callback(event)
                else:
                    self._on_event(event)
                    if isinstance(event, LoggedIn):
                        self.logged_in.callback(None)
            self.transport.write(self._session.data_to_send())
        except AMIError as caught:
            self.connectionLost(caught)
            self.transport.abortConnection()

    def connectionLost(self, reason):
        if not self.logged_in.called:
            self.logged_in.errback(reason)
        while self._results:
            action_id, result = self._results.popitem()
            result.errback(AMIError("the connection ended", action_id=action_id))


class TwistedClient:
    """``settings`` are arguments of Session. Events may be missing before each LoggedIn."""

    def __init__(self, endpoint, on_event=lambda event: None, max_outstanding=32, **settings):
        self._places = DeferredSemaphore(max_outstanding)
        factory = Factory.forProtocol(lambda: AMIProtocol(on_event, settings))
        delay, prepare = lambda attempts: min(0.1 * attempts, 10), lambda each: each.logged_in
        self._service = ClientService(endpoint, factory, delay, prepareConnection=prepare)
        self._service.startService()

    def send(self, action, timeout=10.0):
        return Deferred.fromCoroutine(self._send(action, reactor.seconds() + timeout))

    async def _send(self, action, end):
        def timeout(deferred):
            return deferred.addTimeout(max(0, end - reactor.seconds()), reactor)

        try:
            await timeout(self._places.acquire())
            try:
                protocol = await timeout(self._service.whenConnected(failAfterFailures=1))
                return await protocol.send(action, end)
            finally:
                # Later, when the next call can no longer get a connection that has just ended.
                reactor.callLater(0, self._places.release)
        except (error.ConnectError, TimeoutError) as caught:
            raise NotSent(f"no connection: {caught!r}") from caught
