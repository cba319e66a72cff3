"""What a cluster looks like when a story fails: enough to see why without running it again."""

import subprocess

from e2e.world import World

LINES = 40
OPERATOR = ("-n", "libresh-system", "deploy/libresh-operator")


def describe(world: World) -> str:
    looks = (
        ("libresh status", lambda: world.libresh("status", check=False)),
        ("pods", lambda: world.kubectl("get", "pods,pvc", "-A", "-o", "wide", check=False)),
        ("events", lambda: tail(world.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp", check=False))),
        ("operator", lambda: tail(world.kubectl("logs", *OPERATOR, check=False))),
        *((f"log of {pod}", lambda pod=pod: log_of(world, pod)) for pod in unready(world)),
    )
    return "\n".join(f"--- {title}\n{attempt(look)}" for title, look in looks)


def attempt(look: object) -> str:
    """A cluster that does not answer must not hide the failure itself."""
    assert callable(look)
    try:
        return str(look())
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return f"cannot be had: {error}"


def unready(world: World) -> list[str]:
    """Pods that are not ready, as namespace/name."""
    template = (
        "{range .items[*]}{.metadata.namespace}/{.metadata.name} {.status.phase} "
        '{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    )
    said = attempt(lambda: world.kubectl("get", "pods", "-A", "-o", f"jsonpath={template}"))
    rows = [line.split() for line in said.splitlines()]
    return [row[0] for row in rows if len(row) == 3 and row[1] != "Succeeded" and row[2] != "True"]


def log_of(world: World, pod: str) -> str:
    namespace, _, name = pod.partition("/")
    return world.kubectl("logs", "-n", namespace, name, "--all-containers", f"--tail={LINES}", check=False)


def tail(text: str) -> str:
    return "\n".join(text.splitlines()[-LINES:])
