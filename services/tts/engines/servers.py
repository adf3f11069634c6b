"""Speech servers that speak with a voice from a recording: GPT-SoVITS (`api_v2.py`) and CosyVoice (its FastAPI runtime), by
HTTP.
"""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
import wave
from pathlib import Path

import numpy as np

from services.tts.engines.speaker import Samples
from services.tts.faults import FaultCode, TtsFault

_COSYVOICE_RATE = 24_000
_MAX_ANSWER_BYTES = 256 << 20


class GptSovits:
    """A GPT-SoVITS server. It reads the reference by its path, so that both must see one file system."""

    sample_rate = 32_000

    def __init__(
        self, url: str, reference: Path, prompt_text: str, language: str, timeout_seconds: float
    ) -> None:
        self._url = f"{url.rstrip('/')}/tts"
        self._reference, self._prompt, self._language = reference, prompt_text, language
        self._timeout_seconds = timeout_seconds

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence."""
        body = {
            "text": sentence,
            "text_lang": self._language,
            "ref_audio_path": str(self._reference),
            "prompt_text": self._prompt,
            "prompt_lang": self._language,
            "media_type": "wav",
            "speed_factor": speed,
            "streaming_mode": False,
        }
        headers = {"Content-Type": "application/json"}
        answer = _post(self._url, json.dumps(body).encode(), headers, self._timeout_seconds)
        samples, self.sample_rate = _from_wav(answer)
        return samples


class CosyVoice:
    """A CosyVoice server; takes the reference in the request, and answers with bare 16-bit samples."""

    sample_rate = _COSYVOICE_RATE

    def __init__(self, url: str, reference: Path, prompt_text: str, timeout_seconds: float) -> None:
        way = "inference_zero_shot" if prompt_text else "inference_cross_lingual"
        self._url = f"{url.rstrip('/')}/{way}"
        self._reference, self._prompt = reference, prompt_text
        self._timeout_seconds = timeout_seconds

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence; the server knows no speed, which the node then makes itself."""
        fields = {"tts_text": sentence} | ({"prompt_text": self._prompt} if self._prompt else {})
        body, kind = _multipart(fields, "prompt_wav", self._reference)
        answer = _post(self._url, body, {"Content-Type": kind}, self._timeout_seconds)
        if len(answer) % 2:
            raise TtsFault(
                FaultCode.ENGINE_REFUSED, "the CosyVoice server's answer is no 16-bit sound", retryable=True
            )
        samples: Samples = np.frombuffer(answer, "<i2").astype(np.float32) / 32768.0
        return samples


def _post(url: str, body: bytes, headers: dict[str, str], timeout_seconds: float) -> bytes:
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - the setting allows http(s) only
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310
            data = bytes(answer.read(_MAX_ANSWER_BYTES + 1))
    except urllib.error.HTTPError as error:
        detail = error.read(500).decode(errors="replace").strip()
        raise TtsFault(
            FaultCode.ENGINE_REFUSED, f"the speech server answered {error.code}: {detail}"
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise TtsFault(
            FaultCode.ENGINE_UNREACHABLE, f"the speech server does not answer: {reason}", retryable=True
        ) from None
    if len(data) > _MAX_ANSWER_BYTES or not data:
        raise TtsFault(FaultCode.ENGINE_REFUSED, f"the speech server answered with {len(data)} bytes")
    return data


def _from_wav(data: bytes) -> tuple[Samples, int]:
    try:
        with wave.open(io.BytesIO(data)) as source:
            if source.getsampwidth() != 2:
                raise wave.Error(f"{source.getsampwidth() * 8} bits")
            frames = np.frombuffer(source.readframes(source.getnframes()), "<i2")
            channels, rate = source.getnchannels(), source.getframerate()
    except (wave.Error, EOFError) as error:
        raise TtsFault(FaultCode.ENGINE_REFUSED, f"the speech server's answer is no WAV: {error}") from None
    return frames.reshape(-1, channels).astype(np.float32).mean(axis=1) / 32768.0, rate


def _multipart(fields: dict[str, str], file_field: str, path: Path) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{file_field}"; filename="prompt.wav"\r\n'
    parts += [
        f"{head}Content-Type: audio/wav\r\n\r\n".encode(),
        path.read_bytes(),
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"
