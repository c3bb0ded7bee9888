"""What the health checks connect to, and what makes their verdicts flip."""

import os
import resource
import selectors
import socket
import threading
import time

LOAD_CORE = 1
# SO_BINDTODEVICE, which Python has no name for: all of this is reachable by loopback only.
BIND_TO_DEVICE = 25


class Backends:
    """Listens on every address (0.0.0.0 for all there are) at one port and closes what connects. From `flap` on some addresses stop listening and listen again
    in turn, so that so many verdicts a second flip; half of them are down at any moment."""

    def __init__(self, addresses: list[str]):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.selector = selectors.DefaultSelector()
        self.listeners: dict[str, socket.socket] = {}
        self.port = 0
        for address in addresses:
            self._listen(address)
        self.accepted = self.flips = 0
        self.flapping: list[str] = []
        self.pause = 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def flap(self, addresses: list[str], per_second: int):
        """To be called once."""
        self.pause = 1 / per_second
        self.flapping = list(addresses)

    def close(self):
        self.over.set()
        self.thread.join()
        for listener in self.listeners.values():
            listener.close()

    def _listen(self, address: str):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, BIND_TO_DEVICE, b"lo\0")
        listener.bind((address, self.port))
        listener.listen(4096)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self.selector.register(listener, selectors.EVENT_READ)
        self.listeners[address] = listener

    def _toggle(self, address: str):
        listener = self.listeners.pop(address, None)
        if listener is None:
            self._listen(address)
        else:
            self.selector.unregister(listener)
            listener.close()

    def _run(self):
        os.sched_setaffinity(0, {LOAD_CORE})
        turn, due = None, 0.0
        while not self.over.is_set():
            if self.flapping and turn is None:
                for address in self.flapping[1::2]:
                    self._toggle(address)
                turn, due = 0, time.monotonic()
            while turn is not None and time.monotonic() >= due:
                self._toggle(self.flapping[turn % len(self.flapping)])
                self.flips += 1
                turn, due = turn + 1, due + self.pause
            wait = 0.2 if turn is None else max(0.0, due - time.monotonic())
            for key, _ in self.selector.select(wait):
                try:
                    while True:
                        key.fileobj.accept()[0].close()
                        self.accepted += 1
                except OSError:
                    pass
