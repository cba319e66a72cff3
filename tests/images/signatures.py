"""Checks a DKIM signature as a receiving server does (RFC 6376, relaxed canonicalization, rsa-sha256), without DNS."""

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

NAME = "dkim-signature"
Headers = list[tuple[str, str]]


def split(message: str) -> tuple[Headers, str]:
    """The headers, unfolded names and folded values, and the body, with the line ends of mail on its way."""
    head, _, body = message.replace("\r\n", "\n").partition("\n\n")
    lines = re.split(r"\n(?![ \t])", head)
    headers = [(name, value) for name, _, value in (line.partition(":") for line in lines)]
    return headers, body.replace("\n", "\r\n")


def tags_of(message: str) -> dict[str, str]:
    """What the first signature says; nothing where there is none."""
    for name, value in split(message)[0]:
        if name.lower() == NAME:
            pairs = (part.split("=", 1) for part in value.split(";") if "=" in part)
            return {key.strip(): re.sub(r"\s", "", said) for key, said in pairs}
    return {}


def relaxed(name: str, value: str) -> str:
    """A header as section 3.4.2 has it."""
    said = re.sub(r"[ \t\r\n]+", " ", value).strip()
    return f"{name.lower().strip()}:{said}"


def body_hash(body: str) -> str:
    """Section 3.4.4: white space within lines is one space, none at their ends, no empty lines at the end."""
    lines = [re.sub(r"[ \t]+", " ", line).rstrip(" ") for line in body.split("\r\n")]
    text = "\r\n".join(lines).rstrip("\r\n")
    return base64.b64encode(hashlib.sha256((text + "\r\n" if text else "").encode()).digest()).decode()


def signed_text(message: str, tags: dict[str, str]) -> str:
    """Section 3.7: the headers that are named, each name's last one first, then the signature without its own value."""
    left, found = split(message)[0], []
    for wanted in tags["h"].split(":"):
        at = next((at for at in reversed(range(len(left))) if left[at][0].lower() == wanted.lower()), None)
        if at is not None:
            found.append(relaxed(*left.pop(at)))
    name, value = next(each for each in split(message)[0] if each[0].lower() == NAME)
    return "\r\n".join([*found, relaxed(name, re.sub(r"(;\s*b=)[^;]*", r"\1", value))])


def is_valid(message: str, public: str) -> bool:
    """Whether the message is as it was when the owner of the key signed it. `public`: DER in base64."""
    tags = tags_of(message)
    assert (tags["a"], tags["c"]) == ("rsa-sha256", "relaxed/relaxed")
    if body_hash(split(message)[1]) != tags["bh"]:
        return False
    key = load_der_public_key(base64.b64decode(public))
    assert isinstance(key, rsa.RSAPublicKey)
    text = signed_text(message, tags).encode()
    try:
        key.verify(base64.b64decode(tags["b"]), text, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
