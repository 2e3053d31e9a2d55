"""The least that a server of this kind does for a completion: FastAPI's route, our body checked by pydantic, the
scripted engine, the exchange in the log on disk, two observations for Prometheus, a reply.

No keys, limits, reranking, evidence, secrets, cancelling or tracing, and of a record only its id is new. Measured by
`python -m bench.gateway --floor`; the log is in the folder that `FLOOR_FOLDER` names.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client import Histogram

from engine import Finished, GenerationRequest, Sampling, ScriptedEngine, Text
from feedback import Exchange, SqlStore, StoredCandidate
from server.ids import uuid7
from server.wire.completions import CompletionRequest

_CANDIDATE = StoredCandidate(
    index=0,
    rank=0,
    choice=0,
    text="    return 1\n",
    raw_text="    return 1\n",
    finish_reason="stop",
    greedy=False,
    token_count=14,
    mean_logprob=-0.5,
    sum_logprob=-6.5,
    duplicate_of=None,
    scores={},
    program_class=None,
    run_status=None,
    tests=None,
    outcome=None,
    generate_s=0.001,
    execute_s=None,
)
_EXCHANGE = Exchange(
    id="",
    created_at=datetime.now(UTC),
    route="completions",
    purpose="traffic",
    key_id=None,
    session_id=None,
    model="scripted",
    round=0,
    engine="scripted",
    dtype="none",
    config_hash="",
    prompt={"kind": "text", "text": "hello"},
    prompt_hash="b2:",
    options={"method": "off", "n": 1},
    suite=None,
    method="off",
    status="off",
    reason="",
    prompt_tokens=5,
    sampled_tokens=14,
    returned_tokens=13,
    timings_s={"total": 0.001},
    candidates=(_CANDIDATE,),
)


def app() -> FastAPI:
    """The app; `uvicorn --factory` makes it."""
    made = FastAPI()
    store = SqlStore.open(Path(os.environ["FLOOR_FOLDER"]) / "floor.db")
    engine = ScriptedEngine({"hello": ["    return 1\n"]})
    took, tokens = Histogram("took_seconds", "Seconds."), Histogram("tokens", "Tokens.")

    @made.post("/v1/completions")
    async def completions(body: CompletionRequest) -> dict[str, Any]:
        began, name = time.perf_counter(), f"cmpl-{uuid7()}"
        request = GenerationRequest(id=name, prompt=Text(str(body.prompt)), sampling=Sampling())
        text = ""
        async for event in engine.generate(request):
            if isinstance(event, Finished):
                text = event.text
                tokens.observe(event.token_count)
        await store.record(replace(_EXCHANGE, id=name))
        took.observe(time.perf_counter() - began)
        return {"id": name, "object": "text_completion", "choices": [{"index": 0, "text": text}]}

    @made.get("/ready")
    async def ready() -> dict[str, str]:
        return {}

    return made
