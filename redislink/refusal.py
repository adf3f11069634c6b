"""What a Redis refuses for good: a password, a database, a name; and its words for it, without what it was sent."""

from __future__ import annotations

from redis.exceptions import ConnectionError  # noqa: A004

_FOR_GOOD = (
    "WRONGPASS", "NOAUTH", "NOPERM", "DENIED", "ERR AUTH ", "ERR Client sent AUTH",
    "ERR DB index", "ERR invalid DB index", "ERR value is out of range",
)  # fmt: skip
"""How answers to a greeting begin that come again and again until somebody changes a setting; others (it loads, it has too many
clients) pass."""


class Refused(ConnectionError):
    """Redis was reached and does not take us as the settings say; a start ends with it, whatever runs already tries again."""


def is_for_good(answer: str) -> bool:
    """Whether the same answer would come again."""
    return answer.startswith(_FOR_GOOD)


def in_its_words(answer: str) -> str:
    """Return the first sentence of an error answer, without the arguments that Redis repeats: a password may be among them."""
    return answer.partition(", with args")[0].partition(". ")[0].rstrip(".")
