"""SHA-512 crypt: the vectors of its specification, and that hashes are kept while they fit."""

import pytest

from libresh.kube.crypt import fits, new_hash, sha512_crypt

VECTORS = [
    (
        "Hello world!",
        "saltstringsaltstring",
        10000,
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (
        "This is just a test",
        "toolongsaltstring",
        5000,
        "$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0",
    ),
    (
        "the minimum number is still observed",
        "roundstoolow",
        10,
        "$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX.",
    ),
]


@pytest.mark.parametrize(("password", "salt", "rounds", "hashed"), VECTORS)
def test_vectors(password: str, salt: str, rounds: int, hashed: str) -> None:
    assert sha512_crypt(password, salt, rounds) == hashed
    assert fits(password, hashed)
    assert not fits(password + "x", hashed)


def test_default_rounds_are_not_written_down() -> None:
    hashed = new_hash("päss")
    assert hashed.startswith("$6$")
    assert "rounds" not in hashed
    assert fits("päss", hashed)
    assert new_hash("päss") != hashed


@pytest.mark.parametrize("hashed", ["", "x", "$5$a$b", "$6$a", "$6$rounds=x$a$b", "$6$rounds=999999999$a$b", "$6$a$é"])
def test_what_is_no_hash_never_fits(hashed: str) -> None:
    assert not fits("x", hashed)
