"""MessageSend: a message that arrives exactly as asked, or is refused here.

Reading order: ``technology``, what AMI itself does to a message; ``sip_uri`` and ``sip_headers``,
what both SIP stacks do; ``sip``, ``pjsip`` and ``xmpp``, one technology each; ``technologies``, the
registry of them; ``body`` and ``variables``, how a text and a variable are written and read; and
``message``, the action that puts it all together.

To add a technology: write a module with a subclass of :class:`technology.Technology` (of
:class:`sip_headers.SIPTechnology` where variables become headers of SIP), give it the ``name`` that
stands before the colon of a target, override the checks it has more to say about, import it in
``technologies`` and add one object of it to :data:`technologies.TECHNOLOGIES`. What the version of
the server decides goes into ``check_server``. Say at each rule on which version it was seen.
"""

from . import chan_sip, pjsip, xmpp  # noqa: F401  (each registers its technology)
from .fields import MessageFields, field_keys
from .message import MessageSend, parse_message_send, split_body
from .variables import escape_variable, parse_variables

__all__ = [
    "MessageFields",
    "MessageSend",
    "escape_variable",
    "field_keys",
    "parse_message_send",
    "parse_variables",
    "split_body",
]
