"""Where a reading goes on, which zones it looks at, and how pictures are ordered."""

from __future__ import annotations

import numpy as np
import pytest

from media.faults import MediaFault
from media.geometry import Region, Size
from services.ocr.by_script import share_of
from services.ocr.checkpoints import from_checkpoint, to_checkpoint
from services.ocr.cue import ReadLine
from services.ocr.engine import Box, Runs
from services.ocr.picture_files import natural
from services.ocr.reading_items import Position
from services.ocr.view import GAP_ROWS, View, given


def test_a_checkpoint_says_what_it_was_told_and_to_its_own_work_alone() -> None:
    """Everything comes back; another film, or options, begins at the beginning; a damaged one too."""
    line = ReadLine(1.0, 2.04, "你好", " 你 好", 0.9876, Box(1, 2, 3, 4))
    position = Position(60.04, (line,), ((Box(5, 6, 7, 8), 59.0),), ((0, 0, 9, 9),), 1500, Runs(1, 2, 3, 4))
    saved = to_checkpoint(position, "mine")
    assert from_checkpoint(saved, "mine") == position
    assert from_checkpoint(saved, "other") == Position()
    assert from_checkpoint({**(saved or {}), "read": "?"}, "mine") == Position()


def test_a_checkpoint_that_has_no_room_is_not_saved() -> None:
    """Random letters do not pack: past 64 KiB there is none."""
    letters = np.random.default_rng(1).integers(0x4E00, 0x9FFF, (2000, 40))
    lines = tuple(ReadLine(1, 2, "".join(map(chr, row)), "x", 0.9, Box(0, 0, 1, 1)) for row in letters)
    assert to_checkpoint(Position(60, lines), "mine") is None


def test_a_box_in_a_strip_of_several_zones_lies_where_it_is_in_the_picture() -> None:
    """What the strip shows at the box is what the picture shows at the box's place."""
    picture = np.random.default_rng(2).integers(0, 255, (200, 300)).astype(np.uint8)
    view = View((Region(0, 10, 300, 40), Region(20, 150, 200, 50)))
    strip = view.strip(picture)
    assert strip.shape == (40 + GAP_ROWS + 50, 300)
    box = Box(30, 40 + GAP_ROWS + 5, 60, 40 + GAP_ROWS + 25)
    there = view.in_picture(box)
    assert (there.left, there.top) == (50, 155)
    shown = strip[box.top : box.bottom, box.left : box.right]
    assert np.array_equal(shown, picture[there.top : there.bottom, there.left : there.right])


def test_an_area_without_pixels_is_refused() -> None:
    """A given area is cut to the picture, and must have eight pixels each way there."""
    assert given([(0, 100, 9999, 9999)], Size(300, 200)).zones == (Region(0, 100, 300, 100),)
    with pytest.raises(MediaFault):
        given([(0, 195, 300, 300)], Size(300, 200))


def test_files_are_ordered_as_people_count() -> None:
    """2 comes before 10."""
    assert sorted(["f10.jpg", "f2.jpg", "a.jpg"], key=natural) == ["a.jpg", "f2.jpg", "f10.jpg"]


def test_the_script_of_a_text_is_told_by_its_letters() -> None:
    """Digits and punctuation do not count."""
    assert share_of("Это было 20 лет назад!", "CYRILLIC") == 1
    assert share_of("3TO 6bIJIO", "CYRILLIC") == 0
    assert share_of("문을 닫아 OK", "HANGUL") == pytest.approx(4 / 6)
