"""What the only member does at its start: Patroni's settings are brought up to date, then Patroni is started.

Patroni takes its settings from the configuration only when a cluster is made. It keeps them in a ConfigMap
(`<scope>-config`, the annotation `config`), and some of them only count when PostgreSQL starts: brought there before,
they count at once. Nobody else writes there while the only member is away.
"""

import json
import os
import signal
import sys
import time
import urllib.error

from libresh_member import CONFIGURATION, SERVER, SETTINGS, ask_cluster, holds


def main():
    # The first process of a container is not ended by a signal unless it says so.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    scope = json.loads(CONFIGURATION.read_text())["scope"]
    parameters = json.loads(SETTINGS.read_text())["postgresql"]["parameters"]
    until_done(lambda: bring(scope, parameters))
    os.execv(SERVER, [SERVER, str(CONFIGURATION)])


def until_done(step, *, sleep=time.sleep):
    """Without the API server Patroni could do nothing either."""
    told = ""
    while True:
        try:
            return step()
        except (OSError, ValueError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
        if reason != told:
            print(f"libresh-alone: Patroni's settings cannot be seen to yet: {reason}", file=sys.stderr, flush=True)
            told = reason
        sleep(2)


def bring(scope, parameters, *, ask=None):
    """PostgreSQL's parameters as they should be, where a cluster has settings already."""
    ask = ask or ask_cluster
    try:
        metadata = ask("GET", f"configmaps/{scope}-config")["metadata"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return  # the cluster is yet to be made, from the configuration
        raise
    settings = json.loads(metadata.get("annotations", {}).get("config") or "null")
    if settings is None or holds(settings, {"postgresql": {"parameters": parameters}}):
        return
    postgresql = settings.get("postgresql") or {}
    merged = {**postgresql, "parameters": {**(postgresql.get("parameters") or {}), **parameters}}
    text = json.dumps({**settings, "postgresql": merged})
    only_this = {"resourceVersion": metadata["resourceVersion"], "annotations": {"config": text}}
    ask("PATCH", f"configmaps/{scope}-config", {"metadata": only_this})
    print("libresh-alone: brought Patroni's settings up to date", flush=True)


if __name__ == "__main__":
    main()
