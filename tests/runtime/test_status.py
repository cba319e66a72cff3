"""What is written of a status."""

from libresh.runtime import status


def test_what_the_api_server_would_drop_is_not_written() -> None:
    given = {"a": None, "b": [], "c": {"d": [], "e": 1}, "f": [{"g": None}]}
    assert status.without_nothing(given) == {"c": {"e": 1}, "f": [{}]}


def test_an_empty_list_in_what_a_class_says_stays() -> None:
    given = {"parameters": {"users": {"app": []}, "none": None}, "capabilities": []}
    assert status.without_nothing(given) == {"parameters": {"users": {"app": []}}}
