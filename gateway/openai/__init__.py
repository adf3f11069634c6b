"""The facade of OpenAI's audio endpoints: tools that speak them work with this installation unchanged."""

from gateway.openai.facade import facade

__all__ = ["facade"]
