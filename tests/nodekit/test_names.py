"""Laws of names: whatever comes in, what goes to disk and to the store is harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodekit.media.names import MAX_NAME_BYTES, checked_object_path, safe_name, safe_relative
from runtime.errors import PathRefused


@given(st.text())
def test_safe_name_is_always_a_plain_file_name(text: str) -> None:
    """Any text gives a name that is no option, no hidden file, no folder, and not too long."""
    name = safe_name(text)
    assert 0 < len(name.encode()) <= MAX_NAME_BYTES
    assert name[0] not in "-."
    assert "/" not in name
    assert name.isprintable()
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a clip.mp4", "a_clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a.mp4", "a.mp4"),
        ("-y.mp4", "y.mp4"),
        (".bashrc", "bashrc"),
        ("电影.mp4", "电影.mp4"),
        ("%08d.jpg", "_08d.jpg"),
        ("", "file"),
        ("...", "file"),
        ("x" * 300 + ".mp4", "x" * 146 + ".mp4"),
    ],
)
def test_safe_name_examples(name: str, safe: str) -> None:
    """The extension stays, letters of any language stay, the rest becomes an underscore."""
    assert safe_name(name) == safe


@given(st.text())
def test_checked_path_never_leaves(text: str) -> None:
    """A path that is accepted has no part that leads elsewhere."""
    try:
        path = checked_object_path(text)
    except PathRefused:
        return
    assert not path.startswith("/")
    assert {".", "..", ""}.isdisjoint(path.split("/"))
    assert len(path.encode()) <= 1024


def test_relative_names_keep_their_folders() -> None:
    """An output may lie in folders of its task, never above them."""
    assert str(safe_relative("frames/00 01.jpg")) == "frames/00_01.jpg"
    for name in ("../x", "a/../../x", "", "/", "."):
        with pytest.raises(PathRefused):
            safe_relative(name)
