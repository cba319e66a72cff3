"""Runs in a pod beside the database, out of the database's image: writes ten numbers a second, one by one, and says
which were acknowledged. After any error it connects anew. The address of the Service is looked up once: it does not
change, and the name server is not what is measured.
"""

import json
import os
import socket
import sys
import time

import psycopg

EVERY = 0.1
PATIENCE = {
    "connect_timeout": 2,
    # A server that is gone without a word is given up after two seconds, also in the middle of a statement.
    "tcp_user_timeout": 2000,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}


def main(run: str) -> None:
    address = socket.gethostbyname(os.environ["DB_HOST"])
    server, number = None, 0
    while True:
        began = time.monotonic()
        number += 1
        try:
            server = server or connect(address)
            server.execute("INSERT INTO written (run, number) VALUES (%s, %s)", [run, number])
            say(number=number, at=time.monotonic(), acknowledged=True)
        except psycopg.Error as error:
            say(number=number, at=time.monotonic(), acknowledged=False, error=f"{type(error).__name__}: {error}")
            if server:
                server.close()
            server = None
        time.sleep(max(0.0, EVERY - (time.monotonic() - began)))


def connect(address: str) -> "psycopg.Connection":
    names = {
        "host": "DB_HOST",
        "port": "DB_PORT",
        "user": "DB_USERNAME",
        "password": "DB_PASSWORD",
        "dbname": "DB_DATABASE",
    }
    known = {option: os.environ[name] for option, name in names.items()}
    server = psycopg.connect(**known, hostaddr=address, autocommit=True, prepare_threshold=None, **PATIENCE)
    server.execute("CREATE TABLE IF NOT EXISTS written (run text, number int, PRIMARY KEY (run, number))")
    return server


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
