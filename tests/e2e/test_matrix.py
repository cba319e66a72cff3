"""A homeserver as people use it: accounts, log-in, rooms, media, mail, single sign-on, and what is kept shut."""

import re
import secrets
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import pytest

from e2e import mail
from e2e.kubernetes import Kube
from e2e.mail import MailBox
from e2e.matrix import CLIENT, Homeserver, Person, Refused, media_key
from e2e.storage import open_storage
from e2e.waiting import until
from e2e.web import Page, ask, open_page
from e2e.world import World

pytestmark = pytest.mark.e2e

RUN = secrets.token_hex(4)
"""Part of everybody's name: a cluster that was kept knows those of earlier runs."""
ALICE, BOB, CAROL, DORA = (f"{name}-{RUN}" for name in ("alice", "bob", "carol", "dora"))
PASSWORDS = {ALICE: "A-first-passw0rd", BOB: "B-first-passw0rd", CAROL: "C-first-passw0rd"}
PICTURE = bytes(range(256)) * 4096
"""A megabyte."""
BACK = "https://client.localhost/done"
"""Where a client wants its person sent back to after logging in elsewhere."""


@pytest.fixture(scope="module")
def accounts(world: World, example: None) -> dict[str, str]:
    """An administrator and two people, as the README tells to make them; and, once they logged in, their tokens."""
    for name, password in PASSWORDS.items():
        admin = ["--admin"] if name == ALICE else []
        words = ["exec", "matrix/chat", "register-user", *admin, "--secret-stdin", name]
        said = world.libresh(*words, given=f"{password}\n")
        assert "Success" in said
    return {}


async def known(chat: Homeserver, tokens: dict[str, str], name: str) -> Person:
    """A person, logged in once: homeservers slow down accounts that log in again and again."""
    if name not in tokens:
        tokens[name] = (await chat.log_in(name, PASSWORDS[name])).token
    return Person(chat, f"@{name}:{chat.host}", tokens[name])


@pytest.fixture
async def alice(accounts: dict[str, str], chat: Homeserver) -> Person:
    return await known(chat, accounts, ALICE)


@pytest.fixture
async def bob(accounts: dict[str, str], chat: Homeserver) -> Person:
    return await known(chat, accounts, BOB)


@pytest.fixture
async def mail_box(kube: Kube) -> AsyncIterator[MailBox]:
    url, credentials = await mail.find_viewer(kube)
    async with aiohttp.ClientSession(headers=credentials) as session:
        yield MailBox(session, url)


async def open_room(one: Person, other: Person, name: str = "Kitchen") -> str:
    room = await one.create_room(name)
    await one.invite(room, other)
    await other.join(room)
    return room


# --- accounts ------------------------------------------------------------------------------------------------


async def test_an_administrator_is_made_by_the_command_line(alice: Person, world: World) -> None:
    assert alice.user_id == f"@{ALICE}:chat.localhost"
    listed = world.libresh("exec", "matrix/chat", "list-users")
    assert re.search(rf"@{ALICE}:chat\.localhost\t.*administrator", listed)
    assert re.search(rf"@{BOB}:chat\.localhost\t[^\t]*\t\n", listed)


async def test_a_wrong_password_is_refused(accounts: dict[str, str], chat: Homeserver) -> None:
    with pytest.raises(Refused, match="403"):
        await chat.log_in(ALICE, "wrong")


async def test_nobody_makes_an_account_for_himself(chat: Homeserver) -> None:
    with pytest.raises(Refused) as refused:
        await chat.call("POST", f"{CLIENT}/register", json={"username": "eve", "password": "E-first-passw0rd"})
    assert refused.value.status == 403
    assert refused.value.body["errcode"] == "M_FORBIDDEN"


async def test_a_password_is_reset_by_the_command_line(
    accounts: dict[str, str], chat: Homeserver, world: World
) -> None:
    words = ["exec", "matrix/chat", "reset-password", "--secret-stdin", CAROL]
    world.libresh(*words, given="C-second-passw0rd\n")
    assert (await chat.log_in(CAROL, "C-second-passw0rd")).user_id == f"@{CAROL}:chat.localhost"
    with pytest.raises(Refused, match="403"):
        await chat.log_in(CAROL, PASSWORDS[CAROL])


# --- rooms ---------------------------------------------------------------------------------------------------


async def test_two_people_talk(alice: Person, bob: Person) -> None:
    before = (await bob.sync())["next_batch"]
    room = await alice.create_room("Garden")
    await alice.invite(room, bob)
    assert await bob.is_invited(room, before)
    await bob.join(room)
    since = (await bob.sync())["next_batch"]
    await alice.say(room, "The tomatoes are ripe.")
    assert await bob.hear(room, since) == ["The tomatoes are ripe."]
    await bob.say(room, "I am coming.")
    assert await alice.read(room) == ["I am coming.", "The tomatoes are ripe."]


async def test_what_was_said_is_found_again(alice: Person, bob: Person) -> None:
    room = await open_room(alice, bob)
    await bob.say(room, "Where is the rhubarb compote?")

    async def search() -> list[str]:
        return await alice.search("rhubarb")

    assert await until(search, "the message in the search") == ["Where is the rhubarb compote?"]


async def test_who_was_not_invited_stays_outside(
    accounts: dict[str, str], chat: Homeserver, alice: Person, bob: Person
) -> None:
    room = await alice.create_room("Attic")
    with pytest.raises(Refused, match="403"):
        await bob.join(room)
    with pytest.raises(Refused, match="403"):
        await bob.read(room)


# --- media ---------------------------------------------------------------------------------------------------


async def test_a_file_lies_in_the_bucket_before_it_is_acknowledged(alice: Person, bob: Person, kube: Kube) -> None:
    address = await alice.upload(PICTURE)
    bucket = await open_storage(kube, "chat", "chat-media")
    assert await bucket.read(media_key(address)) == PICTURE
    assert await bob.download(address) == PICTURE


async def test_a_file_is_served_after_its_local_copy_is_gone(
    alice: Person, bob: Person, kube: Kube, world: World
) -> None:
    address = await alice.upload(PICTURE)
    path = f"/var/lib/synapse/media/{media_key(address)}"
    pod = (await kube.pod("chat", "synapse"))["metadata"]["name"]

    def in_pod(program: str) -> str:
        return world.kubectl("exec", "-n", "chat", pod, "--", "python", "-c", program, path).strip()

    assert in_pod("import os, sys; print(os.path.getsize(sys.argv[1]))") == str(len(PICTURE))
    in_pod("import os, sys; os.utime(sys.argv[1], (0, 0))")  # as if nobody had asked for it in a long time

    async def is_gone() -> bool:
        return in_pod("import os, sys; print(os.path.exists(sys.argv[1]))") == "False"

    await until(is_gone, "the local copy to be removed", 40)
    assert await bob.download(address) == PICTURE


async def test_a_file_above_the_limit_is_refused(alice: Person) -> None:
    assert (await alice.call("GET", "/_matrix/client/v1/media/config"))["m.upload.size"] == 50_000_000
    with pytest.raises(Refused, match="413"):
        await alice.upload(bytes(50_000_001))


# --- mail ----------------------------------------------------------------------------------------------------


async def test_a_mail_address_is_confirmed_and_gives_a_new_password(
    bob: Person, chat: Homeserver, mail_box: MailBox, session: aiohttp.ClientSession
) -> None:
    where = f"{BOB}@people.localhost"
    ask_for = {"client_secret": "a-secret-of-the-client", "email": where, "send_attempt": 1}

    proof = await chat.call("POST", f"{CLIENT}/account/3pid/email/requestToken", json=ask_for)
    followed = await open_page(session, mail.link_in(await mail_box.wait_for(where)))
    assert followed.status == 200
    password = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": BOB}}
    known = {"sid": proof["sid"], "client_secret": ask_for["client_secret"]}
    added = {**known, "auth": {**password, "password": PASSWORDS[BOB]}}
    await bob.call("POST", f"{CLIENT}/account/3pid/add", json=added)
    addresses = (await bob.call("GET", f"{CLIENT}/account/3pid"))["threepids"]
    assert [each["address"] for each in addresses] == [where]

    ask_for["send_attempt"] = 2
    proof = await chat.call("POST", f"{CLIENT}/account/password/email/requestToken", json=ask_for)
    form = await open_page(session, mail.link_in(await mail_box.wait_for(where, "Password reset")))
    assert (await open_page(session, form.url, form.inputs)).status == 200
    identity = {"type": "m.login.email.identity", "threepid_creds": {**known, "sid": proof["sid"]}}
    changed = {"new_password": "B-second-passw0rd", "auth": identity}
    await chat.call("POST", f"{CLIENT}/account/password", json=changed)
    assert (await chat.log_in(BOB, "B-second-passw0rd")).user_id == bob.user_id
    with pytest.raises(Refused, match="403"):
        await chat.log_in(BOB, PASSWORDS[BOB])


# --- single sign-on ------------------------------------------------------------------------------------------


async def log_in_through_forms(session: aiohttp.ClientSession, url: str, name: str, password: str) -> Page:
    """Go through the provider's pages as a person does, until a page asks for nothing any more."""
    page = await open_page(session, url)
    for _ in range(6):
        form = dict(page.inputs)
        if urlsplit(page.url).hostname != "id.localhost":
            return page
        form |= {"login": name} if "login" in form else {}
        form |= {"password": password} if "password" in form else {}
        form |= {"answer": "accept"} if 'value="accept"' in page.text else {}
        page = await open_page(session, page.url, form)
    raise AssertionError(page.text)


async def test_a_person_logs_in_through_the_identity_provider(
    chat: Homeserver, session: aiohttp.ClientSession, kube: Kube, world: World
) -> None:
    pod = (await kube.pod("libresh-system", "identity"))["metadata"]["name"]
    password = "a long passphrase"
    person = ["--user-name", DORA, "--emails", f"{DORA}@people.localhost", "--family-name", "Dora"]
    create = ["canaille", "create", "user", *person, "--password", password]
    world.kubectl("exec", "-n", "libresh-system", pod, "--", *create)

    flows = (await chat.call("GET", f"{CLIENT}/login"))["flows"]
    providers = [each["identity_providers"] for each in flows if each["type"] == "m.login.sso"]
    assert [[each["id"] for each in found] for found in providers] == [["oidc-sso"]]

    start = f"https://chat.localhost{CLIENT}/login/sso/redirect/oidc-sso?redirectUrl={quote(BACK, safe='')}"
    page = await log_in_through_forms(session, start, DORA, password)
    back = next((link for link in page.links if link.startswith(BACK)), "")
    assert back, page.text
    token = parse_qs(urlsplit(back).query)["loginToken"][0]
    dora = await chat.enter({"type": "m.login.token", "token": token})
    assert dora.user_id == f"@{DORA}:chat.localhost"
    assert (await dora.call("GET", f"{CLIENT}/account/whoami"))["user_id"] == dora.user_id


# --- what others see -----------------------------------------------------------------------------------------


async def test_clients_and_servers_find_the_homeserver(chat: Homeserver) -> None:
    client = await chat.call("GET", "/.well-known/matrix/client")
    assert client["m.homeserver"]["base_url"] == "https://chat.localhost/"
    assert await chat.call("GET", "/.well-known/matrix/server") == {"m.server": "chat.localhost:443"}
    version = await chat.call("GET", "/_matrix/federation/v1/version")
    assert version["server"]["name"] == "Synapse"
    keys = await chat.call("GET", "/_matrix/key/v2/server")
    assert keys["server_name"] == "chat.localhost"


async def test_plain_http_leads_to_https(session: aiohttp.ClientSession) -> None:
    async with session.get("http://chat.localhost/_matrix/client/versions", allow_redirects=False) as answer:
        assert answer.status in (301, 308)
        assert answer.headers["Location"].startswith("https://chat.localhost/")


@pytest.mark.parametrize("path", ["/_synapse/admin/v1/server_version", "/_synapse/metrics", "/health"])
async def test_what_is_for_administrators_is_not_served_to_the_world(chat: Homeserver, path: str) -> None:
    with pytest.raises(Refused, match="404"):
        await chat.call("GET", path)


async def test_metrics_are_served_inside_the_cluster(kube: Kube, example: None) -> None:
    address = await kube.address("chat", "synapse", 9000)
    async with aiohttp.ClientSession() as session:
        status, text = await ask(session, "GET", f"http://{address}/_synapse/metrics")
    assert status == 200
    assert b"synapse_http_server_requests_received" in text or b"process_cpu_seconds_total" in text
