"""The settings section `node`: what one replica of any node can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from nodekit.gpu.settings import GpuSection
from nodekit.media_ref import MediaKind
from runtime.settings import ProcessSettings, Section

_MIB = 1024 * 1024


class NodeSection(Section):
    """One replica of a node."""

    slots: int = Field(0, ge=0, le=256)
    """Attempts it runs at once; 0: what the node declares."""
    filestore: str = ""
    """Address of FileService; empty: the node works alone and stores into `output_root`."""
    output_root: Path = Path("yivideo-outputs")
    """Folder that outputs are stored in when there is no filestore; object paths are relative to it."""
    work_root: Path | None = None
    """Folder for scratch files and the media cache, used by one replica at a time; unset: a temporary one, removed at the end."""
    allowed_roots: tuple[Path, ...] = (Path("/share"),)
    """Folders whose files an input may name by absolute path."""
    share_root: str = Field("/share", pattern=r"^/[^/]+(/[^/]+)*$")
    """Root of shared paths in clients' words. A path below it that is no file of this machine names the object of the same path
    without it, as it does where the gateway deletes folders (`gateway.share_root`)."""
    egress_allow: tuple[str, ...] = ()
    """Addresses, networks or host names (each with or without `:port`) that an input's URL may name besides public ones."""
    image_limit_mib: float = Field(50, gt=0)
    """Largest image that is fetched."""
    audio_limit_mib: float = Field(100, gt=0)
    """Largest audio file that is fetched."""
    video_limit_mib: float = Field(500, gt=0)
    """Largest video that is fetched."""
    archive_limit_mib: float = Field(500, gt=0)
    """Largest archive, and largest folder of objects, that is fetched."""
    other_limit_mib: float = Field(50, gt=0)
    """Largest subtitle, text or data file that is fetched."""
    directory_limit_files: int = Field(20_000, ge=1)
    """Most files that an archive or a folder of objects may hold."""
    cache_mib: float = Field(2048, ge=0)
    """Bytes of fetched media that are kept for later tasks; 0: none."""
    download_timeout_seconds: float = Field(900, gt=0)
    """Longest time that fetching one file may take, all resumptions together."""
    bulk_threshold_mib: float = Field(8, ge=0)
    """Files of at least this size move by presigned URL, past filestore, where the store is an S3."""
    url_expires_seconds: int = Field(604_800, ge=1, le=604_800)
    """How long the URLs in a result work."""
    heartbeat_seconds: float = Field(5, gt=0, le=60)
    """How often a watcher hears that an attempt is alive, and a WatchNode stream repeats itself."""
    orphan_seconds: float = Field(15, gt=0, le=3600)
    """How long an attempt goes on while nobody watches it."""
    frozen_seconds: float = Field(10, ge=0, le=3600)
    """A node whose event loop stands still for this long (stopped, suspended, blocked by a task that does not await) is killed
    with all that it started, because the scheduler is about to give its work to another; 0: never, for debuggers. The scheduler's
    `lost_seconds` rests on this and on `orphan_seconds`."""
    kill_grace_seconds: float = Field(5, ge=0, le=60)
    """Time between SIGTERM and SIGKILL when a task is stopped and the request does not say."""
    retain_seconds: float = Field(600, ge=0)
    """How long an ended attempt is kept until its terminal event was read; afterwards it is kept for at most 60 s more."""
    max_events: int = Field(1000, ge=16, le=100_000)
    """Events kept of one attempt."""
    max_workers: int = Field(0, ge=0, le=256)
    """Worker processes at once; 0: two for each slot."""
    threads: int = Field(0, ge=0, le=1024)
    """Threads that numeric libraries in one worker process use; 0: the cores of this process, shared out among its slots."""
    worker_growth_mib: float = Field(1024, ge=0)
    """A worker process is ended after a call, and a new one started, when it has grown by more than this since its model was loaded
    or its first call ended: native engines leak. 0: never."""
    worker_max_calls: int = Field(0, ge=0)
    """A worker process is ended after so many calls; 0: never."""
    worker_idle_seconds: float = Field(300, ge=0)
    """How long a worker process without work is kept warm."""

    def limit_bytes(self, kind: MediaKind) -> int:
        """Return the largest size of an input of this kind; a file whose kind is not known may be as large as a video."""
        match kind:
            case MediaKind.IMAGE:
                limit = self.image_limit_mib
            case MediaKind.AUDIO:
                limit = self.audio_limit_mib
            case MediaKind.VIDEO | MediaKind.UNKNOWN:
                limit = self.video_limit_mib
            case MediaKind.ARCHIVE:
                limit = self.archive_limit_mib
            case _:
                limit = self.other_limit_mib
        return int(limit * _MIB)


class NodeSettings(ProcessSettings):
    """Settings of a node's process."""

    node: NodeSection = NodeSection()
    """The replica."""
    gpu: GpuSection = GpuSection()
    """Its GPUs."""
