"""What the audio endpoints refuse before any task is made."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from gateway.openai.speech import ENGINES
from services.tts.inputs import GenerateSpeechInput
from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.test_access import ALICE, KEYS

SPEECH = {"model": "tts-1", "voice": "alloy", "input": "hello"}


async def test_a_missing_node_is_named(harness: Harness) -> None:
    """503 in OpenAI's form says what to start; no task and no file is made."""
    async with harness.http.post("/v1/audio/speech", json=SPEECH) as response:
        error = (await response.json())["error"]
        assert (response.status, error["type"]) == (503, "server_error")
        assert "make run nodes=tts" in error["message"] and response.headers["Retry-After"]
    async with harness.http.post("/v1/audio/transcriptions", data={"file": "x", "model": "m"}) as response:
        assert response.status == 503
        assert "make run nodes=asr" in (await response.json())["error"]["message"]
    assert harness.scheduler.tasks == {} and harness.filestore.headers == []


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"Authorization": "Bearer sk-wrong"}, 401), ({"Authorization": f"Bearer {ALICE}"}, 503)]
)  # fmt: skip
async def test_a_bearer_token_is_a_key(
    start_harness: StartHarness, headers: dict[str, str], status: int
) -> None:
    """With keys in the settings the token must be one of them."""
    async with start_harness(api_keys=KEYS) as harness:
        async with harness.http.post("/v1/audio/speech", json=SPEECH, headers=headers) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"] == "invalid_api_key") == (status, status == 401)


@pytest.mark.parametrize(
    ("change", "param"),
    [({"speed": 4}, "speed"), ({"response_format": "ogg"}, "response_format"), ({"input": ""}, "input"),
     ({"input": "x" * 4097}, "input"), ({"instructions": "sing"}, "instructions")],
)  # fmt: skip
async def test_a_bad_body_names_its_parameter(
    harness: Harness, change: dict[str, object], param: str
) -> None:
    """What is not offered is refused, not passed over."""
    async with harness.http.post("/v1/audio/speech", json={**SPEECH, **change}) as response:
        error = (await response.json())["error"]
        assert (response.status, error["param"], error["type"]) == (400, param, "invalid_request_error")


async def test_unknown_paths_have_its_body(harness: Harness) -> None:
    """Below its prefixes all errors are its own, elsewhere none."""
    async with harness.http.get("/v1/audio/nothing") as response:
        assert (response.status, set(await response.json())) == (404, {"error"})
    async with harness.http.get("/v1/nothing") as response:
        assert response.content_type == "application/problem+json"


async def test_it_is_described_by_itself(harness: Harness) -> None:
    """Its document names its routes and its error body."""
    async with harness.http.get("/v1/audio/openapi.json") as response:
        document = await response.json()
    assert "/v1/audio/speech" in document["paths"] and "OpenAiError" in document["components"]["schemas"]


def test_every_engine_of_the_speaking_node_is_a_model() -> None:
    """Whatever a task may name as its engine, a client of this surface may name as its model."""
    (engines,) = [
        get_args(annotation)
        for name, annotation in get_type_hints(GenerateSpeechInput).items()
        if name == "engine"
    ]
    assert set(ENGINES) == set(engines) - {"auto"}
