"""Writes a Whisper model in CTranslate2's form with random weights, out of CTranslate2 alone: no torch, no transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HEADS, SIZE, MELS = 2, 2, 64, 80
TOKENS = 51_865
"""As many as multilingual Whisper knows; CTranslate2 tells by it that a model has languages."""


def write(folder: Path, tokenizer: Path) -> Path:
    """Write the folder; `tokenizer` is the tokenizer.json of any multilingual Whisper."""
    from ctranslate2.specs import WhisperSpec

    chance = np.random.default_rng(1)
    spec = WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)

    def some(*shape: int) -> Any:
        return (chance.standard_normal(shape) * 0.05).astype(np.float32)

    def linear(layer: Any, out: int, into: int) -> None:
        layer.weight, layer.bias = some(out, into), np.zeros(out, np.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(SIZE, np.float32), np.zeros(SIZE, np.float32)

    def attention(layer: Any, *, to_itself: bool) -> None:
        norm(layer.layer_norm)
        widths = (3 * SIZE, SIZE) if to_itself else (SIZE, 2 * SIZE, SIZE)
        for part, width in zip(layer.linear, widths, strict=True):
            linear(part, width, SIZE)

    def feed_forward(layer: Any) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, 4 * SIZE, SIZE)
        linear(layer.linear_1, SIZE, 4 * SIZE)

    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = some(SIZE, MELS, 3), np.zeros(SIZE, np.float32)
    encoder.conv2.weight, encoder.conv2.bias = some(SIZE, SIZE, 3), np.zeros(SIZE, np.float32)
    encoder.position_encodings.encodings = some(1500, SIZE)
    norm(encoder.layer_norm)
    for layer in encoder.layer:
        attention(layer.self_attention, to_itself=True)
        feed_forward(layer.ffn)
    decoder.embeddings.weight = some(TOKENS, SIZE)
    decoder.projection.weight = decoder.embeddings.weight
    decoder.position_encodings.encodings = some(448, SIZE)
    decoder.scale_embeddings = False
    norm(decoder.layer_norm)
    for layer in decoder.layer:
        attention(layer.self_attention, to_itself=True)
        attention(layer.attention, to_itself=False)
        feed_forward(layer.ffn)
    words = json.loads(tokenizer.read_text(encoding="utf-8"))
    known = {**words["model"]["vocab"], **{one["content"]: one["id"] for one in words["added_tokens"]}}
    by_number = {number: text for text, number in known.items()}
    spec.register_vocabulary([by_number.get(number, f"<unused{number}>") for number in range(TOKENS)])
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [220, 50_257]
    spec.config.alignment_heads = [[1, 0], [1, 1]]
    spec.config.lang_ids = list(range(50_259, 50_358))
    folder.mkdir(parents=True)
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return folder
