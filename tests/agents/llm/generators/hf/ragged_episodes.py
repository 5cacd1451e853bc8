"""Episodes of different lengths, for tests of generators."""

import random

from agents.llm.generators.base import Generation, GenerationRequest, generate
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy

SHORT = Sampling(max_new_tokens=12)


def play(
    generator: TransformersGenerator,
    prompts: list[list[int]],
    *,
    turns: int = 3,
    sampling: Sampling = SHORT,
    seed: int = 0,
) -> tuple[list[list[int]], list[list[tuple[int, Generation]]]]:
    """Ragged episodes: random messages, and some turns are skipped."""
    rng = random.Random(seed)
    ids = [list(prompt) for prompt in prompts]
    written: list[list[tuple[int, Generation]]] = [[] for _ in prompts]
    for turn in range(turns):
        playing = [i for i in range(len(prompts)) if turn == 0 or rng.random() < 0.7]
        requests = [GenerationRequest(session=i, token_ids=ids[i], seed=i) for i in playing]
        for i, generation in zip(playing, generate(generator, requests, sampling), strict=True):
            written[i].append((len(ids[i]), generation))
            ids[i] += generation.token_ids
        for i in range(len(prompts)):
            ids[i] += [rng.randrange(200) for _ in range(rng.randrange(1, 40))]
    return ids, written


def some_prompts(policy: Policy, count: int = 6) -> list[list[int]]:
    """Prompts, three of each."""
    return [
        list(policy.codec.encode_prompt(f"Question {i // 3}{'?' * (i // 3)}")) for i in range(count)
    ]
