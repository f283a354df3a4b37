"""A program on a terminal, as somebody in front of it sees it."""

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading


class Terminal:
    """`command` on a terminal of so many rows; its standard input may be something else."""

    def __init__(self, command, rows=24, stdin=None):
        self.master, slave = pty.openpty()
        self.resize(rows)
        self.process = subprocess.Popen(command, stdin=slave if stdin is None else stdin, stdout=slave, stderr=slave,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0))
        os.close(slave)
        os.set_blocking(self.master, False)
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.text = ""

    def resize(self, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))

    def read(self):
        try:
            self.text += self.decoder.decode(os.read(self.master, 1 << 16))
        except OSError:  # nothing new, or the program has ended
            pass
        return self.text

    def last_drawn(self):
        """The lines since the screen was erased last."""
        return re.split(r"\x1b\[2?J", self.read())[-1].strip().split("\r\n")

    def press_ctrl_c(self):
        os.write(self.master, b"\x03")

    def wait(self):
        """The exit code; all that it wrote is read by then."""
        os.set_blocking(self.master, True)
        watchdog = threading.Timer(30, self.process.kill)
        watchdog.start()
        try:
            while True:
                self.text += self.decoder.decode(os.read(self.master, 1 << 16))
        except OSError:  # whoever had the terminal is gone
            return self.process.wait()
        finally:
            watchdog.cancel()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)
        os.close(self.master)
