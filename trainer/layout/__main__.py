"""`python -m trainer.layout --layout packed --responses 8`: time and memory of training steps on one made-up group.

A process of its own, because a peak of memory is a process's; `bench/shared_prefix.py` starts many and makes the table.
"""

from __future__ import annotations

import json
import resource
import time
from typing import Annotated, Any

import torch
import transformers
import typer

from trainer.layout.choose import choose_layout
from trainer.layout.types import Tokens
from trainer.losses import Judged, rrtf

VOCABULARY = 4096
"""The output layer is then 9 % of the weights, as in StarCoderBase-1B; it works as much in either layout."""


def main(
    layout: Annotated[str, typer.Option(help="plain or packed.")],
    responses: Annotated[int, typer.Option(min=2, help="K.")] = 8,
    prompt_tokens: Annotated[int, typer.Option(min=1)] = 384,
    response_tokens: Annotated[int, typer.Option(min=1)] = 128,
    width: Annotated[int, typer.Option(help="Of the Llama; eight layers.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Steps timed, after one on a small group.")] = 1,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Train a Llama of random weights on one group by RRTF and AdamW; prints one line of JSON."""
    torch.set_num_threads(threads)
    model, optimizer = _model(width)
    small = _group(2, 16, 8)
    wanted: Any = layout
    choice = choose_layout(model, [small], wanted)
    _step(model, optimizer, choice.compute, small)
    group = _group(responses, prompt_tokens, response_tokens)
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    at_rest_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for _ in range(steps):
        began, began_cpu = time.perf_counter(), time.process_time()
        loss = _step(model, optimizer, choice.compute, group)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - began_cpu)
    facts = {
        "layout": choice.name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_tokens": responses * response_tokens,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "loss": loss,
        "at_rest_bytes": at_rest_bytes,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    typer.echo(json.dumps(facts))


def _model(width: int) -> tuple[Any, Any]:
    untyped: Any = transformers
    torch.manual_seed(0)
    config = untyped.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=8,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 256,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    model = untyped.LlamaForCausalLM(config).train()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4)


def _group(responses: int, prompt_tokens: int, response_tokens: int) -> Tokens:
    ids = torch.randint(3, VOCABULARY, (prompt_tokens + responses * response_tokens,)).tolist()
    starts = range(prompt_tokens, len(ids), response_tokens)
    return Tokens(tuple(ids[:prompt_tokens]), tuple(tuple(ids[at : at + response_tokens]) for at in starts))


def _step(model: Any, optimizer: Any, compute: Any, group: Tokens) -> float:
    found = compute(model, [group])
    count = len(group.responses)
    every = torch.ones(1, count, dtype=torch.bool)
    best = torch.zeros(1, count, dtype=torch.bool)
    best[0, 0] = True
    judged = Judged(
        logprobs=found.values,
        mask=found.mask,
        scores=torch.linspace(1.0, -1.0, count)[None],
        present=every,
        eligible=best,
        passed=best,
        rates=torch.tensor([1 / count]),
    )
    loss = rrtf(judged).total.mean()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


if __name__ == "__main__":
    typer.run(main)
