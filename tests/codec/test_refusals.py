"""Each refusal of MessageSend in the table: its error, its words, and that it shows no text."""

from __future__ import annotations

import re

import pytest

from amiproto import LocalProtocolError, MessageSend, TooManyLines
from tests.refusals import ASTERISK_11, BANNERS, REFUSALS, Refusal, filled, name_of, pairs_of

CASES = [(row, technology) for row in REFUSALS for technology in row.technologies]

#: How each sentence ends: with what to do.
ADVICE = re.compile(
    "(?:; |: |, or )(?:write|leave|remove|give|send|use|shorten|put|name|add)(?: .*)?$"
)


def check(error: LocalProtocolError, row: Refusal, technology: str, words: str) -> None:
    said = str(error)
    assert type(error) is row.error and error.field == row.field
    assert error.outcome == "not_sent" and not error.retryable
    assert (error.limit, error.actual) == (row.limit, row.actual)
    assert words == said if row.whole else words in said
    assert ADVICE.search(said)
    asked = row.asked(technology)
    for hidden in (asked["body"], *(value for _, value in pairs_of(asked))):
        if len(hidden) > 2:
            assert str(hidden) not in said and repr(hidden).lstrip("b")[1:-1] not in said
    assert len(said) < 700


@pytest.mark.parametrize("row, technology", CASES, ids=name_of)
def test_refused(row: Refusal, technology: str) -> None:
    words = filled(row.words, 5060)
    for action_id in (None, "7"):
        asked = {"action_id": action_id, **row.asked(technology)}
        if not row.banners:
            with pytest.raises(LocalProtocolError) as caught:
                MessageSend(**asked)
            check(caught.value, row, technology, words)
            assert caught.value.action_id == (action_id if row.error is TooManyLines else None)
            continue
        message = MessageSend(**asked)
        for banner in BANNERS:
            if banner in row.banners:
                with pytest.raises(LocalProtocolError) as caught:
                    message.check_server(banner)
                check(caught.value, row, technology, words.replace("{version}", banner.version))
                assert caught.value.action_id == action_id
            elif banner is not ASTERISK_11 or "destination" not in row.arguments:
                message.check_server(banner)


@pytest.mark.parametrize(
    "row", [row for row in REFUSALS if row.field == "ActionID"], ids=name_of
)  # fmt: skip
def test_refused_as_a_later_action_id(row: Refusal) -> None:
    with pytest.raises(row.error):
        MessageSend("other:x").with_action_id(row.arguments["action_id"])
