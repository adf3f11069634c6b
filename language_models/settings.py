"""The settings section `llm`: which language models there are, and what one user may spend on them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings

ProviderName = Literal["deepseek", "gemini", "zhipu", "volcengine", "openai_compatible", "ollama"]


class ProviderSection(Section):
    """One provider. Empty fields: what is known of it (`language_models.providers`)."""

    api_base_url: str = Field("", pattern=r"^$|^https?://[^\s]+$")
    """Address in front of `/chat/completions`."""
    api_key_file: Path | None = None
    """File with the key; read at every task, so that a new key needs no restart."""
    model: str = Field("", max_length=200)
    """Model's name."""
    max_tokens: int = Field(8000, ge=1, le=1_000_000)
    """Longest answer."""
    temperature: float = Field(0.1, ge=0, le=2)
    """How freely the model chooses its words."""
    timeout_seconds: float = Field(300, gt=0, le=3600)
    """Longest time of a call, its retries included, when the task says nothing."""
    idle_seconds: float = Field(60, gt=0, le=3600)
    """Longest silence within an answer."""
    stream: bool = True
    """Whether the answer is asked for as a stream; false for servers that cannot."""
    answer_format: Literal["schema", "object", "text"] = "object"
    """How JSON is asked for: by its schema, as any object, or by words alone, for servers that know no `response_format`."""
    price_input: float = Field(0, ge=0)
    """Price of a million tokens that are sent, in the section's currency."""
    price_output: float = Field(0, ge=0)
    """Price of a million tokens of answers."""


class LlmSection(Section):
    """Language models of this installation."""

    default_provider: Literal["auto"] | ProviderName = "auto"
    """Provider of tasks that name none; auto: the first one below that is configured."""
    deepseek: ProviderSection = ProviderSection()
    """DeepSeek."""
    gemini: ProviderSection = ProviderSection()
    """Google Gemini, by its OpenAI-compatible address."""
    zhipu: ProviderSection = ProviderSection()
    """Zhipu GLM."""
    volcengine: ProviderSection = ProviderSection()
    """Volcengine Ark; `model` is the endpoint's id."""
    openai_compatible: ProviderSection = ProviderSection()
    """Any other server that speaks the OpenAI chat form: vLLM, llama.cpp, LM Studio, OpenAI itself."""
    ollama: ProviderSection = ProviderSection()
    """Ollama; at 127.0.0.1:11434 when no address is set."""
    allow_addresses: tuple[str, ...] = ()
    """Addresses, networks or host names (each with or without `:port`) that a provider's host name may lead to besides public ones.
    An `api_base_url` that itself is an IP address or localhost needs no entry."""
    max_attempts: int = Field(4, ge=1, le=10)
    """How often a request is sent in all before its call fails."""
    max_retry_wait_seconds: float = Field(60, gt=0, le=600)
    """Longest pause before a request is sent again; a provider that asks for a longer one makes the call fail."""
    max_answer_bytes: int = Field(2 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Most bytes that are read of one answer."""
    requests_per_minute: int = Field(60, ge=0)
    """Requests that one user may make in a minute on this replica; more of them wait. 0: any number."""
    tokens_per_day: int = Field(0, ge=0)
    """Tokens that one user may use in 24 hours on this replica. 0: any number."""
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    """Currency of the prices."""

    def section_of(self, name: str) -> ProviderSection:
        """Return a provider's section by its name."""
        section: ProviderSection = getattr(self, name)
        return section


class LlmSettings(ProcessSettings):
    """Settings of a process that speaks to language models."""

    llm: LlmSection = LlmSection()
    """The section."""


@functools.cache
def llm_settings() -> LlmSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(LlmSettings).llm
