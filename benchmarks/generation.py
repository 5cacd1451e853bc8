"""Speed of generation, and of asynchronous against lock-step rollouts.

    python -m benchmarks.generation [--json] [--model FOLDER] [--threads N]

- Two turns of 8 prompts x 8 members with a real model (SmolLM2-135M-Instruct, --model): 150 prompt
  ids, 60 sampled, 250 page ids, 60 sampled; compared with `generate` of transformers, which is
  called for each turn without a kept cache. Greedy ids of both are compared first.
- The same turns through `VLLMGenerator`, compared with direct use of vLLM; needs `make
  simulator-environment` and is skipped without it.
- Rollouts of the tiny policy with page latencies of 50 ms (median) and 2 s (99th percentile):
  asynchronous compared with lock step. The episodes of both are compared first.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from agents.llm.generators.base import Generation, GenerationRequest, generate
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.types import Group
from benchmarks.report import Row, print_rows
from zs_env.config import build_engine, build_questions
from zs_env.search.types import SearchRequest
from zs_env.text.hashing import stable_hash, uniform
from zs_env.vector_env import ZeroSearchVectorEnv

PROMPTS, MEMBERS = 8, 8
PROMPT_IDS, TURN_IDS, PAGE_IDS = 150, 60, 250
QUESTIONS, EPISODES = 14, 10  # a step of `zerosearch train`
_MEDIAN_S, _P99_S = 0.05, 2.0
_SIMULATOR = Path(__file__).parents[1] / ".venv-simulator" / "bin" / "python"


def endless(policy: Policy) -> Policy:
    """Disable stop tokens, so that both sides sample the same number of ids."""
    policy.codec.__dict__["stop_token_ids"] = frozenset()
    return policy


def prompts(policy: Policy) -> list[list[int]]:
    """Prompts of random ordinary ids, equal within a group."""
    rng = random.Random(0)
    ordinary = [i for i in range(len(policy.tokenizer)) if i not in policy.codec.control_token_ids]
    groups = [rng.choices(ordinary, k=PROMPT_IDS) for _ in range(PROMPTS)]
    return [list(group) for group in groups for _ in range(MEMBERS)]


def page(policy: Policy) -> list[int]:
    """Ids of a page."""
    ordinary = [i for i in range(len(policy.tokenizer)) if i not in policy.codec.control_token_ids]
    return random.Random(1).choices(ordinary, k=PAGE_IDS)


def play(generator: Any, policy: Policy, sampling: Sampling) -> tuple[float, list[Generation]]:
    """Seconds of two turns of every member, and its second turns."""
    ids, page_ids = prompts(policy), page(policy)
    turns: list[Generation] = []
    started = time.perf_counter()
    for turn in range(2):
        requests = [
            GenerationRequest(session=n, token_ids=one, seed=n) for n, one in enumerate(ids)
        ]
        turns = generate(generator, requests, sampling)
        if turn == 0:
            ids = [[*a, *b.token_ids, *page_ids] for a, b in zip(ids, turns, strict=True)]
    seconds = time.perf_counter() - started
    generator.close()
    return seconds, turns


@torch.no_grad()
def play_with_generate(policy: Policy, sampling: Sampling) -> tuple[float, list[list[int]]]:
    """The same with `generate` of transformers."""
    ids, page_ids = torch.tensor(prompts(policy)), torch.tensor(page(policy))
    sampled = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": sampling.temperature}
    started = time.perf_counter()
    new_ids = ids[:, :0]
    for turn in range(2):
        whole = policy.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=sampling.max_new_tokens,
            min_new_tokens=sampling.max_new_tokens,
            pad_token_id=policy.codec.pad_token_id,
            **(sampled if sampling.temperature else {"do_sample": False}),
        )
        new_ids = whole[:, ids.shape[1] :]
        if turn == 0:
            ids = torch.cat([whole, page_ids.expand(len(whole), -1)], dim=1)
    return time.perf_counter() - started, new_ids.tolist()


def _against_generate(folder: Path) -> Row:
    exact = endless(load_policy(folder))
    _, ours = play(TransformersGenerator(exact), exact, Sampling(max_new_tokens=4, temperature=0.0))
    _, theirs = play_with_generate(exact, Sampling(max_new_tokens=4, temperature=0.0))
    assert [list(turn.token_ids) for turn in ours] == theirs, (
        "greedy ids differ from those of generate()"
    )
    del exact
    policy = endless(load_policy(folder, dtype="bfloat16"))
    sampling = Sampling(max_new_tokens=TURN_IDS)
    generator = TransformersGenerator(policy)
    tokens = 2 * PROMPTS * MEMBERS * TURN_IDS
    return Row(
        case=f"two turns, {PROMPTS} x {MEMBERS}, {folder.name}, peer: generate()",
        ours=tokens / play(generator, policy, sampling)[0],
        peer=tokens / play_with_generate(policy, sampling)[0],
        unit="tokens/s",
    )


def _through_vllm(folder: Path) -> Row | None:
    if not _SIMULATOR.exists():
        print("vLLM is not measured: make simulator-environment", file=sys.stderr)
        return None
    script = Path(__file__).parent / "peers" / "vllm_generation.py"
    root = Path(__file__).parents[1]
    with tempfile.NamedTemporaryFile() as log:
        done = subprocess.run(
            [str(_SIMULATOR), str(script), str(folder)],
            cwd=root,
            env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "VLLM_CPU_KVCACHE_SPACE": "2"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
        )
        if done.returncode:
            print(Path(log.name).read_text()[-2000:], file=sys.stderr)
            return None
    figures = json.loads(done.stdout.splitlines()[-1])
    return Row(
        case=f"the same through vLLM, peer: vLLM alone ({figures['version']})",
        ours=figures["ours"],
        peer=figures["bare"],
        unit="tokens/s",
    )


class _SlowEngine:
    """An engine whose latency is log-normal and depends on the seed of the request."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._spread = math.log(_P99_S / _MEDIAN_S) / NormalDist().inv_cdf(0.99)

    def search(self, requests: Sequence[SearchRequest]) -> Any:
        time.sleep(max(map(self._seconds, requests)))  # the requests of a call run in parallel
        return self._engine.search(requests)

    def _seconds(self, request: SearchRequest) -> float:
        share = min(max(uniform(stable_hash(f"{request.query}\0{request.seed}")), 1e-6), 1 - 1e-6)
        return _MEDIAN_S * math.exp(self._spread * NormalDist().inv_cdf(share))


def _asynchronous() -> Row:
    policy = load_policy("tiny")
    questions = build_questions({"kind": "world"})
    engine = _SlowEngine(build_engine({"kind": "world"}, questions))
    seconds: dict[bool, float] = {}
    groups: dict[bool, list[Group]] = {}
    for lock_step in (False, True):
        environment = ZeroSearchVectorEnv(
            QUESTIONS * EPISODES,
            questions,
            engine,
            autoreset_mode=AutoresetMode.DISABLED,
            prompt="bare",
        )
        started = time.perf_counter()
        groups[lock_step] = collect_rollouts(
            environment,
            policy,
            TransformersGenerator(policy),
            question_indices=range(QUESTIONS),
            seeds=range(QUESTIONS),
            group_size=EPISODES,
            sampling=Sampling(max_new_tokens=96),
            lock_step=lock_step,
        )
        seconds[lock_step] = time.perf_counter() - started
        environment.close()
    ids = [
        [r.token_ids for g in groups[lock_step] for r in g.rollouts] for lock_step in (False, True)
    ]
    same = sum(a == b for a, b in zip(*ids, strict=True))
    # Rounding depends on the batch size, so a few samples in thousands differ.
    assert same >= 0.95 * len(ids), f"only {same} of {len(ids)} episodes are the same"
    return Row(
        case=f"{QUESTIONS} x {EPISODES} episodes, pages 50 ms to 2 s, peer: lock step",
        ours=seconds[False],
        peer=seconds[True],
        unit="s",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--model", type=Path, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[Row | None] = [_asynchronous()]
    if arguments.model is None:
        print("without --model FOLDER only the tiny policy is measured", file=sys.stderr)
    else:
        rows += [_against_generate(arguments.model), _through_vllm(arguments.model)]
    print_rows([row for row in rows if row is not None], as_json=arguments.json)


if __name__ == "__main__":
    main()
