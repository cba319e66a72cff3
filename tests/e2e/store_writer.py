"""Runs in a pod beside the store, out of its image: puts ten objects a second, one by one, each over a connection of
its own (so that every member meets some), and says which were acknowledged. The Service's address is looked up once.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import os
import socket
import sys
import time

EVERY = 0.1
CONNECTING, ANSWERING = 2, 15
"""Seconds after which a connection, an answer is given up."""


def main(run: str) -> None:
    address, number = socket.gethostbyname(os.environ["DB_HOST"]), 0
    while True:
        began = time.monotonic()
        number += 1
        try:
            put(address, f"/{os.environ['DB_BUCKET']}/{run}/{number}", f"{run} {number}".encode())
            say(number=number, at=time.monotonic(), acknowledged=True)
        except (OSError, http.client.HTTPException) as error:
            say(number=number, at=time.monotonic(), acknowledged=False, error=f"{type(error).__name__}: {error}")
        time.sleep(max(0.0, EVERY - (time.monotonic() - began)))


def put(address: str, path: str, body: bytes) -> None:
    server = http.client.HTTPConnection(address, int(os.environ["DB_PORT"]), timeout=CONNECTING)
    try:
        server.connect()
        server.sock.settimeout(ANSWERING)
        server.request("PUT", path, body, signed(path, body))
        answer = server.getresponse()
        said = answer.read()
    finally:
        server.close()
    if answer.status != 200:
        raise http.client.HTTPException(f"{answer.status} {said[:200].decode(errors='replace')}")


def signed(path: str, body: bytes) -> dict[str, str]:
    """The headers of a PUT with an AWS Signature Version 4, as every S3 client sends them."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": os.environ["DB_HOST"], "x-amz-content-sha256": sha256(body), "x-amz-date": now}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"PUT\n{path}\n\n{lines}\n{names}\n{sha256(body)}"
    scope = f"{now[:8]}/{os.environ['DB_REGION']}/s3/aws4_request"
    key = f"AWS4{os.environ['DB_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{sha256(request.encode())}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={os.environ['DB_ACCESS_KEY_ID']}/{scope}"
    return headers | {
        "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}",
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
