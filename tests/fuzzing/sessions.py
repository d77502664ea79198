"""The law of a session: who asked is answered, and nobody else."""

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

from .reading import HEAD, Reading, parts, read, settings_of

_ENTROPY = b"0123456789abcdef"
_MAX_OUTSTANDING = 6
_MAX_LIST_BYTES = 600

#: As a head of the readers, and one byte of what is done between the pieces.
SESSION_HEAD = HEAD + 1


class Asker:
    """A session that asks, and the laws of who is answered."""

    def __init__(self, limits: Dict[str, Any]) -> None:
        # Not those of an input that not even a login keeps.
        if limits:
            limits = {"max_line": 100, "max_stanza": 400, "max_backlog": 500}
        self.session = Session(
            "joe", "geheim", entropy=_ENTROPY, max_outstanding=_MAX_OUTSTANDING,
            max_list_bytes=_MAX_LIST_BYTES, **limits,
        )  # fmt: skip
        self.waiting: Set[str] = set()
        self._asked = 0

    def log_in(self, banner: bytes) -> None:
        """Have it logged in by a server that plays along."""
        server = Connection(Role.SERVER)
        data = banner
        server.send(Banner.from_wire(banner))
        while not self.session.logged_in:
            self.session.receive_data(data)
            self.on_event(self.session.next_event())
            server.receive_data(self.session.data_to_send())
            action = server.next_event()
            if isinstance(action, Action):
                answer = Response("Success", {"Challenge": "1"}, action_id=action.action_id)
                data = server.send(answer)

    def ask(self) -> None:
        """Ask once more, which may be refused: every third time under an ActionID of its own."""
        self._asked += 1
        action_id = str(self._asked) if self._asked % 3 else None
        before = self.session.outstanding
        try:
            action = self.session.send(Action("Command", action_id=action_id))
        except LocalProtocolError as error:
            assert error.outcome == "not_sent" and self.session.outstanding == before
            return
        assert action.action_id is not None
        assert action_id is None or action.action_id == action_id
        self.waiting.add(action.action_id)

    def between(self, what: int) -> None:
        """What is done before a piece comes: nothing, or to ask, to give up, to take back."""
        # Before the login only its own actions wait.
        outstanding = self.session.outstanding if self.session.logged_in else ()
        if what == 1:
            self.ask()
        elif what == 2 and outstanding:
            self.session.abandon(outstanding[0])
            self.waiting.remove(outstanding[0])
        elif what == 3 and outstanding:
            self.session.cancel(outstanding[-1])
            # Of a list the answer is on its way, so that there is nothing to take back.
            self.waiting &= set(self.session.outstanding)

    def on_event(self, event: Any) -> None:
        """Take an event: no answer without a question, and never two."""
        repr(event)
        if isinstance(event, LoggedIn):
            assert self.session.logged_in
            for _ in range(3):
                self.ask()
        elif isinstance(event, ActionResult):
            assert event.action_id in self.waiting, "an answer without a question"
            self.waiting.remove(event.action_id)
            assert event.response.action_id in (None, event.action_id)
            members = [*event.events, *([] if event.complete is None else [event.complete])]
            assert {member.action_id for member in members} <= {event.action_id}
            assert sum(len(member.wire) for member in event.events) <= _MAX_LIST_BYTES
        if self.session.logged_in:
            assert set(self.session.outstanding) == self.waiting
            assert len(self.waiting) <= _MAX_OUTSTANDING

    def run(self, pieces: Sequence[bytes], operations: int) -> Reading:
        """Feed it, and do something before each of the pieces."""

        def stream() -> Iterator[bytes]:
            for number, piece in enumerate(pieces):
                # Two bits for each, and the same again after four.
                self.between(operations >> 2 * (number % 4) & 3)
                yield piece

        return read(self.session, stream(), self.on_event)


def session(data: bytes) -> List[str]:
    """A session, logged in or about to, gives each question one answer at most, and no other.

    A quarter of the settings leave the login to the input, but for the banner.
    """
    operations = data[HEAD] if len(data) > HEAD else 0
    setting, pieces = parts(data[:HEAD] + data[SESSION_HEAD:])
    banner, limits = settings_of(setting)
    if setting >= 192:
        pieces.insert(0, banner)
        banner = b""
    reading = _in_session(banner, limits, pieces, operations)
    if not operations:
        whole = _in_session(banner, limits, [b"".join(pieces)], 0)
        assert reading.exactly() == whole.exactly(), "otherwise in one piece"
    return reading.names()


def _in_session(
    banner: bytes, limits: Dict[str, Any], pieces: Sequence[bytes], operations: int
) -> Reading:
    asker = Asker(limits)
    if banner:
        asker.log_in(banner)
    reading = asker.run(pieces, operations)
    sent = read(Connection(Role.SERVER), [asker.session.data_to_send()]).events[:-1]
    assert [action.name for action in sent] in ([], ["Challenge"], ["Challenge", "Login"])
    assert not any(b"geheim" in action.wire for action in sent)
    asker.ask()  # is refused, or not, but does no harm
    return reading
