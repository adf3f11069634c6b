"""Speech servers of the documented forms, spoken to as they are: requests, answers, and every way in which they fail."""

from __future__ import annotations

import http.server
import io
import json
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.tts.engines.servers import CosyVoice, GptSovits
from services.tts.faults import FaultCode, TtsFault


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as GPT-SoVITS's `api_v2.py` and CosyVoice's FastAPI runtime document it."""

    seen: list[tuple[str, bytes]]
    answer: tuple[int, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, body))
        status, answer = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    """A server on a free port; `seen` and `answer` are the test's."""
    handler = type("Handler", (Server,), {"seen": [], "answer": (200, b"")})
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http_server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{http_server.server_address[1]}"  # type: ignore[attr-defined]
    yield handler
    http_server.shutdown()
    thread.join()
    http_server.server_close()


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A recording of a voice."""
    path = tmp_path / "voice.wav"
    path.write_bytes(wav(np.zeros(1600), 16_000))
    return path


def wav(samples: Any, rate: int) -> bytes:
    """Return a WAV file's bytes."""
    out = io.BytesIO()
    with wave.open(out, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        target.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def test_gptsovits_gets_its_fields_and_its_wav_is_read(server: Any, reference: Path) -> None:
    """POST /tts with the documented JSON; the rate is the answer's own."""
    server.answer = (200, wav(np.full(100, 0.5), 32_000))
    speaker = GptSovits(server.url, reference, "what it says", "zh", 10)
    samples = speaker.say("你好", 1.2)
    assert len(samples) == 100 and abs(float(samples[0]) - 0.5) < 1e-3 and speaker.sample_rate == 32_000
    path, body = server.seen[0]
    sent = json.loads(body)
    assert path == "/tts"
    assert (sent["text"], sent["text_lang"], sent["ref_audio_path"]) == ("你好", "zh", str(reference))
    assert (sent["prompt_text"], sent["media_type"], sent["speed_factor"]) == ("what it says", "wav", 1.2)


@pytest.mark.parametrize(
    ("prompt", "way"), [("what it says", "/inference_zero_shot"), ("", "/inference_cross_lingual")]
)
def test_cosyvoice_gets_a_form_with_the_reference(
    server: Any, reference: Path, prompt: str, way: str
) -> None:
    """The recording travels in the request; with what it says, and without."""
    server.answer = (200, np.full(50, 16384, "<i2").tobytes())
    samples = CosyVoice(server.url, reference, prompt, 10).say("你好", 1.0)
    assert len(samples) == 50 and float(samples[0]) == 0.5
    path, body = server.seen[0]
    assert path == way and reference.read_bytes() in body and "你好".encode() in body
    assert (b'name="prompt_text"' in body) is bool(prompt)


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (400, b'{"message": "ref_audio_path cannot be empty"}', FaultCode.ENGINE_REFUSED),
        (500, b"", FaultCode.ENGINE_REFUSED),
        (200, b"", FaultCode.ENGINE_REFUSED),
        (200, b"no wav at all", FaultCode.ENGINE_REFUSED),
    ],
)
def test_a_bad_answer_is_no_speech(
    server: Any, reference: Path, status: int, answer: bytes, code: FaultCode
) -> None:
    """Errors, nothing and nonsense are told apart from sound, with the server's own words."""
    server.answer = (status, answer)
    with pytest.raises(TtsFault) as failed:
        GptSovits(server.url, reference, "", "en", 10).say("Hello", 1.0)
    assert failed.value.code is code
    if b"ref_audio_path" in answer:
        assert "ref_audio_path cannot be empty" in failed.value.message


def test_a_server_that_is_not_there_may_come_back(reference: Path) -> None:
    """Nobody listens: the failure is retryable."""
    with pytest.raises(TtsFault) as failed:
        GptSovits("http://127.0.0.1:9", reference, "", "en", 2).say("Hello", 1.0)
    assert (failed.value.code, failed.value.retryable) == (FaultCode.ENGINE_UNREACHABLE, True)
