"""A model's server for nodes, configured as an operator does it: by environment and a secret file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from language_models.budget import process_budget
from language_models.settings import llm_settings
from tests.language_models.model_server import ModelServer, serving

Serve = Callable[..., AbstractAsyncContextManager[ModelServer]]


@pytest.fixture
def fresh_settings() -> Iterator[None]:
    """Settings are read anew in the test and after it."""
    for cached in (llm_settings, process_budget):
        cached.cache_clear()
    yield
    for cached in (llm_settings, process_budget):
        cached.cache_clear()


@pytest.fixture
def model_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_settings: None) -> Serve:
    """Start a server; keyword arguments in capitals are fields of the section `llm`, others are the server's."""

    @asynccontextmanager
    async def serve(**options: Any) -> AsyncIterator[ModelServer]:
        fields = {name: options.pop(name) for name in list(options) if name.isupper()}
        async with serving(**options) as server:
            own = {
                "OPENAI_COMPATIBLE__API_BASE_URL": server.base,
                "OPENAI_COMPATIBLE__MODEL": "stub",
                "OPENAI_COMPATIBLE__API_KEY_FILE": str(server.key_file(tmp_path)),
                "OPENAI_COMPATIBLE__PRICE_INPUT": "1",
                "MAX_ATTEMPTS": "1",
                "REQUESTS_PER_MINUTE": "0",
                **fields,
            }
            for name, value in own.items():
                monkeypatch.setenv(f"YIVIDEO_LLM__{name}", value)
            yield server

    return serve
