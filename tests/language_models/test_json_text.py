"""JSON is found wherever a model puts it, and nothing is taken for JSON that is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from language_models.json_text import NoJson, find_json
from language_models.retrying import read_retry_after
from language_models.sse import EventLines, LineTooLong

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    OBJECTS,
    st.sampled_from(
        ["{}", "Sure! {}", "```json\n{}\n```", "<think>a {{brace}}</think>\n{}", "{}\nThat is all."]
    ),
)
def test_json_is_found_in_its_wrappings(value: dict[str, Any], wrapping: str) -> None:
    """Fences, thoughts and words around an object do not matter."""
    assert find_json(wrapping.replace("{{", "[").replace("}}", "]").replace("{}", json.dumps(value))) == value


@pytest.mark.parametrize(
    "text", ["", "I cannot do that.", '{"lines": [{"id": 1', "[" * 100_000, '{"a": NaN}', "{" * 50_000]
)
def test_what_is_no_json_is_told(text: str) -> None:
    """Prose, half an object, nesting without end: no JSON, and soon."""
    with pytest.raises(NoJson):
        find_json(text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1, max_size=20)
    ),
    st.data(),
)
def test_events_come_whole_whatever_the_cuts(texts: list[str], data: st.DataObject) -> None:
    """Bytes in any pieces give the same data lines, also when a character is cut in the middle."""
    texts = [text.strip() for text in texts if text.strip()]
    raw = "".join(f": c\nevent: x\ndata: {text}\n\n" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    lines = EventLines()
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert [text for piece in pieces for text in lines.feed(piece)] == texts


def test_a_line_without_end_is_refused() -> None:
    """What is kept of an unfinished line is bounded."""
    lines = EventLines()
    with pytest.raises(LineTooLong):
        for _ in range(10):
            list(lines.feed(b"data: " + b"x" * 60_000))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("0", 0),
        ("-5", 0),
        ("1.5", 1.5),
        ("Sun, 29 Nov 2026 10:00:10 GMT", 10),
        ("soon", None),
        (None, None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both forms of the header are read; what is neither counts as absent."""
    assert read_retry_after(value, datetime(2026, 11, 29, 10, 0, 0, tzinfo=UTC)) == seconds
