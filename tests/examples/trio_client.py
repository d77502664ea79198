"""A trio client: many tasks share one connection, as in the example for asyncio."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional

import trio

from amiproto import NEED_DATA, Action, ActionResult, AMIError, LoggedIn, NotSent, Session

ENDED = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class TrioClient:
    """Reads in tasks of the nursery. Events may be missing before each LoggedIn."""

    def __init__(self, nursery: trio.Nursery, port: int, places: int = 32, **settings: Any) -> None:
        self.on_event: Callable[[Any], object] = lambda event: None  # gets all but results
        self._nursery, self._port, self._settings = nursery, port, settings
        self._places, self._lock = trio.Semaphore(places), trio.Lock()
        self._results: Dict[str, trio.MemorySendChannel[ActionResult]] = {}
        self._stream: Optional[trio.SocketStream] = None

    async def send(self, action: Action, timeout: float = 10.0) -> ActionResult:
        sent: List[str] = []  # its ActionID
        try:
            with trio.move_on_after(timeout):
                async with self._places:
                    result = await self._send(action, sent)
                    received: ActionResult = await result.receive()
                    return received
            if not sent:
                raise NotSent("timeout before sending")
            self.close()
            raise trio.EndOfChannel
        except trio.EndOfChannel:
            raise AMIError("no response", action_id=sent[0]) from None
        except ENDED as error:
            raise NotSent(f"the connection failed: {error!r}") from error
        finally:
            for action_id in sent:
                self._results.pop(action_id, None)
                self._session.abandon(action_id)  # has no effect after the response

    def close(self) -> None:
        if self._stream is not None:
            self._stream.socket.close()
            self._stream = None
        while self._results:
            self._results.popitem()[1].close()

    async def _send(self, action: Action, sent: List[str]) -> Any:
        async with self._lock:
            if self._stream is None:
                self._session = Session(entropy=os.urandom(16), **self._settings)
                self._stream = await trio.open_tcp_stream("127.0.0.1", self._port)
                await self._read(self._stream, self._session)  # until the login
                self._nursery.start_soon(self._listen, self._stream, self._session)
            action = self._session.send(action)
            self._results[str(action.action_id)], result = trio.open_memory_channel(1)
            try:
                await self._stream.send_all(action.wire)
            except BaseException:  # the last byte was not sent
                self.close()
                raise
            sent.append(str(action.action_id))
            return result

    async def _listen(self, *connection: Any) -> None:
        with suppress(AMIError, *ENDED):
            await self._read(*connection)

    async def _read(self, stream: trio.SocketStream, session: Session) -> None:
        try:
            event: Any = None
            while not isinstance(event, LoggedIn):
                event = session.next_event()
                if event is NEED_DATA:
                    if not session.logged_in:
                        await stream.send_all(session.data_to_send())
                    data = await stream.receive_some()
                    if not data:
                        raise ConnectionError("the server closed the connection")
                    session.receive_data(data)
                elif isinstance(event, ActionResult):
                    self._results.pop(event.action_id).send_nowait(event)
                else:
                    self.on_event(event)
        except BaseException:
            if self._stream is stream:
                self.close()
            raise
