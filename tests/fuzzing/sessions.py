"""Properties of a Session: each action gets at most one result."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Set

from amiproto import (
    Action,
    ActionResult,
    Banner,
    Connection,
    LocalProtocolError,
    LoggedIn,
    Response,
    Role,
    Session,
)

from .reading import HEAD, Reading, read, settings_of, split_input

_ENTROPY = b"0123456789abcdef"
_MAX_OUTSTANDING = 6
_MAX_LIST_BYTES = 600

#: The head of ``reading``, and one byte that selects operations between chunks.
SESSION_HEAD = HEAD + 1


class Caller:
    """Uses a session, and checks that results belong to outstanding actions."""

    def __init__(self, limits: Dict[str, Any]) -> None:
        # The limits of the setting may be too low for a login.
        if limits:
            limits = {"max_line": 100, "max_stanza": 400, "max_backlog": 500}
        self.session = Session(
            "joe", "geheim", entropy=_ENTROPY, max_outstanding=_MAX_OUTSTANDING,
            max_list_bytes=_MAX_LIST_BYTES, **limits,
        )  # fmt: skip
        self.outstanding: Set[str] = set()
        self._count = 0

    def log_in(self, banner: bytes) -> None:
        """Log in to a server that accepts the login."""
        server = Connection(Role.SERVER)
        data = banner
        server.send(Banner.from_wire(banner))
        while not self.session.logged_in:
            self.session.receive_data(data)
            self.on_event(self.session.next_event())
            server.receive_data(self.session.data_to_send())
            action = server.next_event()
            if isinstance(action, Action):
                response = Response("Success", {"Challenge": "1"}, action_id=action.action_id)
                data = server.send(response)

    def send(self) -> None:
        """Send an action, which may be rejected; the session chooses every third ActionID."""
        self._count += 1
        action_id = str(self._count) if self._count % 3 else None
        before = self.session.outstanding
        try:
            action = self.session.send(Action("Command", action_id=action_id))
        except LocalProtocolError as error:
            assert error.outcome == "not_sent" and self.session.outstanding == before
            return
        assert action.action_id is not None
        assert action_id is None or action.action_id == action_id
        self.outstanding.add(action.action_id)

    def between(self, what: int) -> None:
        """Do nothing, send, abandon or cancel, before the next chunk."""
        # Before the login, only its own actions are outstanding.
        outstanding = self.session.outstanding if self.session.logged_in else ()
        if what == 1:
            self.send()
        elif what == 2 and outstanding:
            self.session.abandon(outstanding[0])
            self.outstanding.remove(outstanding[0])
        elif what == 3 and outstanding:
            self.session.cancel(outstanding[-1])
            # An action whose list has begun cannot be cancelled.
            self.outstanding &= set(self.session.outstanding)

    def on_event(self, event: Any) -> None:
        """Check an event: every result belongs to an outstanding action."""
        repr(event)
        if isinstance(event, LoggedIn):
            assert self.session.logged_in
            for _ in range(3):
                self.send()
        elif isinstance(event, ActionResult):
            assert event.action_id in self.outstanding, "a result without an action"
            self.outstanding.remove(event.action_id)
            assert event.response.action_id in (None, event.action_id)
            members = [*event.events, *([] if event.complete is None else [event.complete])]
            assert {member.action_id for member in members} <= {event.action_id}
            assert sum(len(member.wire) for member in event.events) <= _MAX_LIST_BYTES
        if self.session.logged_in:
            assert set(self.session.outstanding) == self.outstanding
            assert len(self.outstanding) <= _MAX_OUTSTANDING

    def run(self, chunks: Sequence[bytes], operations: int) -> Reading:
        """Decode chunks, with an operation before each."""

        def stream() -> Iterator[bytes]:
            for number, chunk in enumerate(chunks):
                # Two bits per chunk, repeated after four chunks.
                self.between(operations >> 2 * (number % 4) & 3)
                yield chunk

        return read(self.session, stream(), self.on_event)


def session(data: bytes) -> List[str]:
    """Check that each action of a session gets at most one result.

    With a quarter of the settings, the input has to contain the responses to the login.
    """
    operations = data[HEAD] if len(data) > HEAD else 0
    setting, chunks = split_input(data[:HEAD] + data[SESSION_HEAD:])
    banner, limits = settings_of(setting)
    if setting >= 192:
        chunks.insert(0, banner)
        banner = b""
    reading = _in_session(banner, limits, chunks, operations)
    if not operations:
        whole = _in_session(banner, limits, [b"".join(chunks)], 0)
        assert reading.identity() == whole.identity(), "depends on chunking"
    return reading.names()


def _in_session(
    banner: bytes, limits: Dict[str, Any], chunks: Sequence[bytes], operations: int
) -> Reading:
    caller = Caller(limits)
    if banner:
        caller.log_in(banner)
    reading = caller.run(chunks, operations)
    sent = read(Connection(Role.SERVER), [caller.session.data_to_send()]).events[:-1]
    assert [action.name for action in sent] in ([], ["Challenge"], ["Challenge", "Login"])
    assert not any(b"geheim" in action.wire for action in sent)
    caller.send()  # must not fail after an error
    return reading
