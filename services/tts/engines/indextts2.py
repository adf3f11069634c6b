"""IndexTTS2 out of its own folder and environment: a process of that environment's Python, spoken to line by line."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from services.tts.engines.programs import read_wav
from services.tts.engines.speaker import Samples
from services.tts.faults import FaultCode, TtsFault

_HOST = Path(__file__).with_name("indextts2_host.py")


class IndexTts2:
    """The loaded model, in a child of this worker that ends with it, speaking with the voice of one recording.

    `root` is the checkout, `model` its weights, `python` its environment's. `manner` has the arguments of
    its `infer` that are the same for all sentences. It has no speed; the node stretches nothing for it.
    """

    sample_rate = 22_050

    def __init__(self, root: Path, model: Path, python: Path, *, fp16: bool, manner: dict[str, Any]) -> None:
        self._manner = manner
        self._errors = tempfile.TemporaryFile(prefix="indextts2-")  # noqa: SIM115 - as long as the child
        arguments = {"cfg_path": str(model / "config.yaml"), "model_dir": str(model), "use_fp16": fp16}
        try:
            self._child = subprocess.Popen(
                [str(python), "-u", str(_HOST), str(root), json.dumps(arguments)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, cwd=root,
            )  # fmt: skip
        except OSError as fault:
            self._errors.close()
            message = f"IndexTTS2's Python does not start: {fault}"
            raise TtsFault(FaultCode.ENGINE_UNREACHABLE, message, "/engine") from None
        answer = self._answer()
        if not answer.get("ready"):
            self.close()
            message = f"IndexTTS2 cannot be loaded: {answer.get('error')}"
            raise TtsFault(FaultCode.ENGINE_UNREACHABLE, message, "/engine")

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence."""
        with tempfile.TemporaryDirectory(prefix="tts-") as folder:
            target = Path(folder, "speech.wav")
            answer = self._ask({**self._manner, "text": sentence, "output_path": str(target)})
            if error := answer.get("error"):
                raise TtsFault(FaultCode.PROCESSING_ERROR, f"IndexTTS2 failed: {error}")
            # It warns, and gives what there is, when it has no room for the rest of the text.
            if answer.get("truncated"):
                message = "IndexTTS2 stopped before the end of a sentence"
                raise TtsFault(FaultCode.SPEECH_DIFFERS, message, "/text", retryable=True)
            samples, self.sample_rate = read_wav(target.read_bytes())
            return samples

    def _ask(self, call: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(call).encode() + b"\n")
            self._child.stdin.flush()
        except OSError:
            return {"error": self._last_words()}
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            return {"error": self._last_words()}
        said: dict[str, Any] = json.loads(line)
        return said

    def _last_words(self) -> str:
        self._child.wait()
        self._errors.seek(0)
        lines = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return f"its process ended with status {self._child.returncode}{last}"

    def close(self) -> None:
        """End the process. A worker that is killed need not: the child ends when its standard input does."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._child.wait()
        self._errors.close()
