"""SHA-512 crypt ($6$), as /etc/shadow has it: Python's own module for it is gone since 3.13.

Follows Ulrich Drepper's specification "Unix crypt using SHA-256 and SHA-512", whose test vectors are in the tests.
"""

import hashlib
import hmac
import secrets

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ROUNDS = 5000
LEAST_ROUNDS, MOST_ROUNDS = 1000, 999_999_999
MOST_CHECKED = 200_000
"""A stored hash that asks for more rounds than this is not checked: it would stop everything else."""
SALT = 16


def sha512_crypt(password: str, salt: str, rounds: int | None = None) -> str:
    """The hash of a password. `rounds` as in the setting; None for the default, which is then not written down."""
    count = ROUNDS if rounds is None else max(LEAST_ROUNDS, min(rounds, MOST_ROUNDS))
    salt = salt[:SALT]
    key, seed = password.encode(), salt.encode()
    digest = stretch(key, seed, first_digest(key, seed), count)
    written = "" if rounds is None else f"rounds={count}$"
    return f"$6${written}{salt}${encode(digest)}"


def first_digest(key: bytes, seed: bytes) -> bytes:
    """Steps 1 to 12 of the specification."""
    other = hashlib.sha512(key + seed + key).digest()
    mixed = hashlib.sha512(key + seed + repeated(other, len(key)))
    bits = len(key)
    while bits:
        mixed.update(other if bits & 1 else key)
        bits >>= 1
    return mixed.digest()


def stretch(key: bytes, seed: bytes, digest: bytes, rounds: int) -> bytes:
    """Steps 13 to 21: many rounds, so that guessing is slow."""
    long_key = repeated(hashlib.sha512(key * len(key)).digest(), len(key))
    long_salt = repeated(hashlib.sha512(seed * (16 + digest[0])).digest(), len(seed))
    for turn in range(rounds):
        odd = turn & 1
        parts = [long_key if odd else digest]
        if turn % 3:
            parts.append(long_salt)
        if turn % 7:
            parts.append(long_key)
        parts.append(digest if odd else long_key)
        digest = hashlib.sha512(b"".join(parts)).digest()
    return digest


def repeated(block: bytes, length: int) -> bytes:
    """`block` over and over, cut at `length`."""
    return (block * (length // len(block) + 1))[:length]


def encode(digest: bytes) -> str:
    """Step 22: crypt's own order and base 64."""
    text: list[str] = []
    first, second, third = 0, 21, 42
    for _ in range(21):
        text.append(group((digest[first], digest[second], digest[third]), 4))
        first, second, third = second + 1, third + 1, first + 1
    text.append(group((0, 0, digest[63]), 2))
    return "".join(text)


def group(octets: tuple[int, int, int], count: int) -> str:
    value = octets[0] << 16 | octets[1] << 8 | octets[2]
    return "".join(ALPHABET[value >> 6 * index & 63] for index in range(count))


def new_hash(password: str, rounds: int | None = None) -> str:
    """A hash with a fresh salt."""
    return sha512_crypt(password, "".join(secrets.choice(ALPHABET) for _ in range(SALT)), rounds)


def fits(password: str, hashed: str) -> bool:
    """Whether `hashed` is a SHA-512 crypt hash of `password`."""
    parts = hashed.split("$")
    if len(parts) not in (4, 5) or parts[:2] != ["", "6"]:
        return False
    rounds = None
    if len(parts) == 5:
        name, _, count = parts[2].partition("=")
        if name != "rounds" or not (count.isascii() and count.isdigit()) or int(count) > MOST_CHECKED:
            return False
        rounds = int(count)
    return hmac.compare_digest(sha512_crypt(password, parts[-2], rounds).encode(), hashed.encode())
