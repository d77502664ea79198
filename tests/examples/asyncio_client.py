"""An asyncio client for programs that run for months: many tasks share one connection."""

import asyncio
import os
from typing import Any, Callable, Dict, List

from amiproto import NEED_DATA, Action, ActionResult, AMIError, LoggedIn, NotSent, Session


class AsyncClient:
    """Connects when a call needs it. Create it in a coroutine, with arguments of Session.

    To wait for events, send a Ping now and then. Events may be missing before each LoggedIn.
    """

    def __init__(self, host: str, port: int, max_outstanding: int = 32, **settings: Any) -> None:
        self.on_event: Callable[[Any], object] = lambda event: None  # gets all but results
        self._address, self._settings = (host, port), settings
        self._places, self._lock = asyncio.Semaphore(max_outstanding), asyncio.Lock()
        self._results: Dict[str, asyncio.Future[ActionResult]] = {}
        self._reading: asyncio.Future[Any] = asyncio.gather()  # done if there is no connection

    async def send(self, action: Action, timeout: float = 10.0) -> ActionResult:
        """Return the result of an action. Raise NotSent, or another AMIError if it may be sent.

        An action may also be sent if the call is cancelled. A timeout closes the connection.
        """
        sent: List[str] = []  # its ActionID
        timer = asyncio.get_event_loop().call_later(timeout, lambda: self.close() if sent else None)
        try:
            return await asyncio.wait_for(self._send(action, sent), timeout)
        except asyncio.TimeoutError:
            if sent:
                raise AMIError("no response in time", action_id=sent[0]) from None
            raise NotSent("timeout before sending") from None
        except OSError as error:
            raise NotSent(f"the connection failed: {error}") from error
        finally:
            timer.cancel()

    def close(self) -> None:
        if not self._reading.done():
            self._writer.transport.abort()

    async def _send(self, action: Action, sent: List[str]) -> ActionResult:
        async with self._places:
            try:
                async with self._lock:
                    if self._reading.done() or self._writer.transport.is_closing():
                        await self._connect()
                    action = self._session.send(action)
                    sent.append(str(action.action_id))
                    result = self._results[sent[0]] = asyncio.Future()
                    self._writer.write(action.wire)
                    await self._writer.drain()  # raises only if the last byte was not sent
                await asyncio.wait({result, self._reading}, return_when="FIRST_COMPLETED")
                if not result.done():
                    raise AMIError(f"no response: {self._reading.result()}", action_id=sent[0])
                return result.result()
            finally:
                for action_id in sent:
                    self._results.pop(action_id, None)
                    self._session.abandon(action_id)  # has no effect after the response

    async def _connect(self) -> None:
        await asyncio.wait({self._reading})
        self._session = Session(entropy=os.urandom(16), **self._settings)
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        self._writer.transport.set_write_buffer_limits(0)  # so that drain() waits for all bytes
        await self._read()  # until the login
        self._reading = asyncio.gather(self._read(), return_exceptions=True)

    async def _read(self) -> None:
        try:
            event: Any = None
            while not isinstance(event, LoggedIn):
                event = self._session.next_event()
                self._writer.write(self._session.data_to_send())
                if event is NEED_DATA:
                    data = await self._reader.read(65536)
                    if not data:
                        raise ConnectionError("the server closed the connection")
                    self._session.receive_data(data)
                elif isinstance(event, ActionResult):
                    self._results.pop(event.action_id).set_result(event)
                else:
                    self.on_event(event)
        except BaseException:
            self._writer.transport.abort()
            raise
