"""Writes a pipeline folder of pyannote.audio 4 with random weights: `python -m tests.engines.tiny_pyannote FOLDER`.

The form is that of community-1: config.yaml, a segmentation and an embedding checkpoint, and the two tables of PLDA. What it finds
is noise; that it is loaded and run by the package's own code is what a test can see.
"""

from __future__ import annotations

import sys
from pathlib import Path

CONFIG = """\
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 1
    embedding: $model/embedding
    embedding_batch_size: 1
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""


def main(folder: Path) -> None:
    """Write the folder."""
    import numpy as np
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(1)
    (folder / "plda").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    hearing = PyanNet(
        sincnet={"stride": 10}, lstm={"hidden_size": 16, "num_layers": 1}, linear={"hidden_size": 16}
    )
    hearing.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=["a", "b", "c"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    voices = WeSpeakerResNet34()
    voices.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, classes=["a", "b"]
    )
    for name, model in (("segmentation", hearing), ("embedding", voices)):
        model.build()
        checkpoint = {
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
            "pytorch-lightning_version": "2.0.0",
            "epoch": 0,
            "global_step": 0,
        }
        model.on_save_checkpoint(checkpoint)
        (folder / name).mkdir()
        torch.save(checkpoint, folder / name / "pytorch_model.bin")
    chance = np.random.default_rng(1)
    wide, narrow = 256, 128
    np.savez(
        folder / "plda" / "xvec_transform.npz",
        mean1=np.zeros(wide),
        mean2=np.zeros(narrow),
        lda=chance.standard_normal((wide, narrow)) / 16,
    )
    np.savez(
        folder / "plda" / "plda.npz", mu=np.zeros(narrow), tr=np.eye(narrow), psi=np.linspace(2, 0.1, narrow)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
