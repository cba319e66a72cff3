"""A web server that speaks TLS and hands everything on to one that speaks plain HTTP, as an ingress controller does."""

from __future__ import annotations

import http.client
import http.server
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

from support.apiserver import Authority

HOP = ("connection", "transfer-encoding", "keep-alive")


class Edge:
    """At a free loopback port. Answers may be changed on their way: `change(method, path, status, body)`."""

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.change: Any = None
        authority = Authority(Path(tempfile.mkdtemp()))
        self.authority = authority.file.read_text()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("edge", server=True))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def serve(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        headers |= {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": headers.get("Host", ""),
            "X-Forwarded-Port": str(self.port),
        }
        inner = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=30)
        inner.request(request.command, request.path, body, headers)
        answer = inner.getresponse()
        status, text = answer.status, answer.read()
        inner.close()
        if self.change:
            status, text = self.change(request.command, request.path, status, text)
        request.send_response(status)
        for name, value in answer.getheaders():
            if name.lower() not in (*HOP, "content-length"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)


def handler_for(edge: Edge) -> Any:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            edge.serve(self)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
