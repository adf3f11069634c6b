"""Which providers there are, and which of them is configured well enough to be called."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from language_models.faults import FaultCode, ModelFault
from language_models.settings import LlmSection, LlmSettings, ProviderSection
from runtime.egress import EgressPolicy
from runtime.settings import load_settings

_MAX_KEY_BYTES = 8192


@dataclass(frozen=True)
class _Known:
    """What is known of a provider without any setting."""

    base_url: str = ""
    model: str = ""
    needs_key: bool = True


_KNOWN = {
    "deepseek": _Known("https://api.deepseek.com/v1", "deepseek-chat"),
    "gemini": _Known("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-flash"),
    "zhipu": _Known("https://open.bigmodel.cn/api/paas/v4", "glm-4-flash"),
    "volcengine": _Known("https://ark.cn-beijing.volces.com/api/v3"),
    "openai_compatible": _Known(needs_key=False),
    "ollama": _Known("http://127.0.0.1:11434/v1", needs_key=False),
}
NAMES = tuple(_KNOWN)
"""Names of the providers, in the order in which `auto` takes them."""


@dataclass(frozen=True)
class Provider:
    """A provider that can be called."""

    name: str
    url: str
    """Address that chats are posted to."""
    model: str
    section: ProviderSection
    key: str = field(default="", repr=False)

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Return what so many tokens cost, in the section's currency; 0 where no price is set."""
        price = input_tokens * self.section.price_input + output_tokens * self.section.price_output
        return round(price / 1e6, 8)

    def policy(self, allow: tuple[str, ...]) -> EgressPolicy:
        """Return which addresses a call to it may lead to.

        An operator who writes an IP address or localhost means it. A name is held to public addresses: who answers for it is not
        the operator, and what it answers may change.
        """
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if host == "localhost" or _is_address(host):
            bracketed = f"[{host}]" if ":" in host else host
            return EgressPolicy(allow=(*allow, f"{bracketed}:{port}"))
        return EgressPolicy(allow=allow)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def configured(section: LlmSection) -> tuple[str, ...]:
    """Return the names of the providers that lack nothing, in the order in which `auto` takes them."""
    return tuple(name for name in NAMES if not _lacks(name, section.section_of(name)))


def lacking() -> str:
    """Return why no task can have a model that does not name one itself, by the settings as they are now; empty: there is one."""
    return "" if configured(load_settings(LlmSettings).llm) else _nothing_configured()


def choose(section: LlmSection, name: str = "auto", model: str = "") -> Provider:
    """Return the provider of that name, or the default one. `model` overrides the configured model.

    Raises ModelFault (FAILED_PRECONDITION) that says which settings are missing.
    """
    wanted = section.default_provider if name in ("", "auto") else name
    if wanted == "auto":
        ready = configured(section)
        if not ready:
            raise ModelFault(FaultCode.FAILED_PRECONDITION, _nothing_configured(), "/provider")
        wanted = ready[0]
    if wanted not in _KNOWN:
        names = ", ".join(NAMES)
        raise ModelFault(FaultCode.FAILED_PRECONDITION, f"there is no provider {wanted!r}; there are {names}")
    own = section.section_of(wanted)
    missing = [part for part in _lacks(wanted, own) if not (model and part.endswith("MODEL"))]
    if missing:
        message = f"the language model provider {wanted} is not configured: set {' and '.join(missing)}"
        raise ModelFault(FaultCode.FAILED_PRECONDITION, message, "/provider")
    known = _KNOWN[wanted]
    base = (own.api_base_url or known.base_url).rstrip("/")
    return Provider(
        wanted, f"{base}/chat/completions", model or own.model or known.model, own, _read_key(wanted, own)
    )


def _lacks(name: str, own: ProviderSection) -> list[str]:
    """Return the environment names of the settings that a provider cannot do without and does not have."""
    known, prefix = _KNOWN[name], f"YIVIDEO_LLM__{name.upper()}__"
    missing = []
    if known.needs_key and own.api_key_file is None:
        missing.append(f"{prefix}API_KEY_FILE")
    if not (own.api_base_url or known.base_url):
        missing.append(f"{prefix}API_BASE_URL")
    if not (own.model or known.model):
        missing.append(f"{prefix}MODEL")
    return missing


def _nothing_configured() -> str:
    return (
        "no language model is configured: set YIVIDEO_LLM__DEEPSEEK__API_KEY_FILE (or GEMINI, ZHIPU) to a file with the key, or "
        "YIVIDEO_LLM__OLLAMA__MODEL, or YIVIDEO_LLM__OPENAI_COMPATIBLE__API_BASE_URL and …__MODEL for a server of your own"
    )


def _read_key(name: str, own: ProviderSection) -> str:
    """Return the key. Raises ModelFault (FAILED_PRECONDITION) when its file cannot be read or holds no key."""
    if own.api_key_file is None:
        return ""
    where = f"YIVIDEO_LLM__{name.upper()}__API_KEY_FILE"
    try:
        with own.api_key_file.open("rb") as file:
            raw = file.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        message = f"the file that {where} names cannot be read: {error.strerror}"
        raise ModelFault(FaultCode.FAILED_PRECONDITION, message, "/provider") from None
    key = raw.decode("ascii", errors="replace").strip()
    # It travels in a header; what cannot stand there is no key.
    if not key or len(raw) > _MAX_KEY_BYTES or not all("!" <= character <= "~" for character in key):
        message = f"the file that {where} names holds no key: one line of printable ASCII"
        raise ModelFault(FaultCode.FAILED_PRECONDITION, message, "/provider")
    return key
