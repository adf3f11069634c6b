"""What receivers get is described under `webhooks`, and what the scheduler sends fits it."""

from __future__ import annotations

from typing import Any

import aiohttp
import jsonschema_rs
import orjson
import pytest

from results.states import TERMINAL_STATES
from scheduler.callbacks.body import to_body
from tests.gateway.conftest import Harness
from tests.results.test_one_result import stored


async def validator(http: aiohttp.ClientSession, name: str) -> Any:
    """A validator of a webhook's body."""
    async with http.get("/openapi.json") as response:
        document = await response.json()
    body = document["webhooks"][name]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema_rs.validator_for({**body, "components": document["components"]})


@pytest.mark.trial("10.12")
@pytest.mark.trial("10.21")
async def test_a_callback_body_is_as_described(harness: Harness) -> None:
    """Every terminal state's body fits; its files have path, bucket and sha256; a failure has its details."""
    described = await validator(harness.http, "taskEnded")
    for state in sorted(TERMINAL_STATES):
        for public_url in ("", "http://gateway.example"):
            body = orjson.loads(to_body(stored(state), public_url=public_url))
            described.validate(body)
            assert not described.is_valid({**body, "surprise": 1})
            for file in body["minio_files"]:
                assert file["path"] and set(file) == {
                    "name",
                    "url",
                    "type",
                    "size",
                    "path",
                    "bucket",
                    "sha256",
                }
            assert ("details" in body["result"]) == (state == "failed")
    details = orjson.loads(to_body(stored("failed"), public_url=""))["result"]["details"]
    assert details == {
        "code": "MEDIA_UNREADABLE", "field": "/video_path", "retryable": False, "attempt": 1, "worker_lost_count": 0,
        "replica": "",
    }  # fmt: skip
