"""The model store: which models exist, where their files can be had, and the folder in which a node finds them.

A manifest entry names a model's files with their sha256; only that decides whether a file is the right one, wherever it came
from. A model appears in the store whole or not at all, and several nodes and replicas may share one folder.
"""

from __future__ import annotations

from nodekit.models.entry import ModelEntry
from nodekit.models.store import ModelDamaged, ModelMissing, ModelStore, model_store

__all__ = ["ModelDamaged", "ModelEntry", "ModelMissing", "ModelStore", "model_store"]
