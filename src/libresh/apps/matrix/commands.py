"""Administrative commands of a homeserver. They run beside Synapse; passwords reach them on standard input."""

from collections.abc import Mapping

from libresh.apps.matrix.config import CONFIG_PATH, HTTP_PORT, SYNAPSE, TOOLS_PATH
from libresh.catalog.model import Argument, Command

HOMESERVER = f"{CONFIG_PATH}/homeserver.yaml"
NAME = Argument("name", "The part before the colon: alice of @alice:example.org.")
PASSWORD = Argument("password", "The password.", secret=True)


def register_user(answers: Mapping[str, str]) -> tuple[str, ...]:
    role = "--admin" if answers.get("admin") else "--no-admin"
    name = ("--user", answers["name"], role, "--password-file", "/dev/stdin", "--config", HOMESERVER)
    return ("register_new_matrix_user", *name, f"http://localhost:{HTTP_PORT}")


def tool(*words: str) -> tuple[str, ...]:
    return ("python", f"{TOOLS_PATH}/libresh_admin.py", "--config", HOMESERVER, *words)


def reset_password(answers: Mapping[str, str]) -> tuple[str, ...]:
    return tool("reset-password", answers["name"])


def list_users(answers: Mapping[str, str]) -> tuple[str, ...]:
    return tool("list-users")


def password(answers: Mapping[str, str]) -> str:
    return answers["password"]


COMMANDS = (
    Command(
        name="register-user",
        help="Make an account.",
        component=SYNAPSE,
        argv=register_user,
        arguments=(
            NAME,
            Argument("admin", "Make it an administrator of the server.", flag=True, required=False),
            PASSWORD,
        ),
        stdin=password,
    ),
    Command(
        name="reset-password",
        help="Give an account another password. Devices that are logged in stay so.",
        component=SYNAPSE,
        argv=reset_password,
        arguments=(NAME, PASSWORD),
        stdin=password,
    ),
    Command(name="list-users", help="List the accounts.", component=SYNAPSE, argv=list_users),
)
