"""What the tasks take. Times are seconds on the film's clock (see `media.probe`).

Fields of the origin system that said what to do with files on a shared disk are kept and have a defined effect
here, where outputs are always stored and scratch files always go.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from media.audio import CODECS
from nodekit import MediaRef, TaskInput, examples
from services.ffmpeg.segment_encoding import SEGMENT_FORMATS

ArchiveFormat = Literal["zip", "tar.gz"]
ArchiveLevel = Literal["fast", "default", "maximum"]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Pixel = Annotated[int, Field(ge=-100_000, le=100_000)]
SampleRate = Annotated[int, Field(ge=8_000, le=192_000)]


class ExtractAudioInput(TaskInput):
    """Which audio to take out of which video."""

    model_config = ConfigDict(
        json_schema_extra=examples({"video_path": "films/first.mp4", "sample_rate": 16000})
    )

    video_path: MediaRef
    """The video (or audio) file, in any container ffmpeg reads; playlists and scripts are refused."""
    sample_rate: SampleRate = 16_000
    """Samples per second of the file that is written; mp3 and aac allow only their own rates."""
    channels: int = Field(1, ge=1, le=2)
    """1 mixes all channels to mono, 2 to stereo."""
    codec: Literal["pcm_s16le", "flac", "aac", "mp3"] = "pcm_s16le"
    """pcm_s16le gives .wav, flac .flac, aac .m4a, mp3 .mp3."""
    stream_index: int | None = Field(None, ge=0, le=1000)
    """The stream's number in the file as ffprobe shows it; null: the first audio stream."""
    start: Seconds | None = None
    """Where to begin, in seconds; null: at time zero."""
    end: Seconds | None = None
    """Where to end, in seconds, greater than `start`; null: at the end."""
    keep_offset: bool = True
    """Whether a track that starts later than the film gets that much silence in front, so that a time in the file is
    a time in the film. false: it begins with its first sample, and `offset_ms` must be added to every time."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_rate(self.codec, self.sample_rate, CODECS[self.codec].sample_rates)
        if self.end is not None and self.end <= (self.start or 0.0):
            raise ValueError("end must be greater than start")
        return self


class ExtractKeyframesInput(TaskInput):
    """Which frames to take out of which video."""

    model_config = ConfigDict(
        json_schema_extra=examples({"video_path": "films/first.mp4", "keyframe_sample_count": 10})
    )

    video_path: MediaRef
    """The video file, in any container ffmpeg reads; playlists and scripts are refused."""
    mode: Literal["uniform", "iframe", "scene", "timestamps"] = "uniform"
    """uniform: even in time; iframe: the frames that stand alone in the stream (very fast); scene: the first frame of
    each shot; timestamps: the frames that are on the screen at `timestamps`."""
    keyframe_sample_count: int | None = Field(None, ge=1, le=100_000)
    """The most frames to keep. uniform takes exactly so many, or every frame where there are fewer; the other modes
    keep so many of those found, evenly spread. null: 100 for uniform without `fps`, else no limit."""
    fps: float | None = Field(None, gt=0, le=1000, allow_inf_nan=False)
    """For uniform: frames per second of film, in place of a count for the whole of it."""
    scene_threshold: float = Field(0.3, gt=0, lt=1)
    """For scene: how different a frame must be from the one before, 0 to 1."""
    timestamps: list[Seconds] = Field(default_factory=list, max_length=500)
    """For timestamps: the instants, in seconds."""
    max_width: int | None = Field(None, ge=16, le=16_384)
    """Wider pictures are reduced to this many pixels with their shape kept; null: never."""
    format: Literal["jpg", "webp", "png"] = "jpg"
    """The pictures' format and file extension."""
    quality: int = Field(2, ge=1, le=31)
    """1 and 2 are the best, 31 the worst; without effect on png."""
    crop: Annotated[list[Pixel], Field(min_length=4, max_length=4)] | None = None
    """[x, y, width, height] to cut out, in pixels of the upright picture with square pixels; clamped to the picture."""
    area: Literal["top_third", "middle_third", "bottom_third", "bottom_half"] | None = None
    """A named area to cut out, instead of `crop`."""
    dedup_distance: int | None = Field(None, ge=0, le=32)
    """Drop a frame whose perceptual hash (64 bits) differs by at most so many bits from the last kept one; 4 means
    alike to the eye. null: keep all."""
    autorotate: bool = True
    """Whether a picture is turned as players show it."""
    sar: Literal["apply", "keep"] = "apply"
    """apply: non-square pixels are stretched to square ones; keep: the picture is left as it is stored."""
    stream_index: int | None = Field(None, ge=0, le=1000)
    """The stream's number in the file; null: the first moving picture (a cover is none)."""
    upload_keyframes_to_minio: bool = False
    """Accepted for clients of the origin system; without effect, since the pictures are always stored."""
    compress_keyframes_before_upload: bool = False
    """Whether an archive of the pictures is stored beside them, named by `keyframe_compressed_archive_url`."""
    keyframe_compression_format: ArchiveFormat = "zip"
    """The archive's format."""
    keyframe_compression_level: ArchiveLevel = "default"
    """How hard to compress."""
    delete_local_keyframes_after_upload: bool = False
    """Accepted for clients of the origin system; without effect: the node keeps nothing after an attempt."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.mode == "timestamps") != bool(self.timestamps):
            raise ValueError("timestamps must be given for mode timestamps, and only for it")
        if self.fps is not None and self.mode != "uniform":
            raise ValueError("fps is only for mode uniform")
        if self.crop is not None and self.area is not None:
            raise ValueError("crop and area exclude each other")
        return self


class CropSubtitleImagesInput(TaskInput):
    """Which part of every frame to cut out of which video."""

    model_config = ConfigDict(
        json_schema_extra=examples({"video_path": "films/first.mp4", "subtitle_area": [0, 120, 320, 180]})
    )

    video_path: MediaRef
    """The video file, in any container ffmpeg reads; playlists and scripts are refused."""
    subtitle_area: Annotated[list[Pixel], Field(min_length=4, max_length=4)]
    """[x1, y1, x2, y2], the second corner outside of the area, in pixels of the upright picture with square pixels
    (that of full-size key frames); clamped to the picture. paddleocr.detect_subtitle_area finds it."""
    area_frame_size: (
        Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(min_length=2, max_length=2)] | None
    ) = None
    """[width, height] of the picture in which the area was measured, if that was a reduced one; null: full size."""
    output: Literal["jpg", "luma"] = "jpg"
    """jpg: one colour picture per frame, `00000001.jpg` and so on. luma: one lossless FFV1 file `strips.mkv` with the
    brightness plane of every frame, which is all that text needs, without a file per frame."""
    quality: int = Field(2, ge=1, le=31)
    """For jpg: 1 and 2 are the best, 31 the worst."""
    decode_processes: int = Field(10, ge=1)
    """How many decoders work at a time; more than 10, or than the machine has processors, count as that many. They
    are threads of one ffmpeg: the video is not cut into parts for it."""
    decoder: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to decode; the output's `decoder` says where it was done. cuda without a card that ffmpeg can use: cpu."""
    stream_index: int | None = Field(None, ge=0, le=1000)
    """The stream's number in the file; null: the first moving picture (a cover is none)."""
    upload_cropped_images_to_minio: bool = False
    """Whether the output lists the stored pictures one by one; they are stored in any case."""
    delete_local_cropped_images_after_upload: bool = False
    """Accepted for clients of the origin system; without effect: the node keeps nothing after an attempt."""
    compress_directory_before_upload: bool = False
    """Whether an archive of the pictures is stored beside them, named by `compressed_archive_url`."""
    compression_format: ArchiveFormat = "zip"
    """The archive's format."""
    compression_level: ArchiveLevel = "default"
    """How hard to compress."""


class GivenSegment(TaskInput):
    """One stretch of a recording to cut out."""

    start: Seconds
    """Seconds."""
    end: Seconds
    """Seconds, greater than `start`."""
    text: str = Field("", max_length=10_000)
    """What is said there; goes into split_info.json."""
    speaker: str | None = Field(None, max_length=64)
    """Who says it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end must be greater than start")
        return self


_NEEDS_ITS_CUTS: dict[str, Any] = {
    "if": {"properties": {"by": {"const": "subtitles"}}},
    "then": {"required": ["subtitle_path"], "properties": {"subtitle_path": {"type": "string"}}},
    "else": {
        "if": {"properties": {"by": {"const": "segments"}}},
        "then": {"required": ["segments"], "properties": {"segments": {"type": "array"}}},
    },
}
"""What says where to cut must be given: told at submit, not by a task that waited for nothing."""


class SplitAudioSegmentsInput(TaskInput):
    """Which recording to split, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            **_NEEDS_ITS_CUTS,
            **examples(
                {"audio_path": "films/first.mp4", "subtitle_path": "films/first.srt"},
                {"audio_path": "films/first.mp4", "by": "fixed", "segment_seconds": 5},
            ),
        }
    )

    audio_path: MediaRef
    """The recording; a video is good as well, its sound is taken."""
    by: Literal["subtitles", "silence", "fixed", "segments"] = "subtitles"
    """What says where to cut: the cues of `subtitle_path`, the pauses, a fixed length, or the list `segments`."""
    subtitle_path: MediaRef | None = None
    """For subtitles: SRT, WebVTT, ASS, TTML, or a JSON file of a transcription, diarization or OCR task."""
    subtitle_encoding: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,40}$")
    """The text encoding of the subtitle file, as Python names it; null: found out."""
    segments: list[GivenSegment] | None = Field(None, min_length=1, max_length=2000)
    """For segments: what to cut out."""
    segment_seconds: float = Field(30.0, ge=0.1, le=3600)
    """For fixed: the length of each segment; the last one is what remains."""
    silence_threshold: float = Field(0.04, gt=0, lt=1)
    """For silence: the share of full scale under which 10 ms count as silent."""
    min_silence_ms: int = Field(500, ge=20, le=60_000)
    """For silence: shorter pauses belong to the sound around them."""
    margin_ms: int = Field(200, ge=0, le=10_000)
    """For silence: how much of the pause on each side stays with the sound."""
    pad_ms: int = Field(0, ge=0, le=10_000)
    """Added on both sides of every segment."""
    group_by_speaker: bool = False
    """Whether the files lie in `by_speaker/<speaker>/` instead of `segments/`; cues without one go to UNKNOWN."""
    output_format: Literal["wav", "flac", "mp3", "aac", "m4a"] = "wav"
    """The segments' format and file extension."""
    sample_rate: SampleRate = 16_000
    """Samples per second; mp3, aac and m4a allow only their own rates."""
    channels: int = Field(1, ge=1, le=2)
    """1 or 2."""
    min_segment_duration: float = Field(1.0, ge=0, le=3600)
    """Segments shorter than so many seconds are dropped, and counted."""
    max_segment_duration: float = Field(30.0, ge=0.1, le=3600)
    """Longer ones are cut into parts where they are quietest; the parts share the cue's text."""
    include_silence: bool = False
    """Whether segments shorter than `min_segment_duration` are kept."""
    stream_index: int | None = Field(None, ge=0, le=1000)
    """The audio stream's number in the file; null: the first."""
    enable_concurrent: bool = True
    """Whether several encoders work at a time (wav needs none)."""
    max_workers: int = Field(8, ge=1)
    """How many; more than the machine has processors count as that many."""
    concurrent_timeout: float = Field(600, gt=0, le=86_400)
    """Seconds for the encoding of all segments; what is not done by then counts as failed."""
    upload_audio_segments_to_minio: bool = False
    """Accepted for clients of the origin system; without effect, since the segments are always stored."""
    delete_local_segments_after_upload: bool = False
    """Accepted for clients of the origin system; without effect: the node keeps nothing after an attempt."""
    compress_segments_before_upload: bool = False
    """Whether an archive of the segments is stored beside them, named by `compressed_archive_url`."""
    segment_compression_format: ArchiveFormat = "zip"
    """The archive's format."""
    segment_compression_level: ArchiveLevel = "default"
    """How hard to compress."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.by == "subtitles") != (self.subtitle_path is not None):
            raise ValueError("subtitle_path must be given for by=subtitles, and only for it")
        if (self.by == "segments") != (self.segments is not None):
            raise ValueError("segments must be given for by=segments, and only for it")
        if self.min_segment_duration > self.max_segment_duration:
            raise ValueError("min_segment_duration must not be greater than max_segment_duration")
        _check_rate(self.output_format, self.sample_rate, SEGMENT_FORMATS[self.output_format].sample_rates)
        return self


def _check_rate(name: str, sample_rate: int, allowed: frozenset[int] | None) -> None:
    if allowed is not None and sample_rate not in allowed:
        raise ValueError(
            f"{name} cannot hold {sample_rate} Hz; it can hold {', '.join(map(str, sorted(allowed)))}"
        )


class MixVoiceOverInput(TaskInput):
    """Which film gets which voice."""

    model_config = ConfigDict(
        json_schema_extra=examples({"video_path": "films/first.mp4", "voice_path": "films/voice.wav"})
    )

    video_path: MediaRef
    """The film; its picture is copied as it is."""
    voice_path: MediaRef
    """The voice, on the film's clock: `indextts.speak_lines` gives it."""
    background_path: MediaRef | None = None
    """What is heard behind it, on the film's clock, as `audio_separator.separate_vocals` leaves it; null: the film's own sound."""
    duck_db: float = Field(6.0, ge=0, le=60)
    """By how much the background steps back while somebody speaks."""
    attack_seconds: float = Field(0.15, ge=0, le=5)
    """How long before a voice begins it starts to step back."""
    release_seconds: float = Field(0.6, ge=0, le=10)
    """How long it takes to come back."""
    hold_seconds: float = Field(0.4, ge=0, le=10)
    """Pauses of the voice up to which it stays back."""
    target_lufs: float = Field(-16.0, ge=-40, le=-9)
    """Integrated loudness of the film, -16 for the web, -23 for broadcast."""
    true_peak_db: float = Field(-1.5, ge=-9, le=-0.5)
    """Highest peak before the sound is encoded, in dBTP; what encoding adds is told by the output's `true_peak_db`."""
    keep_original: bool = False
    """Whether the film's own sound stays, as a second track that viewers can choose."""
    language: str = Field("und", pattern="^[a-z]{2,3}(-[A-Za-z]{2,4})?$")
    """Language code of the voice, which the track is marked with."""
    output_filename: str = Field("", max_length=200)
    """What the film is called, without its ending; empty: `<film>_dubbed`."""
