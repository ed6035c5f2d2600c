"""Servers that take what is sent to them, and keep it: a webhook, and one for e-mail."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.stack.native.loopback import LOOPBACK


@contextmanager
def webhook() -> Iterator[tuple[str, list[str]]]:
    """An address, and the texts that are posted there."""
    taken: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with _served(ThreadingHTTPServer((LOOPBACK, 0), Handler)) as port:
        yield f"http://{LOOPBACK}:{port}/hook", taken


@contextmanager
def mail() -> Iterator[tuple[str, list[str]]]:
    """An address, and the e-mails that are sent there, headers included."""
    taken: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline().decode().strip():
                command = line.split()[0].upper()
                if command == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    taken.append("".join(lines))
                self.wfile.write(b"221 bye\r\n" if command == "QUIT" else b"250 good\r\n")
                if command == "QUIT":
                    return

    with _served(socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler)) as port:
        yield f"smtp://{LOOPBACK}:{port}", taken


@contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[int]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
