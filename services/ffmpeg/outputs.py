"""What the tasks give. Fields of the type MediaRef are object paths; nodekit adds their URLs."""

from __future__ import annotations

from typing import Any

from nodekit import MediaRef, TaskOutput


class CompressionInfo(TaskOutput):
    """What packing came to."""

    files_count: int
    """Files in the archive."""
    original_size: int
    """Bytes of all files before packing."""
    compressed_size: int
    """Bytes of the archive."""
    compression_ratio: float
    """compressed_size / original_size."""
    compression_time: float
    """Seconds."""
    checksum: str
    """sha256 of the archive, in hex."""
    format: str
    """zip or tar.gz."""


class ExtractAudioOutput(TaskOutput):
    """The sound of a film."""

    audio_path: MediaRef
    """The audio file."""
    duration: float
    """Seconds, counted in samples."""
    sample_rate: int
    """Samples per second."""
    channels: int
    """Channels of the file."""
    codec: str
    """How it is encoded."""
    stream_index: int
    """The stream that was taken."""
    channels_in: int
    """Channels of that stream."""
    sample_rate_in: int
    """Samples per second of that stream."""
    offset_ms: float
    """By how many milliseconds the track starts after the film, or after `start`."""
    offset_kept: bool
    """true: the file begins with that much silence; false: add `offset_ms` to every time in it."""
    clipped_ratio: float
    """Share of the samples at full scale, 0 to 1; above 0.001 it is heard."""
    rms_db: float | None
    """Mean loudness in dBFS; null for digital silence."""
    warnings: list[str]
    """What is odd about the file, for people; empty for a sound one."""


class ExtractKeyframesOutput(TaskOutput):
    """Still pictures of a film."""

    keyframe_dir: MediaRef
    """The folder of the pictures `frame_0001.<format>` and so on, and of nothing else."""
    keyframe_files_count: int
    """Pictures in the folder."""
    manifest_path: MediaRef
    """A JSON file: the true time of every picture, and how its pixels relate to the film's."""
    frame_width: int
    """Pixels of each picture."""
    frame_height: int
    """Pixels of each picture."""
    video_width: int
    """Pixels of the film as it is shown: upright, with square pixels."""
    video_height: int
    """Pixels of the film as it is shown."""
    duration: float | None
    """Seconds of the film, if anything says so."""
    duplicates_dropped: int
    """Frames left out because they looked like the one before."""
    keyframe_compressed_archive_url: MediaRef | None = None
    """The archive of the pictures, an object path, when one was asked for."""
    keyframe_compression_info: CompressionInfo | None = None
    """What packing came to."""
    fallback_from_compression: bool = False
    """Whether an asked archive could not be made; the pictures are stored all the same."""
    original_error: str | None = None
    """Why not."""
    warnings: list[str]
    """What is odd about the file, for people; empty for a sound one."""


class CropSubtitleImagesOutput(TaskOutput):
    """One part of every frame of a film."""

    cropped_images_path: MediaRef
    """The folder of `00000001.jpg` and so on, or of `strips.mkv`."""
    cropped_images_files_count: int
    """Files in the folder."""
    frames_count: int
    """Frames that were cut."""
    manifest_path: MediaRef
    """A JSON file: the true time of every frame."""
    subtitle_area: list[int]
    """[x1, y1, x2, y2] that was really cut, in pixels of the film as it is shown."""
    decoder: str
    """What decoded the film: codec and place, for example `h264 (cpu)`."""
    cropped_images_uploaded_files: list[str] | None = None
    """Object paths of the first 1000 pictures, when asked for by `upload_cropped_images_to_minio`."""
    compressed_archive_url: MediaRef | None = None
    """The archive of the pictures, an object path, when one was asked for."""
    compression_info: CompressionInfo | None = None
    """What packing came to."""
    fallback_from_compression: bool = False
    """Whether an asked archive could not be made; the pictures are stored all the same."""
    original_error: str | None = None
    """Why not."""
    warnings: list[str]
    """What is odd about the file, for people; empty for a sound one."""


class SplitAudioSegmentsOutput(TaskOutput):
    """The segments of a recording."""

    audio_segments_dir: MediaRef
    """The folder of the segments and of split_info.json."""
    audio_source: str
    """The input's `audio_path`."""
    subtitle_source: str
    """The input's `subtitle_path`; without one, what was split by."""
    total_segments: int
    """Segments that were to be written."""
    successful_segments: int
    """Segments that were."""
    failed_segments: int
    """Segments that could not be encoded, or that begin behind the recording's end."""
    dropped_short_segments: int
    """Stretches shorter than `min_segment_duration`."""
    total_duration: float
    """Seconds of all written segments."""
    audio_duration: float
    """Seconds of the recording."""
    processing_time: float
    """Seconds the splitting took."""
    audio_format: str
    """The segments' format."""
    sample_rate: int
    """Samples per second."""
    channels: int
    """Channels of each segment."""
    split_info_file: MediaRef
    """The JSON file that lists every segment: times, text, speaker, file."""
    segments_count: int
    """The same as `successful_segments`."""
    speaker_summary: dict[str, dict[str, Any]]
    """Per speaker: {count, duration in seconds}; empty when no one is named."""
    compressed_archive_url: MediaRef | None = None
    """The archive of the segments, an object path, when one was asked for."""
    compression_info: CompressionInfo | None = None
    """What packing came to."""
    fallback_from_compression: bool = False
    """Whether an asked archive could not be made; the segments are stored all the same."""
    original_error: str | None = None
    """Why not."""
    warnings: list[str]
    """What is odd about the file, for people; empty for a sound one."""


class MixVoiceOverOutput(TaskOutput):
    """The film with its new voice."""

    video_path: MediaRef
    """The film: MP4, or MKV where its picture does not fit into MP4."""
    duration: float
    """Seconds."""
    loudness_lufs: float
    """Integrated loudness, measured in the file."""
    true_peak_db: float
    """Highest peak, in dBTP, measured in the file."""
    speaking_share: float
    """Share of the time that somebody speaks, 0 to 1."""
    audio_tracks: int
    """Sound tracks of the film."""
