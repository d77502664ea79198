# mypy: ignore-errors
"""The codec in a Twisted protocol: thirty lines; run with a port, a user, a secret and a count."""

import os
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from amiproto import NEED_DATA, ActionResult, EndOfStream, LoggedIn, MessageSend, Session


class AMI(Protocol):
    def __init__(self, username, secret):
        self.session = Session(username, secret, entropy=os.urandom(16))
        self.logged_in, self.waiting = Deferred(), {}

    def send(self, message):
        action = self.session.send(message)
        self.transport.write(action.wire)
        self.waiting[action.action_id] = Deferred()
        return self.waiting[action.action_id]

    def dataReceived(self, data):
        self.session.receive_data(data)
        self.work()

    def connectionLost(self, reason):
        self.session.receive_eof()
        self.work()

    def work(self):
        while True:
            event = self.session.next_event()
            self.transport.write(self.session.data_to_send())
            if event is NEED_DATA or isinstance(event, EndOfStream):
                return
            if isinstance(event, LoggedIn):
                self.logged_in.callback(self)
            elif isinstance(event, ActionResult):
                self.waiting.pop(event.action_id).callback(event)


def main(port, username, secret, count):
    answers = []

    def sent(answer):
        answers.append(answer.response.name)

    def talk(protocol):
        messages = [MessageSend("pjsip:a", f"number {number}\n") for number in range(int(count))]
        return gatherResults([protocol.send(each).addCallback(sent) for each in messages])

    def end(failure):
        print(failure or f"{len(answers)} {' '.join(set(answers))}")
        reactor.stop()

    protocol = AMI(username, secret)
    connected = connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", int(port)), protocol)
    connected.addCallback(lambda _: protocol.logged_in).addCallback(talk)
    connected.addCallback(lambda _: None).addBoth(end)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
