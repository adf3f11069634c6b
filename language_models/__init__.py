"""Language models over the OpenAI chat form: providers, one bounded call with its retries, budgets, JSON out of answers.

Nodes share this room so that none imports another. It knows no task and no subtitle; it stands on `runtime` alone.
"""

from language_models.budget import Budget, process_budget
from language_models.chat import ChatAnswer, ChatRequest, LanguageModel, Message
from language_models.client import OpenAiChat, open_model
from language_models.faults import FaultCode, ModelFault
from language_models.json_text import NoJson, find_json
from language_models.providers import NAMES, Provider, choose, configured, lacking
from language_models.settings import LlmSection, llm_settings

__all__ = [
    "NAMES",
    "Budget",
    "ChatAnswer",
    "ChatRequest",
    "FaultCode",
    "LanguageModel",
    "LlmSection",
    "Message",
    "ModelFault",
    "NoJson",
    "OpenAiChat",
    "Provider",
    "choose",
    "configured",
    "find_json",
    "lacking",
    "llm_settings",
    "open_model",
    "process_budget",
]
