"""A role and its database on a PostgreSQL server, made as declared or removed. Everything may be done again.

The role bears our mark (a comment that says for which claim of which cluster it is) from the moment it exists; a role
without it is somebody else's and left alone, and so is a database of another owner. The administrator need not be a
superuser: CREATEROLE and CREATEDB are enough.
"""

from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.errors import lookup

from libresh_errand.errand import CONNECT_TIMEOUT, PATIENCE, Refused, Trouble, first_line

MARK, OF_CLUSTER = "libre.sh: ", " of cluster "
WAY_OUT = "set namePrefix in a class of its own for each cluster"
OLDEST = 130000
"""Since 13 a database can be dropped although clients are connected, and extensions say that they are trusted."""
LONG = 1800
NO_SUCH_LOCALE = tuple(lookup(state) for state in ("22023", "42809", "42704"))


def provide(errand):
    with connected(errand, errand["maintenance"]) as server:
        become_alone(server, errand)
        check_version(server, errand)
        check_extensions(server, errand)
        make_role(server, errand)
        make_database(server, errand)
        set_password(server, errand)
    make_extensions(errand)


def remove(errand):
    role, database = sql.Identifier(errand["role"]), sql.Identifier(errand["database"])
    with connected(errand, errand["maintenance"]) as server:
        become_alone(server, errand)
        owner = owner_of(server, errand["database"])
        mark = mark_of(server, errand["role"])
        if mark is None:
            return  # the role goes last: there is nothing left
        check_ours(server, errand, mark, owner)
        belong(server, role)
        server.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(role))
        if owner is not None:
            server.execute(f"SET statement_timeout = '{LONG}s'")  # as long as it takes to remove many files
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        server.execute(sql.SQL("DROP OWNED BY {}").format(role))
        server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))


# --- connecting --------------------------------------------------------------------------------------------------


@contextmanager
def connected(errand, database, user=None, password=None):
    """A connection as the administrator, or as the claim's role. Names are looked up among PostgreSQL's own only,
    whatever tenants may have put into their database."""
    tls = {"sslmode": errand["tls"]}
    if errand["tls"] == "verify-full":
        tls["sslrootcert"] = errand.authority or "system"
    try:
        connection = psycopg.connect(
            host=errand["host"],
            port=errand["port"],
            dbname=database,
            user=user or errand.secret("admin-username"),
            password=password or errand.secret("admin-password"),
            connect_timeout=CONNECT_TIMEOUT,
            # A server that vanished without a word is noticed.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            application_name="libresh",
            target_session_attrs="read-write",
            autocommit=True,
            options=f"-c search_path=pg_catalog -c statement_timeout={PATIENCE}s",
            **tls,
        )
    except psycopg.Error as error:
        who = f"the new role {user}" if user else "the administrator"
        raise Trouble(f"{errand.server} does not let {who} in: {reason_of(error)}") from None
    try:
        with connection:
            yield connection
    except psycopg.Error as error:
        raise Trouble(f"{errand.server}: {said_by(error)}") from error


def reason_of(error):
    """Why a connection failed, without the address that a name happened to have this time."""
    said = first_line(error)
    for beginning in ("failed: ", "error: "):
        said = said.rpartition(beginning)[2]
    return said.removeprefix("FATAL:").strip()


def said_by(error):
    """What the server says against a statement, without the statement."""
    primary, detail = error.diag.message_primary or type(error).__name__, error.diag.message_detail
    return f"{primary} ({detail})" if detail else primary


def become_alone(server, errand):
    """Nobody else does an errand for this claim as long as the connection lasts."""
    server.execute("SELECT pg_advisory_lock(hashtextextended(%s, 7))", [errand["role"]])


# --- checking ----------------------------------------------------------------------------------------------------


def check_version(server, errand):
    number = server.info.server_version
    if number < OLDEST:
        raise Refused(f"{errand.server} is PostgreSQL {number // 10000}: 13 is the oldest that libre.sh can work with")
    if str(number // 10000) != errand["version"]:
        raise Refused(
            f"spec.parameters.version: {errand['version']} is asked for, but {errand.server} is PostgreSQL "
            f"{number // 10000}; ask for that, or name another class"
        )


def check_extensions(server, errand):
    """Before anything is made. An extension must be on the server, and be trusted or in the class's list."""
    found = server.execute("SELECT name, bool_or(trusted) FROM pg_available_extension_versions GROUP BY name")
    trusted = dict(found.fetchall())
    for name in errand["extensions"]:
        if name not in trusted:
            raise Refused(
                f"spec.parameters.extensions: {name} is not installed on {errand.server}; leave it out, or ask the "
                f"one who runs that server for it"
            )
        if not trusted[name] and name not in errand["allowed"]:
            raise Refused(
                f"spec.parameters.extensions: ServiceClass {errand['class']} does not allow {name}, which PostgreSQL "
                f"does not call trusted; leave it out, or add it to spec.parameters.extensions of the class"
            )


def mark_of(server, role):
    """The comment on a role; None where there is no such role."""
    found = server.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [role]
    ).fetchone()
    return None if found is None else found[0] or ""


def owner_of(server, database):
    found = server.execute(
        "SELECT r.rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = %s", [database]
    ).fetchone()
    return None if found is None else found[0]


def our_mark(errand):
    """What our role bears: for whom, and in which cluster."""
    return f"{MARK}{errand['for']}{OF_CLUSTER}{errand['cluster']}"


def check_ours(server, errand, mark, owner):
    """Nobody else's role or database is touched. Marks of earlier days do not say of which cluster they are."""
    ours = our_mark(errand)
    if mark is not None and mark not in (ours, MARK + errand["for"]):
        told = f"{errand.server} has a role {errand['role']} that "
        if not mark.startswith(f"{MARK}{errand['for']}{OF_CLUSTER}"):
            raise Refused(f"{told}libre.sh did not make for {errand['for']}: it is left alone; {WAY_OUT}")
        statement = comment(errand, ours).as_string(server)
        raise Refused(
            f"{told}another cluster made for its own {errand['for']} ({mark.rpartition(OF_CLUSTER)[2]}): it is left "
            f"alone; {WAY_OUT}. If that cluster is no more, this one may have it: {statement}"
        )
    if owner is not None and owner != errand["role"]:
        raise Refused(f"{errand.server} has a database {errand['database']} that belongs to {owner}: it is left alone")


# --- making ------------------------------------------------------------------------------------------------------


def make_role(server, errand):
    """The role with its mark, both or neither."""
    role, mark = sql.Identifier(errand["role"]), mark_of(server, errand["role"])
    check_ours(server, errand, mark, owner_of(server, errand["database"]))
    if mark is None:
        with server.transaction():
            server.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
            server.execute(comment(errand, our_mark(errand)))
    belong(server, role)
    if mark == MARK + errand["for"]:
        server.execute(comment(errand, our_mark(errand)))


def comment(errand, mark):
    """The statement that puts a mark on the role."""
    return sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(errand["role"]), sql.Literal(mark))


def belong(server, role):
    """Lets an administrator who is no superuser act for the role."""
    superuser = server.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()[0]
    if not superuser:
        server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))


def make_database(server, errand):
    role, database = sql.Identifier(errand["role"]), sql.Identifier(errand["database"])
    locale = errand["locale"]
    found = server.execute(
        "SELECT datcollate, datctype, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s",
        [errand["database"]],
    ).fetchone()
    if found is None:
        provider = " LOCALE_PROVIDER libc" if server.info.server_version >= 150000 else ""
        make = sql.SQL(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE {} LC_CTYPE {}" + provider
        )
        try:
            server.execute(make.format(database, role, sql.Literal(locale), sql.Literal(locale)))
        except NO_SUCH_LOCALE:
            raise Refused(
                f"spec.parameters.locale: {errand.server} has no locale {locale} for UTF-8; name one that it has"
            ) from None
    elif found != (locale, locale, "UTF8"):
        raise Refused(
            f"spec.parameters.locale: {locale} is asked for, but the database that is there has {found[0]}, {found[1]} "
            f"and {found[2]}; ask for that, or make a claim of another name and move the data to it"
        )
    # Only its owner (and superusers) may connect.
    server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def set_password(server, errand):
    """The verifier, not the password, travels: neither the server's log nor its statistics can show it."""
    name, password = errand["role"], errand.secret(errand["passwords"][-1])
    verifier = server.pgconn.encrypt_password(password.encode(), name.encode()).decode()
    server.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)),
    )


def make_extensions(errand):
    """Trusted ones as the role itself, which proves that it can log in; the others as the administrator."""
    password = errand.secret(errand["passwords"][-1])
    with connected(errand, errand["database"], errand["role"], password) as database:
        present = {row[0] for row in database.execute("SELECT extname FROM pg_extension")}
        missing = {name: about for name, about in extensions(database).items() if name in errand["extensions"]}
        missing = {name: about for name, about in missing.items() if name not in present}
        for name, (trusted, schema) in missing.items():
            if trusted:
                make_extension(database, name, schema)
    others = {name: schema for name, (trusted, schema) in missing.items() if not trusted}
    if others:
        with connected(errand, errand["database"]) as database:
            for name, schema in others.items():
                make_extension(database, name, schema)


def extensions(database):
    """What the server has: whether PostgreSQL trusts it, and the schema it has to be in, if there is one."""
    found = database.execute(
        "SELECT v.name, v.trusted, v.schema FROM pg_available_extensions e"
        " JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version"
    )
    return {name: (trusted, schema) for name, trusted, schema in found}


def make_extension(database, name, schema):
    """An extension where it belongs; `schema` is that of those that have one of their own."""
    where = sql.SQL("") if schema else sql.SQL(" SCHEMA public")
    make = sql.SQL("CREATE EXTENSION IF NOT EXISTS {}{} CASCADE").format(sql.Identifier(name), where)
    database.execute(make)
