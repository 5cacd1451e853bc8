"""Conformance tests of the generator protocol.

They do not need pytest, so they also run in a generator's own virtual environment:
`python -m tests.agents.llm.generators.generator_laws` runs them with vLLM in process.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from agents.llm.generators.base import Generation, GenerationRequest, Generator, generate
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.policy.policy import Policy, load_policy
from agents.llm.policy.stopping import CLOSING_TAGS
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.types import Group, Source
from zs_env import Question
from zs_env.engines import ScriptedEngine
from zs_env.vector_env import ZeroSearchVectorEnv

QUESTIONS = [
    Question(id=str(n), text=f"Where was the author of {title} born?", answers=("Rome",))
    for n, title in enumerate(("Ash", "Blue Hour", "The Long Way", "Salt"))
]
PAGE = "Doc 1: Ash was written by Mara Venn in 1951."
SAMPLED, GREEDY = Sampling(max_new_tokens=24), Sampling(max_new_tokens=24, temperature=0.0)
TOLERANCE = 1e-4


def _requests(policy: Policy, count: int = 4, first: int = 0) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            session=first + n,
            token_ids=policy.codec.encode_prompt(f"Question: {QUESTIONS[n % 4].text}\n"),
            seed=7 + n,
        )
        for n in range(count)
    ]


def _next(policy: Policy, request: GenerationRequest, turn: Generation) -> GenerationRequest:
    ids = (*request.token_ids, *turn.token_ids, *policy.codec.encode_environment(f" {PAGE} "))
    return GenerationRequest(session=request.session, token_ids=ids, seed=request.seed)


def _distance(policy: Policy, ids: tuple[int, ...], turn: Generation, temperature: float) -> float:
    """Largest difference of a turn's logprobs from a plain forward pass."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*ids, *turn.token_ids]])).logits[0].float()
    logprobs = torch.log_softmax(logits[len(ids) - 1 : -1] / (temperature or 1.0), dim=-1)
    wanted = logprobs.gather(1, torch.tensor(turn.token_ids)[:, None])[:, 0]
    return float((wanted - torch.tensor(turn.logprobs)).abs().max())


def logprobs_equal_those_of_a_forward_pass(policy: Policy, generator: Generator) -> None:
    """At several temperatures, in first and later turns."""
    tokens = 0
    for number, temperature in enumerate((1.0, 0.7, 0.0)):
        sampling = Sampling(max_new_tokens=24, temperature=temperature)
        requests = _requests(policy, first=10 * number)
        for _ in range(2):
            turns = generate(generator, requests, sampling)
            for request, turn in zip(requests, turns, strict=True):
                distance = _distance(policy, tuple(request.token_ids), turn, temperature)
                assert distance < TOLERANCE, (temperature, distance)
                assert len(turn.logprobs) == len(turn.token_ids) and turn.token_mismatch == 0
                tokens += len(turn.token_ids)
            requests = [_next(policy, r, t) for r, t in zip(requests, turns, strict=True)]
        generator.release([request.session for request in requests])
    assert tokens > 100, tokens


def greedy_turns_equal_those_of_transformers(policy: Policy, generator: Generator) -> None:
    """In first and later turns."""
    reference = TransformersGenerator(policy)
    requests = _requests(policy)
    for _ in range(2):
        turns, wanted = (generate(g, requests, GREEDY) for g in (generator, reference))
        assert [t.token_ids for t in turns] == [t.token_ids for t in wanted]
        assert [t.stop_reason for t in turns] == [t.stop_reason for t in wanted]
        requests = [_next(policy, r, t) for r, t in zip(requests, turns, strict=True)]
    generator.release(range(4))


def a_turn_ends_with_its_tag_or_at_a_limit(policy: Policy, generator: Generator) -> None:
    """No id follows the one that completes a tag; length limits are exact."""
    (request,) = _requests(policy, 1)
    (turn,) = generate(generator, [request], GREEDY)
    text = policy.codec.decode(turn.token_ids)
    assert turn.stop_reason == "tag" and any(tag in text for tag in CLOSING_TAGS), text
    assert not any(tag in policy.codec.decode(turn.token_ids[:-1]) for tag in CLOSING_TAGS)
    short = Sampling(max_new_tokens=2, temperature=0.0)
    (cut,) = generate(generator, [GenerationRequest(session=1, token_ids=request.token_ids)], short)
    assert (cut.token_ids, cut.stop_reason) == (turn.token_ids[:2], "length")
    limit = generator.max_context
    full = (request.token_ids * limit)[:limit]
    requests = [
        GenerationRequest(session=2, token_ids=full),
        GenerationRequest(session=3, token_ids=full[:-1]),
    ]
    no_room, one_left = generate(generator, requests, GREEDY)
    assert (no_room.token_ids, no_room.stop_reason) == ((), "context")
    assert (len(one_left.token_ids), one_left.stop_reason) == (1, "context")
    generator.release(range(4))


def equal_seeds_give_equal_turns(policy: Policy, generator: Generator) -> None:
    """Different seeds give different ids."""
    ids = _requests(policy, 1)[0].token_ids
    warm = Sampling(max_new_tokens=24, temperature=1.5)
    drawn = []
    for first in (0, 8):
        requests = [
            GenerationRequest(session=first + n, token_ids=ids, seed=n % 6) for n in range(8)
        ]
        drawn.append([turn.token_ids for turn in generate(generator, requests, warm)])
        generator.release(range(first, first + 8))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == drawn[0][6] and drawn[0][1] == drawn[0][7]
    assert len(set(drawn[0])) > 3


def changed_ids_of_a_session_are_counted(policy: Policy, generator: Generator) -> None:
    """All known ids from the first changed one on count as mismatch."""
    (request,) = _requests(policy, 1)
    (turn,) = generate(generator, [request], SAMPLED)
    ids = [*request.token_ids, *turn.token_ids]
    changed = [*ids[:3], ids[3] + 1, *ids[4:], 5]
    (after,) = generate(generator, [GenerationRequest(session=0, token_ids=changed)], SAMPLED)
    assert after.token_mismatch == len(ids) - 3
    generator.release([0])


def new_weights_are_used_at_once(policy: Policy, generator: Generator) -> None:
    """Also in sessions that have a cache of the old weights."""
    requests = _requests(policy)
    before = generate(generator, requests, SAMPLED)
    kept = copy.deepcopy(policy.model.state_dict())
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.05)
    generator.load_weights()
    after = generate(generator, requests, SAMPLED)
    for request, turn in zip(requests, after, strict=True):
        assert _distance(policy, tuple(request.token_ids), turn, 1.0) < TOLERANCE
    generator.release(range(4))
    generator.load_weights(kept)
    again = generate(generator, requests, SAMPLED)
    assert [turn.token_ids for turn in again] == [turn.token_ids for turn in before]
    generator.release(range(4))


def turns_end_separately_and_can_be_cancelled(policy: Policy, generator: Generator) -> None:
    """A cancelled turn is never returned; the others are, whenever they were submitted."""
    requests = _requests(policy)
    wanted = {
        r.session: t for r, t in zip(requests, generate(generator, requests, GREEDY), strict=True)
    }
    generator.release(range(4))
    generator.submit(requests[:2], GREEDY)
    generator.submit(requests[2:], GREEDY)
    generator.release([1, 99])
    turns: dict[int, Generation] = {}
    while len(turns) < 3:
        turns |= generator.poll()
    assert {name: turn.token_ids for name, turn in turns.items()} == {
        name: turn.token_ids for name, turn in wanted.items() if name != 1
    }
    assert generator.poll() == {}
    generator.release(range(4))
    generator.submit(requests[:1], GREEDY)
    assert generator.poll(lambda: True).keys() <= {0}
    generator.close()
    assert generator.poll() == {}


def invalid_calls_are_refused(policy: Policy, generator: Generator) -> None:
    """The generator still works afterwards."""
    (request,) = _requests(policy, 1)
    for wrong in ([request, request], [GenerationRequest(session=5, token_ids=())]):
        try:
            generate(generator, wrong, SAMPLED)
        except ValueError:
            pass
        else:
            raise AssertionError("expected a ValueError")
        generator.release([0, 5])
    generator.submit([request], SAMPLED)
    try:
        generator.load_weights()
    except RuntimeError:
        pass
    else:
        raise AssertionError("expected a RuntimeError")
    generator.release([0])


def collect_groups(
    policy: Policy,
    generator: Any,
    *,
    group_size: int,
    max_new_tokens: int,
    lock_step: bool = True,
) -> list[Group]:
    """Play episodes of at most three turns for two questions."""
    environment = ZeroSearchVectorEnv(
        4,
        QUESTIONS,
        ScriptedEngine({}, default=[PAGE]),
        autoreset_mode=AutoresetMode.DISABLED,
        max_turns=3,
        prompt="bare",
    )
    return collect_rollouts(
        environment,
        policy,
        generator,
        question_indices=[0, 1],
        seeds=[1, 2],
        group_size=group_size,
        sampling=Sampling(max_new_tokens=max_new_tokens),
        lock_step=lock_step,
    )


def rollouts_hold_the_sampled_ids(policy: Policy, generator: Generator) -> None:
    """In lock step and asynchronously: ids match the text, and logprobs match the model."""
    for lock_step in (True, False):
        groups = collect_groups(
            policy, generator, group_size=3, max_new_tokens=32, lock_step=lock_step
        )
        for rollout in (rollout for group in groups for rollout in group.rollouts):
            assert rollout.token_mismatch == 0 and not rollout.failed
            assert policy.codec.decode(rollout.token_ids).startswith(rollout.transcript.prompt)
            read: tuple[int, ...] = ()
            for segment in rollout.segments:
                if segment.source is Source.POLICY:
                    assert segment.logprobs is not None
                    turn = Generation(
                        token_ids=segment.token_ids, logprobs=segment.logprobs, stop_reason="tag"
                    )
                    assert _distance(policy, read, turn, 1.0) < TOLERANCE
                read += segment.token_ids


LAWS: tuple[Callable[[Policy, Any], None], ...] = (
    logprobs_equal_those_of_a_forward_pass,
    greedy_turns_equal_those_of_transformers,
    a_turn_ends_with_its_tag_or_at_a_limit,
    equal_seeds_give_equal_turns,
    changed_ids_of_a_session_are_counted,
    new_weights_are_used_at_once,
    turns_end_separately_and_can_be_cancelled,
    invalid_calls_are_refused,
    rollouts_hold_the_sampled_ids,
)


def main() -> None:
    """Run all tests with vLLM in this process."""
    from agents.llm.generators.vllm.local import VLLMGenerator

    policy = load_policy("tiny")
    generator = VLLMGenerator(
        policy,
        max_context=256,
        dtype="float32",
        max_num_seqs=16,
        enforce_eager=True,
        enable_chunked_prefill=False,
    )
    for law in LAWS:
        law(policy, generator)
        print(law.__name__, "holds", flush=True)


if __name__ == "__main__":
    main()
