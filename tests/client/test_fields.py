"""A task's input on the command line, by the schema that its type publishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from yivideo_client.cli.failures import UsageError
from yivideo_client.cli.fields import as_input, input_file_field, parse, parser_of
from yivideo_client.cli.words import split_words
from yivideo_client.models import TaskType

SCHEMA = {
    "properties": {
        "video_path": {"type": "string", "description": "The film; 100 % of it."},
        "subtitle_path": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "sample_rate": {"type": "integer", "minimum": 8000, "maximum": 192_000, "default": 16_000},
        "speed": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "keep": {"type": "boolean", "default": True},
        "mode": {"$ref": "#/$defs/Mode", "default": "a"},
        "times": {"type": "array", "items": {"type": "number"}},
        "areas": {"type": "array", "items": {"$ref": "#/$defs/Area"}},
        "area": {"$ref": "#/$defs/Area"},
        "text": {"type": "string"},
    },
    "required": ["video_path"],
    "$defs": {
        "Mode": {"type": "string", "enum": ["a", "b"]},
        "Area": {"type": "object", "properties": {"x": {"type": "integer"}}},
    },
}
KIND = TaskType("node.task", "Does it.", SCHEMA, {}, ("/subtitle_path", "/video_path"))


def test_values_have_the_types_of_the_schema() -> None:
    """Text becomes what the schema says, through `$ref` and `null`; both spellings of a name are the same field."""
    words = [
        "--sample-rate",
        "8000",
        "--speed",
        "1.5",
        "--no-keep",
        "--mode",
        "b",
        "--times",
        "1",
        "--times",
        "2.5",
    ]
    assert parse(KIND, [*words, "--area", '{"x": 3}', "--text", "7"]) == {
        "sample_rate": 8000,
        "speed": 1.5,
        "keep": False,
        "mode": "b",
        "times": [1.0, 2.5],
        "area": {"x": 3},
        "text": "7",
    }
    assert parse(KIND, ["--times", "[1, 2]"]) == {"times": [1, 2]}
    assert parse(KIND, ["--areas", '{"x": 1}', "--areas", '{"x": 2}']) == {"areas": [{"x": 1}, {"x": 2}]}
    assert parse(KIND, []) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--sample_rate x", "--sample_rate: 'x' is no integer"),
        ("--speed x", "--speed: 'x' is no number"),
        ("--times [1,", "--times"),
        ("--area 3}", "--area: '3}' is no object"),
        ("--sampel_rate 3", "--sampel_rate"),
        ("--sample_rate", "expected one argument"),
    ],
)
def test_what_does_not_fit_is_named(words: str, said: str) -> None:
    """The option at fault stands in the message."""
    with pytest.raises(UsageError, match=said.replace("[", r"\[").replace("}", r"\}")):
        parse(KIND, words.split())


def test_local_files_are_told_from_paths_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`@` names a local file anywhere; a path field's value is one where it exists here; all else is the server's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.srt").write_text("")
    assert parse(KIND, ["--subtitle_path", "a.srt"]) == {"subtitle_path": Path("a.srt")}
    assert parse(KIND, ["--subtitle_path", "b.srt"]) == {"subtitle_path": "b.srt"}
    assert parse(KIND, ["--text", "a.srt"]) == {"text": "a.srt"}
    assert parse(KIND, ["--text", "@a.srt"]) == {"text": Path("a.srt")}


def test_a_file_goes_to_the_first_media_field_that_is_free() -> None:
    """A field that must be there goes before one that may; one that an option gives is not free."""
    assert input_file_field(KIND) == "video_path"
    assert input_file_field(KIND, {"video_path"}) == "subtitle_path"
    assert input_file_field(TaskType("n.t", "", {"properties": {"words_file": {}}}, {})) == "words_file"
    assert input_file_field(TaskType("n.t", "", {"properties": {"text": {}}}, {})) is None


def test_a_file_may_be_the_only_one_of_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a task takes a list of media, or a folder in its place, a file is a list of one; so is one behind its option."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_text("")
    schema = {
        "properties": {
            "images": {"type": "array", "items": {"type": "string"}},
            "images_dir": {"type": "string"},
        }
    }
    kind = TaskType("n.t", "", schema, {}, ("/images/*", "/images_dir"))
    assert input_file_field(kind) == "images"
    assert as_input(kind, "images", Path("a.png")) == [Path("a.png")]
    assert as_input(kind, "images_dir", Path("a.zip")) == Path("a.zip")
    assert parse(kind, ["--images", "a.png", "--images", "b.png"]) == {"images": [Path("a.png"), "b.png"]}


def test_an_archive_goes_where_many_files_are_taken() -> None:
    """A field that says so by its schema gets it, wherever it stands; without one, or once it is given, an archive is a file."""
    optional = {"anyOf": [{"type": "string", "x-takes": "folder"}, {"type": "null"}]}
    properties = {"images": {"type": "array", "items": {"type": "string"}}, "images_dir": optional}
    kind = TaskType("n.t", "", {"properties": properties}, {}, ("/images/*", "/images_dir"))
    assert [input_file_field(kind, path=path) for path in ("a.png", "b.ZIP", "c.tar.gz")] == [
        "images", "images_dir", "images_dir",
    ]  # fmt: skip
    assert input_file_field(kind, {"images_dir"}, "b.zip") == "images"
    assert input_file_field(KIND, path="b.zip") == "video_path"


def test_files_and_options_are_told_apart() -> None:
    """An option takes the word behind it unless it is a switch or has its value already; `--` ends the options."""
    words = ["a.mp4", "--keep", "b.mp4", "--sample_rate", "8000", "--mode=b", "c.mp4", "--", "--d.mp4"]
    assert split_words(KIND, words) == (
        ["a.mp4", "b.mp4", "c.mp4", "--d.mp4"],
        ["--keep", "--sample_rate", "8000", "--mode=b"],
    )


def test_help_shows_range_default_and_choices() -> None:
    """What the schema knows of a field is in the help, and a per cent sign does not break it."""
    shown = parser_of(KIND).format_help()
    for part in ("100 % of it. (required)", "[8000..192000] (default: 16000)", "a|b", "--no-keep"):
        assert part in shown
