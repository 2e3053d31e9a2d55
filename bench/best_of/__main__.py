"""Time to a verified answer, best of n with tests: Touchstone beside `vllm serve` and scripts, and beside optillm.

    python -m bench.best_of --vllm-python ENV/bin/python --optillm-python ENV/bin/python
    python -m bench.best_of --vllm-python ENV/bin/python --random llama-200m --problems 2 --rounds 3

The same model, on this host, in this run: every problem is asked of every side in turn, and of servers only those run
that are in turn. The tests are the problem's own. With random weights no candidate passes, so all of them are sampled
and judged: what is compared is the time to n verdicts.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from bench.best_of.asked import Asked, Side
from bench.best_of.optillm import Optillm
from bench.best_of.ours import Ours
from bench.best_of.separate import Separate
from bench.best_of.servers import Server, Start, all_held
from bench.best_of.together import Together
from bench.best_of.work import Rounds, lines, measure
from bench.made import SHAPES, make
from bench.process import Served
from engine import Model, ModelStore, convert_folder
from reranker.evaluation import Problem, load_suite, this_host

ENGINES = ("ctranslate2", "cpu", "vllm")
_CONTEXT = 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm-python", required=True, help="of an environment with vLLM and Touchstone's own needs")
    parser.add_argument("--optillm-python", help="of one with optillm; that side is left out if not given")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="ours; ctranslate2 and vllm if not given")
    parser.add_argument("--random", choices=tuple(SHAPES), help="a model of random weights, not the bundled one")
    parser.add_argument("--problems", type=int, default=6, help="of the suite bundled, the first so many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128, help="the most a candidate may have")
    parser.add_argument("--dtype", default="float32", help="what vLLM computes in, on both sides")
    parser.add_argument("--in-turn", action="store_true", help="also n requests one after another")
    parser.add_argument("--wait", action="store_true", help="with the servers up, for a line on standard input")
    args = parser.parse_args()
    problems = load_suite("bundled").problems[: args.problems]
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(args.random, Path(folder))
        asyncio.run(compare(args, Path(folder), model, problems))


def model_of(shape: str | None, state: Path) -> Model:
    """The model that is served, in a state folder of its own."""
    store = ModelStore(state)
    if shape is None:
        return store.get("touchstone-3.8m")
    with store.add(family="llama", size="200m", round=0, source=f"random weights, {shape}") as draft:
        make(shape, draft.folder / "hf")
        convert_folder(draft.folder / "hf", draft.folder / "ct2-int8", "int8")
    return store.get(draft.id)


async def compare(args: argparse.Namespace, folder: Path, model: Model, problems: tuple[Problem, ...]) -> None:
    """Start everything, measure, print."""
    arguments = {"max_model_len": _CONTEXT, "max_num_seqs": 32, "kv_cache_memory_bytes": 2**30}
    hf = folder / "served"
    shutil.copytree(model.hf, hf)
    if "chat_template" not in (hf / "tokenizer_config.json").read_text("utf-8"):
        (hf / "chat_template.jinja").write_text("{{ messages[-1].content }}")  # vLLM chats with no model without one
    start = Start(folder, model.id, hf, args.vllm_python, args.dtype, arguments)
    asked = Asked(n=args.n, tokens=args.tokens, timeout_s=5.0)
    async with AsyncExitStack() as stack:
        sides: dict[Side, tuple[Server, ...]] = {}
        engines = args.engine or ("ctranslate2", "vllm")
        starts: list[Callable[[], Served]] = [start.vllm, *(partial(start.touchstone, engine) for engine in engines)]
        vllm, *touchstones = await all_held(stack, starts)
        for engine, server in zip(engines, touchstones, strict=True):
            sides[Ours(engine, server.client)] = (server,)
        ours = list(sides)
        for at_once in (True, False) if args.in_turn else (True,):
            sides[Separate(model.id, vllm.client, at_once)] = (vllm,)
        sides[Together(model.id, vllm.client)] = (vllm,)
        if args.optillm_python is not None:
            [proxy] = await all_held(stack, [partial(start.optillm, args.optillm_python, vllm.served, args.n)])
            sides[Optillm(model.id, proxy.client)] = (vllm, proxy)
        if args.wait:
            sys.stderr.write("ready\n")
            await asyncio.to_thread(sys.stdin.readline)
        found: dict[Side, Rounds] = await measure(sides, problems, asked, args.rounds)
    host = this_host()
    sys.stdout.write(
        f"{model.id}, n = {args.n}, at most {args.tokens} tokens, {len(problems)} problems, {args.rounds} rounds; "
        f"vLLM in {args.dtype}; {host.cores} cores of {host.cpu}\n" + "\n".join(lines(found, ours)) + "\n"
    )


if __name__ == "__main__":
    main()
