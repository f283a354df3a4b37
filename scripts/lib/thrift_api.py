"""A Thrift client of the master, from thrift/millrace.thrift alone: what anybody could write."""

import logging
import os
import subprocess
import sys
import tempfile

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport

logging.getLogger("thrift").setLevel(logging.CRITICAL)  # who cannot connect gets an exception already
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_generated = tempfile.TemporaryDirectory(prefix="millrace-thrift-")
subprocess.run(["thrift", "--gen", "py", "-out", _generated.name, f"{ROOT}/thrift/millrace.thrift"], check=True)
sys.path.insert(0, _generated.name)

from millrace_api import Control, Ingest, Query  # noqa: E402
from millrace_api.ttypes import Failure, SubmitRequest  # noqa: E402, F401


class Api:
    """One connection; not for several threads. Use as a context."""

    def __init__(self, host, port, seconds=15):
        self.socket = TSocket(host, port)
        self.socket.setTimeout(seconds * 1000)
        self.transport = TFramedTransport(self.socket)
        self.transport.open()
        protocol = TBinaryProtocol(self.transport)
        self.control = Control.Client(TMultiplexedProtocol(protocol, "Control"))
        self.query = Query.Client(TMultiplexedProtocol(protocol, "Query"))
        self.ingest = Ingest.Client(TMultiplexedProtocol(protocol, "Ingest"))

    def close(self):
        self.transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
