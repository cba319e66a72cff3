"""Starts Synapse once its database answers.

Synapse gives up at once when the database does not answer. Kubernetes would then wait longer from one try to the next,
up to five minutes, and Synapse would stay away long after the database is back.
"""

import itertools
import os
import signal
import sys
import time

import psycopg2
import yaml

PATIENCE = 240
"""Seconds; less than the startup probe has, so that the reason is in the log."""


def read_settings(paths):
    """How to reach the database, of the first configuration that says it."""
    for path in paths:
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file) or {}
        if "database" in config:
            args = config["database"]["args"]
            return {key: value for key, value in args.items() if not key.startswith("cp_")} | {"connect_timeout": 3}
    raise SystemExit(f"no database in {', '.join(paths)}")


def wait_for_database(settings, *, patience=PATIENCE, clock=time.monotonic, sleep=time.sleep):
    """Returns once a connection could be made; SystemExit after a while."""
    deadline, told = clock() + patience, None
    while True:
        try:
            psycopg2.connect(**settings).close()
            return
        except psycopg2.OperationalError as error:
            reason = str(error).strip()
        if reason != told:
            print(f"waiting for the database: {reason}", flush=True)
            told = reason
        if clock() >= deadline:
            raise SystemExit(f"the database did not answer within {patience} s: {reason}")
        sleep(1)


def main(words):
    # The first process of a container is not ended by a signal unless it says so.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    paths = [word for before, word in itertools.pairwise(words) if before == "--config-path"]
    wait_for_database(read_settings(paths))
    os.execv(sys.executable, [sys.executable, "-m", "synapse.app.homeserver", *words])


if __name__ == "__main__":
    main(sys.argv[1:])
