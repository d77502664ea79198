"""Build MessageSend actions, or reject a message that Asterisk would change or drop.

.. code-block:: python

    from amiproto import MessageSend, split_body

    message = MessageSend(
        "pjsip:alice", "Someone is at the door", from_="Door <sip:door@example.org>",
        variables={"X-Door": "front"},
    )
    parts = [MessageSend("pjsip:alice", part) for part in split_body(long_text)]

The prefix of ``to``, up to its first colon, is the technology: the channel driver that sends the
message. Prefixes are case-sensitive. What follows was seen on Asterisk 11.25, 16.28 and 22.10, and
in part on 13.38, 18.26, 20.20 and 22.0. The classes :class:`~amiproto.messaging.pjsip.PJSIP`,
:class:`~amiproto.messaging.chan_sip.SIP` and :class:`~amiproto.messaging.xmpp.XMPP` name the
versions.

``pjsip:`` (res_pjsip_messaging)
    ``to`` is ``pjsip:endpoint``, ``pjsip:endpoint/aor``, ``pjsip:endpoint/sip:user@host``,
    ``pjsip:PJSIP/user@endpoint`` (a number behind a trunk) or ``pjsip:sip:user@host``. The last one
    needs an endpoint named ``default_outbound_endpoint``. ``from_`` is ``sip:user@host`` or
    ``Name <sip:user@host>``. If an AOR has several contacts, one is reached. An endpoint without
    ``aors`` crashes Asterisk 22.10.
``sip:`` (chan_sip, up to Asterisk 20)
    ``to`` is ``sip:peer``, ``sip:user@peer`` or ``sip:user@host:port``. ``from_`` is
    ``Name <sip:user@host>``, ``Name <user>``, or a bare name. If a peer has this name, the phone
    sees the caller ID of the peer; otherwise the name becomes the display name.
``xmpp:`` (res_xmpp)
    ``to`` is ``xmpp:user@host``. ``from_`` is required: ``xmpp:`` and the account's section of
    xmpp.conf. Variables are not supported.
any other
    Only the rules of AMI itself are checked.

A From must not have a port, password or parameters, because both SIP drivers drop them. Spaces in
front of it are not sent.

``variables`` become headers of the SIP message. Their names are spelled as given, except that
``Content-Type`` is always spelled so. Spaces around a value are sent, and phones trim them. Names
that the driver reserves or writes itself are rejected.

``destination`` routes the message instead of ``to``, since Asterisk 16.22, 18.8 and 19.0; older
servers ignore it. ``to`` is then the To header that the phone sees, with ``pjsip:`` only.

Some settings of the server change a message in a way that no client can see. In chan_sip,
``fromuser`` and ``fromdomain`` of a peer replace what ``from_`` says, ``usereqphone`` adds
``;user=phone``, and the port is added to the host of From unless it is 5060. In pjsip,
``user_eq_phone`` of an endpoint adds ``;user=phone`` to From and To. A target with
``;transport=tcp`` is not sent, or is sent by UDP, if the endpoint is bound to a UDP transport.

Limits: a body has at most 1016 bytes, or 757 if it has line breaks or leading whitespace. A line of
the action has at most 1022 bytes, which bounds a variable, and an action has 128 lines; if there
would be more, several variables share a line. chan_sip keeps 53 variables, and a SIP message has at
most 65507 bytes. Every message is checked as it is built: see the exceptions of
:class:`MessageSend`.
``Action("MessageSend", [...])`` checks the framing only.

To add a technology, write a module with a subclass of
:class:`~amiproto.messaging.technology.Technology`, decorated with
:func:`~amiproto.messaging.technology.register`, and import the module below. Set ``name`` and
override the checks to which it adds rules; those for single variables are tables, and rules that
depend on the server's version go into ``check_server``. State at each rule the version that it was
seen on. If variables become SIP headers, derive it from ``SIPTechnology`` in the module ``_sip``.
To add a field of a message, start with the module ``fields``; a test fails until every interface
supports the field.
"""

from . import chan_sip, pjsip, xmpp  # noqa: F401  (each registers its technology)
from .fields import HEADERS, MessageFields, field_keys
from .message import MessageSend, parse_message_send, split_body
from .variables import escape_variable, parse_variables

__all__ = [
    "HEADERS",
    "MessageFields",
    "MessageSend",
    "escape_variable",
    "field_keys",
    "parse_message_send",
    "parse_variables",
    "split_body",
]
