"""Each row of the table of refusals: its error, and that the error does not show the body."""

from __future__ import annotations

import re
from typing import Any, Dict, List

import pytest

from amiproto import LocalProtocolError, MessageSend, TooManyLines
from amiproto.exceptions import quote, shorten
from amiproto.messaging import chan_sip, pjsip
from tests.refusals import ASTERISK_11, BANNERS, REFUSALS, Refusal, name_of, pairs_of

CASES = [(row, technology) for row in REFUSALS for technology in row.technologies]


def check(error: LocalProtocolError, row: Refusal, technology: str) -> None:
    assert type(error) is row.error and error.field == row.field
    assert error.outcome == "not_sent" and not error.retryable
    assert (error.limit, error.actual) == (row.limit, row.actual)
    message = str(error)
    assert 0 < len(message) < 700
    asked = row.asked(technology)
    for hidden in (asked["body"], *(value for _, value in pairs_of(asked))):
        if len(hidden) > 2:
            assert str(hidden) not in message and repr(hidden).lstrip("b")[1:-1] not in message


@pytest.mark.parametrize("row, technology", CASES, ids=name_of)
def test_row_is_rejected(row: Refusal, technology: str) -> None:
    for action_id in (None, "7"):
        asked = {"action_id": action_id, **row.asked(technology)}
        if not row.banners:
            with pytest.raises(LocalProtocolError) as caught:
                MessageSend(**asked)
            check(caught.value, row, technology)
            assert caught.value.action_id == (action_id if row.error is TooManyLines else None)
            continue
        message = MessageSend(**asked)
        for banner in BANNERS:
            if banner in row.banners:
                with pytest.raises(LocalProtocolError) as caught:
                    message.check_server(banner)
                check(caught.value, row, technology)
                assert caught.value.action_id == action_id
            elif banner is not ASTERISK_11 or "destination" not in row.arguments:
                message.check_server(banner)


@pytest.mark.parametrize("row", [row for row in REFUSALS if row.field == "ActionID"], ids=name_of)
def test_row_is_rejected_as_a_new_action_id(row: Refusal) -> None:
    with pytest.raises(row.error):
        MessageSend("other:x", "").with_action_id(row.arguments["action_id"])


@pytest.mark.parametrize(
    "arguments",
    [
        *[{argument: text} for argument in ("to", "from_") for text in (
            "x\\" * 450, "pjsip:" + "x" * 900 + "?", "sip:" + "é" * 400 + "@a;b", "sip:@" * 200,
            "sip:<" + "a" * 900, "PJSIP:" + "x" * 900, '"' * 900 + "<", "x" * 5_000_000,
            "<sip:" + "%2B" * 300 + "@e>", "pjsip:" + "a" * 900 + "@e", "pjsip:a/" + "1" * 900)],
        {"to": "pjsip:" + "a" * 500 + "/<" + "b" * 400, "destination": "pjsip:a"},
        {"to": "pjsip:a", "variables": {"x" * 5_000_000: "v" * 5_000_000}},
        {"to": "pjsip:a", "variables": {"x " * 5_000_000: "v"}},
        {"to": "other:a", "variables": {"x=" * 5_000_000: "v"}},
        {"to": "other:a", "variables": {"x" * 5_000_000: "\0"}},
        {"to": "other:a", "body": "x" * 5_000_000},
    ],
    ids=lambda arguments: " ".join(arguments),
)  # fmt: skip
def test_errors_are_short(arguments: Dict[str, Any]) -> None:
    for technology in ("pjsip", "sip"):
        with pytest.raises(LocalProtocolError) as caught:
            MessageSend(**{"to": f"{technology}:alice", "body": "", **arguments})
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize("size", [79, 80, 81, 5_000_000])
def test_quotes_are_shortened_to_80_characters_with_the_length(size: int) -> None:
    text = "'" + "\n" * (size - 1)
    if size <= 80:
        assert (quote(text), shorten(text)) == (repr(text), text)
    else:
        for result, shown in ((quote(text), repr(text[:80])), (shorten(text), text[:80])):
            assert result.startswith(shown) and len(result) < len(shown) + 40
            assert str(size) in result


def test_every_hint_is_given_for_a_row() -> None:
    messages: List[str] = []
    for row, technology in CASES:
        if row.error.__name__ == "InvalidAddress" and not row.banners:
            with pytest.raises(LocalProtocolError) as caught:
                MessageSend(**row.asked(technology))
            messages.append(str(caught.value))
    for hints in (
        chan_sip.TARGET_HINTS, chan_sip.FROM_HINTS, pjsip.TARGET_HINTS, pjsip.FROM_HINTS,
        pjsip.TO_HINTS,
    ):  # fmt: skip
        for _, _, hint in hints:
            pattern = ".*".join([re.escape(part) for part in re.split(r"\{[^}]*\}", hint)])
            assert any(re.search(pattern + r"\Z", message) for message in messages), hint
