"""A process of another protocol version: ZMTP 3.0 by hand and thrift/wire.thrift, as far as a greeting needs them.

    +------------------+-----------------------+------------------------------+
    | greeting         | READY command         | messages of one frame        |
    | 64 bytes, NULL   | 04, size, Socket-Type | 00, size, compact Envelope   |
    +------------------+-----------------------+------------------------------+
"""

import os
import socket
import struct
import subprocess
import sys
import tempfile

from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer

from processes import ROOT

_generated = tempfile.TemporaryDirectory(prefix="millrace-wire-")
subprocess.run(["thrift", "--gen", "py", "-out", _generated.name, f"{ROOT}/thrift/wire.thrift"], check=True)
sys.path.insert(0, _generated.name)

from wire.ttypes import Body, Envelope, Header, Hello, Refused, Role  # noqa: E402

PROTOCOL = 99
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4


class OtherVersion:
    """Listens where its peers answer. Use as a context."""

    def __init__(self):
        self.process = int.from_bytes(os.urandom(7), "big")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(20)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in [*self.sockets, self.listener]:
            each.close()

    def say_hello(self, address):
        self._send(address, 0, Body(hello=Hello(role=Role.AGENT, endpoint=self.address, version="9.9.9", link=1)))

    def refuse(self, hello, reason):
        self._send(hello.body.hello.endpoint, hello.header.sender, Body(refused=Refused(reason, hello.body.hello.link)))

    def receive(self):
        """The first message of whoever connects."""
        peer, _ = self.listener.accept()
        stream = self._shake_hands(peer, b"ROUTER")
        while True:
            flags, body = self._frame(stream)
            if not flags & COMMAND:
                envelope = Envelope()
                envelope.read(TCompactProtocol(TMemoryBuffer(body)))
                return envelope

    def _send(self, address, receiver, body):
        host, port = address.rsplit(":", 1)
        stream = self._shake_hands(socket.create_connection((host, int(port)), 20), b"DEALER")
        buffer = TMemoryBuffer()
        Envelope(Header(protocol=PROTOCOL, sender=self.process, receiver=receiver), body).write(TCompactProtocol(buffer))
        stream.write(b"\x02" + struct.pack(">Q", len(buffer.getvalue())) + buffer.getvalue())
        stream.flush()

    def _shake_hands(self, peer, kind):
        peer.settimeout(20)
        self.sockets.append(peer)
        stream = peer.makefile("rwb")
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
        stream.write(GREETING + bytes([COMMAND, len(ready)]) + ready)
        stream.flush()
        stream.read(len(GREETING))
        self._frame(stream)
        return stream

    @staticmethod
    def _frame(stream):
        flags = stream.read(1)[0]
        size = struct.unpack(">Q", stream.read(8))[0] if flags & LONG else stream.read(1)[0]
        return flags, stream.read(size)
