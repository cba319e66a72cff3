"""Does an application answer through the edge, as a browser would ask it?"""

import http.client
import socket
import ssl
from pathlib import Path

TIMEOUT = 10.0


class EdgeConnection(http.client.HTTPSConnection):
    """HTTPS to the edge's own address: host names need not lead there yet."""

    def __init__(self, host: str, address: tuple[str, int], authority: Path) -> None:
        self.trust = ssl.create_default_context(cafile=str(authority))
        super().__init__(host, timeout=TIMEOUT, context=self.trust)
        self.address = address

    def connect(self) -> None:
        plain = socket.create_connection(self.address, TIMEOUT)
        self.sock = self.trust.wrap_socket(plain, server_hostname=self.host)


def trouble_at(host: str, address: tuple[str, int], authority: Path) -> str:
    """Why nobody useful answers at https://host, "" if somebody does."""
    connection = EdgeConnection(host, address, authority)
    try:
        connection.request("GET", "/", headers={"User-Agent": "libresh"})
        code = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"https://{host} does not answer: {error or type(error).__name__}"
    finally:
        connection.close()
    return f"https://{host} answers with {code}" if code >= 500 else ""
