"""The model's own chat template, rendered as transformers renders it but in a sandbox of its own.

A template comes with a model and is therefore somebody else's program: it runs in Jinja's immutable sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from engine.errors import UnsupportedField, UnsupportedModel
from engine.types import Chat


class ChatTemplate:
    """Turns messages into the text a model was trained on, ready for the assistant's turn."""

    def __init__(self, source: str, special_tokens: Mapping[str, str | None]) -> None:
        """Raises `UnsupportedModel` when the template does not compile."""
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        # Not HTML: escaping would change the prompt.
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise UnsupportedModel(f"its chat template does not compile: {error}") from error
        self._special_tokens = {name: token for name, token in special_tokens.items() if token is not None}

    def render(self, chat: Chat) -> str:
        """The prompt's text. Raises `UnsupportedField` when the template refuses the conversation."""
        from jinja2 import TemplateError

        messages = [{"role": message.role, "content": message.content} for message in chat.messages]
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._special_tokens)
        except (TemplateError, TypeError, ValueError) as error:  # what a template can do wrong with its input
            raise UnsupportedField("messages", f"the model's chat template refuses them: {error}") from error


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
