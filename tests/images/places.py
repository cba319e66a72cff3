"""A fake of the API server for what errands give back: it takes server-side apply of one Secret, and keeps it."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from errands import Errands

from support.apiserver import Authority

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN = "of-the-pod"


class Place:
    """The Secret `team/given`. Who applies to it gives all of it, as field managers do."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self.annotations: dict[str, str] = {}
        self.refuses: int | None = None
        """The status that whoever really writes is answered with; on trial all is well."""
        self.trials = 0
        folder = Path(tempfile.mkdtemp())
        self.authority = Authority(folder)
        certificate, key = self.authority.issue("api", server=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_for(self))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def show(self, errands: Errands) -> None:
        """Lets an errand's pod know of it, as Kubernetes does."""
        errands.running.volume(ACCOUNT, {"token": TOKEN, "ca.crt": self.authority.file.read_text()})
        errands.volumes = [*errands.volumes, ACCOUNT]
        port = str(self.server.server_address[1])
        errands.env |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}
        errands.env["LIBRESH_GIVES"] = "team/given"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> int:
        """What the API server would say, and do."""
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        place = "/api/v1/namespaces/team/secrets/given"
        if request.headers["Authorization"] != f"Bearer {TOKEN}" or parts.path != place:
            return 403
        if request.headers["Content-Type"] != "application/apply-patch+yaml" or "fieldManager" not in query:
            return 415
        if query.get("dryRun") == ["All"]:
            self.trials += 1
            return 200
        if self.refuses:
            return self.refuses
        self.data = {key: base64.b64decode(value).decode() for key, value in body.get("data", {}).items()}
        self.annotations = body["metadata"].get("annotations", {})
        return 200


def handler_for(place: Place) -> Any:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            self.send_response(place.answer(self))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
