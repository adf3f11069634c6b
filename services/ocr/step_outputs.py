"""What the origin system's four steps give, and the task that reads pictures."""

from __future__ import annotations

from typing import Literal

from nodekit import MediaRef, TaskOutput


class FoundZone(TaskOutput):
    """A place where subtitles stand."""

    area: list[int]
    """[x1, y1, x2, y2], the second corner outside, in pixels of the pictures."""
    confidence: float
    """Share of its texts that are in line with each other, 0 to 1."""
    orientation: Literal["horizontal", "vertical"]
    """Rows or columns."""
    alignment: str
    """center, left or right; of columns also top."""
    lines: int
    """Rows, or columns, in one picture at most."""
    font_height: int
    """Pixels of a row of letters."""


class DownloadedPictures(TaskOutput):
    """What was fetched from a URL."""

    total_files: int
    """Pictures in it."""
    downloaded_files_count: int
    """Pictures that were fetched."""
    downloaded_local_dir: str
    """The name of the folder; it is gone when the attempt ends."""
    original_url: str
    """As it was given."""


class DetectSubtitleAreaOutput(TaskOutput):
    """Where subtitles stand."""

    subtitle_area: list[int]
    """[x1, y1, x2, y2] of the likeliest zone, in pixels of the pictures; the lower third where texts are in no zone."""
    zones: list[FoundZone]
    """All zones, the likeliest first."""
    confidence: float
    """Of `subtitle_area`; 0: the lower third was taken."""
    detection_confidence: float
    """The same, under the origin's other name."""
    detection_method: Literal["zones", "fallback"]
    """Whether a zone was found."""
    static_text: list[list[int]]
    """[x1, y1, x2, y2] of text that most pictures show: logos, channel marks."""
    keyframes_analyzed: int
    """Pictures that were looked at."""
    unreadable_files: list[str]
    """Files that are no pictures, or not of the others' size; the first hundred."""
    input_source: Literal["parameter", "url_download"]
    """Where the pictures came from."""
    downloaded_keyframes_dir: str | None = None
    """For a URL: the name of the folder; it is gone when the attempt ends."""
    url_download_result: DownloadedPictures | None = None
    """For a URL: what was fetched."""
    engine: str
    """What has looked."""
    engine_reason: str
    """Why it was taken."""
    engine_models: str
    """Its networks, detector and recogniser."""


class CreateStitchedImagesOutput(TaskOutput):
    """Strips put together."""

    multi_frames_path: MediaRef
    """The folder of `mf_00000001.jpg` and so on."""
    manifest_path: MediaRef
    """The JSON file that says where each frame's strip lies."""
    multi_frames_minio_url: MediaRef
    """The folder again, by the origin's name."""
    manifest_minio_url: MediaRef
    """The manifest again, by the origin's name."""
    stitched_images_count: int
    """Pictures that were written."""
    frames_count: int
    """Strips in them."""


class PerformOcrOutput(TaskOutput):
    """What strips say."""

    ocr_results_path: MediaRef
    """The JSON file `{"<frame>": [text, [[x, y] × 4]]}`, boxes in pixels of the strip; frames without text are left out."""
    ocr_results_minio_url: MediaRef
    """The file again, by the origin's name."""
    ocr_results_count: int
    """Frames with text."""
    frames_count: int
    """Frames that were read."""
    engine: str
    """What has read."""
    engine_reason: str
    """Why it was taken."""
    engine_models: str
    """Its networks, detector and recogniser."""
    detector_calls: int
    """Runs of the detector's network; one sees many strips."""
    recogniser_calls: int
    """Runs of the recogniser; one reads many lines."""


class PostprocessAndFinalizeOutput(TaskOutput):
    """Subtitles."""

    srt_file: MediaRef | None
    """SubRip; null: there is no subtitle."""
    json_file: MediaRef | None
    """`{id, startTime, endTime, text, bbox, frameRange}` of each; null: there is no subtitle."""
    subtitles_count: int
    """Subtitles; 0 is no error."""


class TextLine(TaskOutput):
    """One line of text in a picture."""

    text: str
    """What it says."""
    confidence: float
    """0 to 1, as the engine says."""
    bbox: list[int]
    """[x1, y1, x2, y2] in pixels of the upright picture."""


class PictureText(TaskOutput):
    """What one picture says."""

    name: str
    """The file's name."""
    text: str
    """Its lines, one below the other; empty where there is no text."""
    lines: list[TextLine]
    """At most 200 lines; the file has all."""
    error: str | None
    """Why it could not be read; null: it was."""


class ReadImagesOutput(TaskOutput):
    """What pictures say."""

    json_file: MediaRef
    """All pictures with all lines."""
    images: list[PictureText]
    """The first hundred pictures."""
    images_count: int
    """Pictures that were read."""
    engine: str
    """What has read."""
    engine_reason: str
    """Why it was taken."""
    engine_models: str
    """Its networks, detector and recogniser."""
