"""Fixtures: the node over real gRPC, and what only real weights and real recordings can show."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest
from services.asr.node import node

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media"


@pytest.fixture
def media() -> Path:
    """The folder of recordings with known truth."""
    if not MEDIA.is_dir():
        pytest.skip(f"{MEDIA} is not here")
    return MEDIA


@pytest.fixture
def base_model() -> Path:
    """Whisper base, for real."""
    store = model_store()
    if not store.has("faster-whisper-base"):
        pytest.skip("the model faster-whisper-base is not here: `make models names=faster-whisper-base`")
    return store.folder("faster-whisper-base")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asr_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node that may read the recordings; one for a module, so that its model is loaded once."""
    folder, roots = tmp_path_factory.mktemp("asr"), (MEDIA, tmp_path_factory.getbasetemp())
    async with NodeUnderTest(node, folder, allowed_roots=roots, threads=os.cpu_count() or 1) as replica:
        yield replica
