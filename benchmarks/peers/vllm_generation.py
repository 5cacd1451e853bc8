"""Turns through our generator on vLLM, and by vLLM bare; prints one JSON object."""

import json
import os
import sys
import time

os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

import vllm
from vllm import TextSampling

from agents.llm.generators.sampling import Sampling
from agents.llm.generators.vllm.local import VLLMGenerator
from agents.llm.policy.policy import load_policy
from benchmarks.generation import MEMBERS, PROMPTS, TURN_IDS, endless, page, play, prompts


def bare(llm, policy) -> float:
    """Seconds of the same two turns by `LLM.generate`, ids in and ids out."""
    shown = page(policy)
    params = [
        TextSampling(max_tokens=TURN_IDS, ignore_eos=True, logprobs=0, seed=n, temperature=1.0)
        for n in range(PROMPTS * MEMBERS)
    ]
    ids = prompts(policy)
    started = time.perf_counter()
    for turn in range(2):
        outputs = llm.generate([{"prompt_token_ids": one} for one in ids], params, use_tqdm=False)
        if turn == 0:
            ids = [
                [*one, *output.outputs[0].token_ids, *shown]
                for one, output in zip(ids, outputs, strict=True)
            ]
    return time.perf_counter() - started


def main() -> None:
    policy = endless(load_policy(sys.argv[1], dtype="bfloat16"))
    generator = VLLMGenerator(
        policy, max_context=1024, max_num_seqs=64, enable_chunked_prefill=False
    )
    llm = generator.llm
    tokens = 2 * PROMPTS * MEMBERS * TURN_IDS
    seconds = {"ours": [], "bare": []}
    for _ in range(3):
        llm.reset_prefix_cache()
        seconds["bare"].append(bare(llm, policy))
        llm.reset_prefix_cache()
        seconds["ours"].append(play(generator, policy, Sampling(max_new_tokens=TURN_IDS))[0])
    figures = {name: tokens / min(values[1:]) for name, values in seconds.items()}
    print(json.dumps({**figures, "version": f"vllm {vllm.__version__}"}))


if __name__ == "__main__":
    main()
