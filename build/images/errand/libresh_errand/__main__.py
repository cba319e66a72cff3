"""libresh_errand PROGRAM TASK: the order in LIBRESH_ORDER (JSON), the secrets below /etc/libresh/errand.

Ends with 0 when it is done, 1 when it may work the next time, 3 when somebody must change something first. Why goes to
where Kubernetes looks for a container's last words.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

from libresh_errand.errand import Errand, Refused, Trouble

LAST_WORDS = Path(os.environ.get("LIBRESH_LAST_WORDS", "/dev/termination-log"))
PROGRAMS = ("postgresql", "redis", "s3", "keycloak", "registration")
TASKS = ("provide", "remove")
TROUBLE, REFUSED = 1, 3


def main(arguments):
    if len(arguments) != 2 or arguments[0] not in PROGRAMS or arguments[1] not in TASKS:
        print(f"usage: libresh_errand {'|'.join(PROGRAMS)} {'|'.join(TASKS)}", file=sys.stderr)
        return 2
    # The first process of a container is deaf to signals it did not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TROUBLE))
    program, task = arguments
    errand = Errand.given()
    try:
        getattr(importlib.import_module(f"libresh_errand.{program}"), task)(errand)
    except Refused as error:
        return say(errand, error, REFUSED)
    except Trouble as error:
        return say(errand, error, TROUBLE)
    except Exception as error:
        # Not the error's own words: nobody has looked at what they may hold.
        return say(errand, f"{errand.server}: a mistake in the program ({type(error).__name__})", TROUBLE)
    print(f"done: {program} {task} for {errand['for']} on {errand.server}")
    return 0


def say(errand, error, code):
    """Says what is wrong, to people and to Kubernetes."""
    text = errand.without_secrets(str(error))
    print(text, file=sys.stderr)
    try:
        LAST_WORDS.write_text(text)
    except OSError as problem:
        print(f"{LAST_WORDS} cannot be written: {problem.strerror}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
