"""The OpenAPI document, made from the wire models: what `GET /openapi.json` answers.

The routes read their bodies themselves, so that the reply's errors are OpenAI's and no body is validated twice; this is
why the document is put together here and not inferred from signatures.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.wire.admin import AdminAction
from server.wire.candidates import CandidatesRequest
from server.wire.chat import ChatRequest
from server.wire.completions import CompletionRequest
from server.wire.dev_data import DevDataEvent
from server.wire.feedback import FeedbackBatch, FeedbackEvent
from server.wire.fim import FimRequest, InfillRequest
from server.wire.suites import SuiteRequest
from server.wire.tabby import TabbyEvent
from server.wire.tokens import DetokenizeRequest, TokenizeRequest

_BODIES: dict[str, tuple[str, tuple[type[BaseModel], ...]]] = {
    "/v1/completions": ("Complete a prompt, reranked if asked for", (CompletionRequest,)),
    "/v1/chat/completions": ("Answer a conversation, reranked if asked for", (ChatRequest,)),
    "/v1/fim/completions": ("Fill in the middle, as Mistral's API has it", (FimRequest,)),
    "/infill": ("Fill in the middle, as llama.cpp's server has it", (InfillRequest,)),
    "/tokenize": ("The token ids of a text or a conversation, as vLLM's server has it", (TokenizeRequest,)),
    "/detokenize": ("The text of token ids, as vLLM's server has it", (DetokenizeRequest,)),
    "/v1/rerank/candidates": ("Rank candidates that the client already has", (CandidatesRequest,)),
    "/v1/suites": ("Store tests, to be named in requests; scope `suites`", (SuiteRequest,)),
    "/admin/models": ("Load, switch or roll back a model; scope `admin`", (AdminAction,)),
    "/v1/events": ("Say what became of an answer, as Tabby's clients do", (TabbyEvent,)),
    "/v1/dev-data": ("Say what became of an answer, as Continue does; a list of events too", (DevDataEvent,)),
    "/v1/feedback": ("Say what became of an answer", (FeedbackEvent, FeedbackBatch)),
}
_PAGES = {
    "/v1/models": "The served model, the plain name first, then each method with the default number",
    "/v1/models/{id}": "One model",
    "/v1/suites": "The stored suites that may be named",
    "/v1/suites/{id}": "One of them, with its code where it is visible",
    "/v1/rerank/{id}": "Everything the log has of an exchange",
    "/admin/models": "The models of this server's store, and which of them are in memory",
    "/health": "Whether the process lives",
    "/ready": "Whether the model is loaded, and the isolation tier",
    "/metrics": "Prometheus' text format",
    "/v1/health": "The served model and this machine, as Tabby's clients ask",
    "/props": "The served model, as llama.cpp's clients ask",
    "/version": "The version and the hash of the configuration",
}
_ACTIONS = {"/v1/requests/{id}/cancel": "End a request under way, by its reply's id or its X-Request-Id"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field at fault."},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


@cache
def document(version: str) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    models = [model for _, bodies in _BODIES.values() for model in bodies]
    refs, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {}
    for path, (summary, bodies) in _BODIES.items():
        choices = [refs[(model, "validation")] for model in bodies]
        schema = choices[0] if len(choices) == 1 else {"anyOf": choices}
        body = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths[path] = {"post": {"summary": summary, "requestBody": body, "responses": _responses()}}
    for path, summary in _PAGES.items():
        paths.setdefault(path, {})["get"] = {"summary": summary, "responses": _responses()}
    for path, summary in _ACTIONS.items():
        paths[path] = {"post": {"summary": summary, "responses": _responses()}}
    for path, item in paths.items():
        if "{id}" in path:
            item["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Touchstone", "version": version},
        "paths": paths,
        "components": {"schemas": schemas["$defs"] | {"Error": _ERROR}},
    }


def _responses() -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "2XX": {"description": "Done"},
        "4XX": {"description": "Refused; `param` names the field", "content": error},
        "5XX": {"description": "Not now, or a defect of ours", "content": error},
    }
