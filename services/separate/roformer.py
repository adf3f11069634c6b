"""RoFormers (BS-RoFormer, Mel-Band RoFormer) from a folder that a user has brought: the strongest separators there are.

The networks and their loader are those of the package audio-separator, in an environment of its own (`requirements-separator.in`),
imported only when the engine is loaded. Of the package only that is used: its `Separator` would ask the network for lists of
models, write files of its own, and join chunks without a fade.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from services.separate.blocks import Block
from services.separate.overlap_add import chunk_before, overlap_add

NAME = "roformer"
_PACKAGE = "audio-separator"
_VOICES = ("vocals", "voice", "speech")
_OVERLAP = 4
"""A chunk shares this part of itself with each neighbour: one over so much."""


class RoformerUnusable(ValueError):
    """The folder has no checkpoint with a description that the package understands."""


class Roformer:
    """A checkpoint (`<name>.ckpt`) with its description (`<name>.yaml`), loaded."""

    name = NAME
    channels = 2

    def __init__(self, folder: Path, name: str, threads: int) -> None:
        import torch
        from audio_separator.separator.roformer.roformer_loader import RoformerLoader

        torch.set_num_threads(threads)
        self._torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        described = read_description(folder / f"{name}.yaml")
        loaded = RoformerLoader().load_model(str(folder / f"{name}.ckpt"), described, self.device)
        if not loaded.success:
            raise RoformerUnusable(f"{name} cannot be loaded: {loaded.error_message}")
        self._network: Any = loaded.model
        self.model = f"{name} ({_PACKAGE} {metadata.version(_PACKAGE)})"
        audio, training = described.get("audio", {}), described.get("training", {})
        self.sample_rate: int | None = int(audio.get("sample_rate", 44_100))
        self._chunk = int(audio.get("chunk_size", 8 * self.sample_rate))
        self._place = _place_of_voices(training)

    def voices(self, sound: Iterable[Block], sample_rate: int) -> Iterator[Block]:
        """See `Engine`; the model's own rate only."""
        yield from overlap_add(sound, self._chunk, self._chunk // _OVERLAP, self._voices_of)

    def again_from(self, done: int, sample_rate: int) -> int:
        """See `Engine`."""
        return chunk_before(done, self._chunk, self._chunk // _OVERLAP)

    def _voices_of(self, sound: Block) -> Block:
        torch = self._torch
        # The network was trained on chunks of one length: a shorter end of a recording gets silence behind it.
        padded = np.pad(sound, ((0, max(0, self._chunk - len(sound))), (0, 0)))
        wave = torch.from_numpy(np.ascontiguousarray(padded.T))[None].to(self.device)
        with torch.no_grad():
            stems = self._network(wave)
        found = stems.reshape(-1, *wave.shape[1:2], stems.shape[-1]).float().cpu().numpy()
        whole = np.zeros((len(padded), sound.shape[1]), np.float32)
        voices = found[self._place or 0].T
        whole[: len(voices)] = voices[: len(padded)]
        if self._place is None:
            whole = (padded - whole).astype(np.float32)
        return whole[: len(sound)]


def read_description(path: Path) -> dict[str, Any]:
    """Return a model's YAML, which may have Python's tuples and nothing else of Python. Raises RoformerUnusable."""
    try:
        found = yaml.load(path.read_bytes(), Loader=_Reader)  # noqa: S506 - a safe loader that knows tuples
    except (OSError, yaml.YAMLError) as error:
        raise RoformerUnusable(f"{path.name} cannot be read: {error}") from None
    if not isinstance(found, dict) or "model" not in found:
        raise RoformerUnusable(f"{path.name} describes no model")
    return found


class _Reader(yaml.SafeLoader):
    """YAML with tuples."""


def _to_tuple(reader: yaml.SafeLoader, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(reader.construct_sequence(node))


_Reader.add_constructor("tag:yaml.org,2002:python/tuple", _to_tuple)


def _place_of_voices(training: dict[str, Any]) -> int | None:
    """Return which of the network's answers has the voices; None: its only answer is what is left."""
    target = training.get("target_instrument")
    names = [
        str(name).casefold() for name in ([target] if target else training.get("instruments", ["vocals"]))
    ]
    for number, name in enumerate(names):
        if name in _VOICES:
            return number
    if len(names) == 1:
        return None
    raise RoformerUnusable(f"none of {', '.join(names)} is a voice")
