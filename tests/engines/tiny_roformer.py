"""Writes a folder with a BS-RoFormer of random weights: `python -m tests.engines.tiny_roformer FOLDER`. NAME.ckpt and NAME.yaml."""

from __future__ import annotations

import sys
from pathlib import Path

NAME = "tiny_bs_roformer"
DESCRIPTION = """\
audio:
  chunk_size: 88200
  num_channels: 2
  sample_rate: 44100
model:
  dim: 16
  depth: 1
  stereo: true
  num_stems: 1
  time_transformer_depth: 1
  freq_transformer_depth: 1
  freqs_per_bands: !!python/tuple [2, 2, 4, 8, 16, 32, 64, 128, 257, 512]
  dim_head: 16
  heads: 2
  attn_dropout: 0.0
  ff_dropout: 0.0
  flash_attn: false
  mask_estimator_depth: 1
  dim_freqs_in: 1025
  stft_n_fft: 2048
  stft_hop_length: 441
  stft_win_length: 2048
  stft_normalized: false
training:
  instruments: [vocals, other]
  target_instrument: vocals
inference:
  batch_size: 1
  dim_t: 201
  num_overlap: 2
"""


def main(folder: Path) -> None:
    """Write the folder."""
    import torch
    from audio_separator.separator.roformer.roformer_loader import RoformerLoader

    from services.separate.roformer import read_description

    torch.manual_seed(1)
    folder.mkdir(parents=True)
    (folder / f"{NAME}.yaml").write_text(DESCRIPTION)
    # Without a checkpoint the package makes the network with the weights that it begins with.
    made = RoformerLoader().load_model(
        str(folder / f"{NAME}.ckpt"), read_description(folder / f"{NAME}.yaml"), "cpu"
    )
    if not made.success:
        raise SystemExit(made.error_message)
    torch.save(made.model.state_dict(), folder / f"{NAME}.ckpt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
