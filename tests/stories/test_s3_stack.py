"""The whole stack over a real S3 server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from stack.demo.film import Film
from tests.s3.radosgw import S3Server
from tests.stories.conftest import running_stack
from yivideo_client import AsyncClient

pytestmark = pytest.mark.s3


async def test_a_task_over_s3(
    s3_server: S3Server, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upload, run, presigned download and delete work with files in S3, named by the MINIO_* variables."""
    for name, value in {
        **s3_server.environment(),
        "MINIO_PUBLIC_ENDPOINT": f"http://{s3_server.host}:{s3_server.port}",
        "YIVIDEO_FILESTORE__DEFAULT_BUCKET": "story",
    }.items():
        monkeypatch.setenv(name, value)
    with running_stack(tmp_path / "run") as stack:
        async with AsyncClient(stack.url) as client:
            uploaded = await client.files.upload(film.video, "films/one.mp4")
            assert uploaded.bucket == "story"
            async with (
                aiohttp.ClientSession() as outside,
                outside.get(uploaded.raw["download_url"]) as response,
            ):
                assert response.status == 200
                assert len(await response.read()) == film.video.stat().st_size
            await client.tasks.submit(
                "ffmpeg.extract_audio", {"video_path": "films/one.mp4"}, task_id="over-s3"
            )
            last = [event async for event in client.tasks.watch("over-s3")][-1]
            assert last.name == "completed", last
            output = (await client.tasks.wait("over-s3")).output
            assert output["audio_path"] == "over-s3/one.wav"
            target = tmp_path / "one.wav"
            assert await client.files.download(output["audio_path"], target) > 100_000
            probe = [sys.executable, "-c", f"import wave; print(wave.open({str(target)!r}).getframerate())"]
            assert subprocess.run(probe, check=True, capture_output=True, text=True).stdout.strip() == "16000"
            report = await client.tasks.delete("over-s3")
            assert {part["resource"]: part["status"] for part in report["results"]}["minio"] == "deleted"
