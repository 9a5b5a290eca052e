"""A TCP proxy on the loopback that can cut, delay, stall and refuse. Its threads are daemons."""
import select
import socket
import threading
import time

from .common import free_port

CHUNK = 65536


class Proxy:
    def __init__(self, target_port, port=None):
        self.target = ("127.0.0.1", target_port)
        self.port = port or free_port()
        self.refuse = False       # new connections are closed at once
        self.delay = 0.0          # seconds before each chunk is handed on
        self.stalled = False      # nothing is handed on
        self.cut_after = None     # bytes from the server after which a connection is cut, once
        self.connections = 0      # accepted so far
        self.bytes_down = 0
        self._pairs = []
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            self.connections += 1
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client, server):
        down = 0
        try:
            while True:
                readable, _, _ = select.select([client, server], [], [], 0.5)
                if client.fileno() < 0 or server.fileno() < 0:
                    return
                while self.stalled and client.fileno() >= 0:
                    time.sleep(0.02)
                for end in readable:
                    data = end.recv(CHUNK)
                    if not data:
                        return
                    if self.delay:
                        time.sleep(self.delay)
                    if end is server:
                        down += len(data)
                        self.bytes_down += len(data)
                        if self.cut_after is not None and down >= self.cut_after:
                            self.cut_after = None
                            return
                        client.sendall(data)
                    else:
                        server.sendall(data)
        except (OSError, ValueError):
            return
        finally:
            self._shut(client, server)

    def _shut(self, *ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        with self._lock:
            self._pairs = [p for p in self._pairs if p[0] not in ends]

    def cut(self):
        """Ends all connections that are open now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return len(pairs)

    def close(self):
        self._closing = True
        self.refuse = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.cut()
