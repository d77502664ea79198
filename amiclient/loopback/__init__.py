"""A fake Asterisk manager for tests: an AMI server that keeps the messages it accepts.

A fixture starts one for each test::

    import pytest
    from amiclient import ActionFailed, Client, ConnectionLost
    from amiclient.loopback import Disconnect, LoopbackServer, Received, refuse

    @pytest.fixture
    def server():
        with LoopbackServer() as server:
            yield server

    def test_success(server):
        with Client.from_url(server.url) as client:
            client.send_message(to="pjsip:alice", body="hello")
        assert server.messages == [Received("pjsip:alice", "hello")]

    def test_failures(server):
        server.script(refuse("not now"), Disconnect(after=10))
        with Client.from_url(server.url) as client:
            with pytest.raises(ActionFailed):
                client.send_message(to="pjsip:alice", body="hello")
            with pytest.raises(ConnectionLost):
                client.send_message(to="pjsip:alice", body="hello")

The user is ``loopback`` with the secret ``loopback``, unless ``users`` is given. Each connection
has a thread. Leaving the ``with`` block closes the connections and waits for the threads.

**Received messages.** ``server.messages`` has a :class:`Received` for each message that was
accepted, and ``server.actions`` has every action except Challenge and Login. Both can be cleared.

**Scripted responses.** ``server.script(...)`` takes a step for each of the next actions of one name
(MessageSend by default); after the last step, responses are as usual. ``handlers={name: step}``
sets a step for every action of a name. A step is one of:

======================  ============================================================================
``refuse(message)``     respond ``Error`` with this message
``no_response``         never respond
``Delay(seconds)``      respond as usual after a delay
``Disconnect(after)``   close the connection after this many bytes of the response
``Output(lines)``       respond to a Command with this output
``EventList(events)``   respond with a list of events
a function              take the :class:`amiproto.Action`; return the messages to send, one of the
                        above, or None for the usual response
======================  ============================================================================

An action that is refused or gets no response is not carried out. Logins work in the same way::

    server.script(Delay(2.0), refuse("Login Already In Use"), action="Login")

As on real servers, the connection is closed after ``Login Already In Use`` and ``Authentication
failed``, and stays open after other errors such as ``Asterisk is shutting down``. A client sends
Challenge in front of Login unless its ``mechanism`` is ``plain``.

**Events.** ``server.send_event(event)`` sends an event to the sessions that asked for events of its
classes, and so does the action UserEvent. The action Events, and the ``Events`` header of Login,
set the event mask as on real servers. FullyBooted follows a login whose mask has the class
``system``.

**Versions.** MessageSend and the other actions that :class:`LoopbackServer` lists get the responses
of Asterisk 22, byte for byte. ``LoopbackServer(version=11)`` and ``version=16`` behave as those
versions do; :class:`amiclient.loopback.versions.Version` lists the differences. Asterisk 22 has no
``sip:``, 11 has no ``pjsip:``, and 16 has both.

**Other languages.** ``python3 -m amiclient.loopback`` runs a server in the foreground. It prints
its address as ``AMI_URL=...``, followed by each action it receives.
"""

from .script import Delay, Disconnect, EventList, Output, Received, no_response, refuse
from .server import SECRET, USERNAME, LoopbackServer

__all__ = [
    "Delay",
    "Disconnect",
    "EventList",
    "LoopbackServer",
    "Output",
    "Received",
    "SECRET",
    "USERNAME",
    "no_response",
    "refuse",
]
