"""Stores to test against: a local folder always, one radosgw for the whole session when the `s3` marker is selected."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filestore.backend import Backend
from filestore.local import LocalBackend
from filestore.s3 import S3Backend
from filestore.settings import S3Section
from tests.s3 import radosgw


@pytest.fixture
def s3_section(s3_server: radosgw.S3Server) -> S3Section:
    """Settings that point at the server; small parts, so that a few MiB are a multipart upload."""
    return S3Section(
        endpoint=f"{s3_server.host}:{s3_server.port}",
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        public_endpoint=f"http://{s3_server.host}:{s3_server.port}",
        part_mib=5,
    )


@pytest.fixture
def bucket() -> str:
    """A bucket that no other test has used."""
    return f"test-{uuid.uuid4().hex[:20]}"


@pytest.fixture(params=["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.timeout(300)])])
async def backend(request: pytest.FixtureRequest, tmp_path: Path, bucket: str) -> AsyncIterator[Backend]:
    """Each backend in turn, started with an empty default bucket."""
    store: Backend = LocalBackend(tmp_path / "store")
    if request.param == "s3":
        store = S3Backend(request.getfixturevalue("s3_section"))
    await store.start(bucket)
    yield store
    await store.aclose()
