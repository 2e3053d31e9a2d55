"""What an engine refuses before it starts, always by the name of the field."""

from __future__ import annotations

from dataclasses import replace

from engine.errors import ContextTooLong, UnsupportedField
from engine.types import Chat, EngineInfo, Fim, GenerationRequest, Prompt

BEST_EFFORT = frozenset({"seed"})
"""Never refused; `EngineInfo.seed_honoured` tells whether it counts."""


def refuse_unsupported(info: EngineInfo, request: GenerationRequest) -> None:
    """Raise `UnsupportedField` for the first thing asked that this engine does not honour."""
    sampling = request.sampling
    for name in sorted(sampling.asked() - info.honours - BEST_EFFORT - {"logprobs"}):
        raise UnsupportedField(name, f"the {info.engine} engine does not support it")
    if sampling.logprobs is not None and sampling.logprobs > info.max_logprobs:
        raise UnsupportedField("logprobs", f"at most {info.max_logprobs} alternatives a token")
    if "" in sampling.stop:
        raise UnsupportedField("stop", "a stop string must not be empty")
    if request.n < 1:
        raise UnsupportedField("n", "must be at least 1")
    if sampling.max_tokens < 0:
        raise UnsupportedField("max_tokens", "must not be negative")
    if sampling.temperature < 0:
        raise UnsupportedField("temperature", "must not be negative")
    if not 0 < sampling.top_p <= 1:
        raise UnsupportedField("top_p", "must be above 0 and at most 1")
    if not 0 <= sampling.min_tokens <= sampling.max_tokens:
        raise UnsupportedField("min_tokens", "must be between 0 and max_tokens")
    refuse_prompt(info, request.prompt)


def refuse_prompt(info: EngineInfo, prompt: Prompt) -> None:
    """Raise `UnsupportedField` for a kind of prompt the model has no layout for."""
    if isinstance(prompt, Chat) and not info.chat:
        raise UnsupportedField("messages", f"{info.model} has no chat template")
    if isinstance(prompt, Fim) and info.fim is None:
        raise UnsupportedField("suffix", f"{info.model} cannot fill in the middle")


def fit_context(info: EngineInfo, request: GenerationRequest, prompt_tokens: int) -> GenerationRequest:
    """The request with no more tokens to sample than fit, if it allows that; else raise `ContextTooLong`."""
    refuse_over(request, prompt_tokens)
    sampling, room = request.sampling, info.context_length - prompt_tokens
    if sampling.fits_context and max(1, sampling.min_tokens) <= room < sampling.max_tokens:
        return replace(request, sampling=replace(sampling, max_tokens=room))
    refuse_too_long(info, prompt_tokens, sampling.max_tokens)
    return request


def refuse_over(request: GenerationRequest, prompt_tokens: int, about: str = "") -> None:
    """Raise `ContextTooLong` for a longer prompt than its sender may send; `about` says that its length is a guess."""
    if request.max_prompt_tokens is not None and prompt_tokens > request.max_prompt_tokens:
        raise ContextTooLong(f"{about}{prompt_tokens} prompt tokens: at most {request.max_prompt_tokens} may be sent")


def refuse_too_long(info: EngineInfo, prompt_tokens: int, max_tokens: int) -> None:
    """Raise `ContextTooLong` when prompt and completion do not fit."""
    if prompt_tokens + max_tokens > info.context_length:
        raise ContextTooLong(
            f"{prompt_tokens} prompt tokens and {max_tokens} to sample: the context is {info.context_length} tokens; "
            "shorten the prompt or lower max_tokens",
            "prompt" if prompt_tokens >= info.context_length else "max_tokens",
        )
