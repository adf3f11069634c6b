"""What the origin system's four steps take, and the task that reads pictures. A workflow fills what it may leave out."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from nodekit import FolderRef, MediaRef, TaskInput, examples
from services.ocr.inputs import SubtitleArea
from services.ocr.languages import Language
from services.ocr.settings import EngineName


class DetectSubtitleAreaInput(TaskInput):
    """In which pictures to look for subtitles."""

    model_config = ConfigDict(json_schema_extra=examples({"keyframe_dir": "films/first_frames/"}))

    keyframe_dir: FolderRef
    """The folder of a film's pictures (ffmpeg.extract_keyframes makes it), or an archive of them."""
    keyframe_sample_count: int | None = Field(None, ge=1, le=10_000)
    """At most so many of them, evenly spread, are looked at; null: 300."""
    engine: EngineName = "auto"
    """What looks; auto: what the node is set to, else PaddleOCR where its model folders are set, else RapidOCR."""
    auto_decompress: bool = True
    """Whether an archive is unpacked; false refuses one."""
    download_from_minio: bool = False
    """Accepted for clients of the origin system; without effect: whatever `keyframe_dir` names is fetched."""
    local_keyframe_dir: str | None = Field(None, max_length=4096)
    """Accepted for clients of the origin system; without effect: the node keeps nothing after an attempt."""


class CreateStitchedImagesInput(TaskInput):
    """Which strips to put together."""

    model_config = ConfigDict(json_schema_extra=examples({"cropped_images_path": "films/first_strips/"}))

    cropped_images_path: FolderRef
    """The folder of strips, one of each frame (ffmpeg.crop_subtitle_images makes it), or an archive of them."""
    subtitle_area: SubtitleArea | None = None
    """[x1, y1, x2, y2] that the strips show; accepted for clients of the origin system: strips are taken as they are."""
    concat_batch_size: int = Field(10, ge=1, le=100)
    """Strips in one picture."""
    auto_decompress: bool = True
    """Whether an archive is unpacked; false refuses one."""
    upload_stitched_images_to_minio: bool = True
    """Accepted for clients of the origin system; without effect, since the pictures are always stored."""
    delete_local_stitched_images_after_upload: bool = False
    """Accepted for clients of the origin system; without effect: the node keeps nothing after an attempt."""


class PerformOcrInput(TaskInput):
    """Which stitched pictures to read."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"manifest_path": "films/first_stitched.json", "multi_frames_path": "films/first_stitched/"}
        )
    )

    manifest_path: MediaRef
    """The JSON file that says where in the pictures each frame's strip lies."""
    multi_frames_path: FolderRef
    """The folder of the pictures, or an archive of them."""
    language: Language = "auto"
    """What is written there; auto: found out by script. Others than zh, en, ja and Latin need Tesseract's file of the language."""
    engine: EngineName = "auto"
    """What reads; auto: what the node is set to, else PaddleOCR where its model folders are set, else RapidOCR."""
    conf_threshold: float = Field(0.6, ge=0, le=1)
    """Lines that the engine is less sure of are left out."""
    auto_decompress: bool = True
    """Whether an archive is unpacked; false refuses one."""
    upload_ocr_results_to_minio: bool = True
    """Accepted for clients of the origin system; without effect, since the results are always stored."""
    delete_local_ocr_results_after_upload: bool = False
    """Accepted for clients of the origin system; without effect: the node keeps nothing after an attempt."""


class PostprocessAndFinalizeInput(TaskInput):
    """Which texts of frames to make subtitles of."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"ocr_results_path": "films/first_texts.json", "video_path": "films/first.mp4"}
        )
    )

    video_path: MediaRef
    """The film, for the times of its frames."""
    ocr_results_path: MediaRef | None = None
    """The file of texts by frame that paddleocr.perform_ocr has made: `{"<frame>": [text, [[x, y] × 4]]}`."""
    ocr_results_file: MediaRef | None = None
    """Another name of `ocr_results_path`."""
    manifest_file: MediaRef | None = None
    """Accepted for clients of the origin system; without effect."""
    text_similarity: float = Field(0.6, ge=0, le=1)
    """Texts of neighbouring frames that are alike by so much are one, unless both are read alike for `min_duration_seconds`."""
    min_duration_seconds: float = Field(0.2, ge=0, le=10)
    """Shorter subtitles are dropped."""
    max_gap_seconds: float = Field(1.0, ge=0, le=10)
    """The same text before and after a shorter gap is one subtitle."""
    upload_final_results_to_minio: bool = True
    """Accepted for clients of the origin system; without effect, since the files are always stored."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.ocr_results_path is None) == (self.ocr_results_file is None):
            raise ValueError("one of ocr_results_path and ocr_results_file must be given")
        return self


class ReadImagesInput(TaskInput):
    """Which pictures to read."""

    model_config = ConfigDict(json_schema_extra=examples({"images": ["films/first_frames/frame_0001.jpg"]}))

    images: Annotated[list[MediaRef], Field(min_length=1, max_length=200)] | None = None
    """Pictures, one by one."""
    images_dir: FolderRef | None = None
    """A folder of pictures, or an archive of them, in place of `images`."""
    language: Language = "auto"
    """What is written there; auto: found out by script. Others than zh, en, ja and Latin need Tesseract's file of the language."""
    engine: EngineName = "auto"
    """What reads; auto: what the node is set to, else PaddleOCR where its model folders are set, else RapidOCR."""
    conf_threshold: float = Field(0.5, ge=0, le=1)
    """Lines that the engine is less sure of are left out."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.images is None) == (self.images_dir is None):
            raise ValueError("one of images and images_dir must be given")
        return self
