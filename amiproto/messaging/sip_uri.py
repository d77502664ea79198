"""The parts of a SIP URI that both chan_sip and pjsip carry as they are written."""

from __future__ import annotations

# The user part of a SIP URI (RFC 3261), without the semicolon. Both stacks decode it and escape
# anew what must be: an escaped reserved character would come out bare, which is another user, and
# chan_sip would end it at an escaped NUL (16.28, 22.10).
USER = (
    r"(?:[A-Za-z0-9\-_.!~*'()&=+$,/?]|%(?!00|2[46BbCcFf]|3[BbDdFf])[0-9A-Fa-f]{2})+"
)  # fmt: skip
HOST_NAME = r"[A-Za-z0-9._\-]+"
HOST = rf"(?:{HOST_NAME}|\[[0-9A-Fa-f:.]+\])"

