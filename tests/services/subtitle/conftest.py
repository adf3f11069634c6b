"""Fixtures of a model's server, as the language model node's tests have them."""

from tests.services.llm.conftest import fresh_settings, model_server

__all__ = ["fresh_settings", "model_server"]
