"""Administrative commands on Synapse's database, for which its own API would want somebody to be logged in."""

import argparse
import sys
from datetime import UTC, datetime

import bcrypt
import psycopg2
import yaml


def read_config(path):
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def connect(config):
    """A connection to the database, with Synapse's own settings of it."""
    args = {key: value for key, value in config["database"]["args"].items() if not key.startswith("cp_")}
    return psycopg2.connect(**args | {"application_name": "libresh"})


def user_id(config, name):
    """@name:server of either spelling."""
    return name if name.startswith("@") else f"@{name}:{config['server_name']}"


def reset_password(config, name):
    """Reads the password from standard input."""
    password = sys.stdin.read().rstrip("\n")
    if not password:
        raise SystemExit("no password on standard input")
    rounds = config.get("bcrypt_rounds", 12)
    pepper = (config.get("password_config") or {}).get("pepper", "")
    hashed = bcrypt.hashpw((password + pepper).encode()[:72], bcrypt.gensalt(rounds)).decode("ascii")
    with connect(config) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE users SET password_hash = %s WHERE name = %s AND deactivated = 0", (hashed, user_id(config, name))
        )
        if cursor.rowcount != 1:
            raise SystemExit(f"there is no active account {user_id(config, name)}")
    print(f"The password of {user_id(config, name)} is changed.")


def list_users(config):
    with connect(config) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, admin, deactivated, creation_ts FROM users ORDER BY name")
        for name, admin, deactivated, created in cursor.fetchall():
            words = ["administrator"] * bool(admin) + ["deactivated"] * bool(deactivated)
            day = datetime.fromtimestamp(created, UTC).date().isoformat()
            print(f"{name}\t{day}\t{', '.join(words)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("reset-password").add_argument("name")
    commands.add_parser("list-users")
    answers = parser.parse_args()
    config = read_config(answers.config)
    if answers.command == "reset-password":
        reset_password(config, answers.name)
    else:
        list_users(config)


if __name__ == "__main__":
    main()
