"""A proxy before an S3 store that does what networks and busy stores do to a client."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.stack.native.loopback import LOOPBACK

REFUSED, STALLED, RESET, PASSED = "refused", "stalled", "reset after upload", "passed"
_STALL_SECONDS = 1.0
_CLOSED_AT_ONCE = struct.pack("ii", 1, 0)


class FaultyProxy:
    """Passes requests on, and spoils a share of them.

    Args:
        port: that of the store.
        shares: of the requests, how many are refused with 503, stalled for a second, and (uploads
            only) answered by a reset connection once the store has done them.
    """

    def __init__(self, port: int, shares: dict[str, float], seed: int = 1) -> None:
        self.told: Counter[str] = Counter()
        self._store_port = port
        self._shares = shares
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._pass_on(self)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Told by the counts."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _fate(self, method: str) -> str:
        with self._lock:
            drawn = self._random.random()
            for fate, share in self._shares.items():
                if drawn < share and (fate != RESET or method == "PUT"):
                    break
                drawn -= share
            else:
                fate = PASSED
            self.told[fate] += 1
        return fate

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        fate = self._fate(request.command)
        if fate == REFUSED:
            request.send_response(503)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if fate == STALLED:
            time.sleep(_STALL_SECONDS)
        store = http.client.HTTPConnection(LOOPBACK, self._store_port)
        # As it came, for the client has signed it.
        store.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            store.putheader(name, value)
        store.endheaders(body)
        answer = store.getresponse()
        content = answer.read()
        store.close()
        if fate == RESET:
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSED_AT_ONCE)
            request.connection.close()
            request.close_connection = True
            return
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                request.send_header(name, value)
        if "Content-Length" not in answer.headers:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
