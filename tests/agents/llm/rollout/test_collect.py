import re
import threading
import time

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from agents.llm.generators.base import Generation
from agents.llm.generators.hf.generator import TransformersGenerator
from agents.llm.generators.sampling import Sampling
from agents.llm.generators.scripted import ScriptedGenerator
from agents.llm.learner.batch import Batch
from agents.llm.learner.models import LogprobModel
from agents.llm.rollout.collect import collect_rollouts
from agents.llm.rollout.types import Source
from zs_env import Document, Question, SearchError, SearchPage, ZeroSearchEnv
from zs_env.engines import ScriptedEngine
from zs_env.vector_env import ZeroSearchVectorEnv

QUESTIONS = [Question(id=f"q{i}", text=f"What is {i}?", answers=(f"a{i}",)) for i in range(5)]
PAGES = {"what": ["It is <eos> something.", "<answer>a0</answer>"]}
SHORT = Sampling(max_new_tokens=20)


def _environment(num_envs: int = 4, engine=None, **settings) -> ZeroSearchVectorEnv:
    return ZeroSearchVectorEnv(
        num_envs,
        QUESTIONS,
        engine or ScriptedEngine(PAGES, default=["Nothing."]),
        autoreset_mode=AutoresetMode.DISABLED,
        num_documents=2,
        **{"max_turns": 3, "prompt": "bare", **settings},
    )


def _search_then_answer(text: str) -> str:
    number = re.search(r"What is (\d)", text)[1]
    if "<information>" not in text:
        return f"<search>what</search> tail {number}"
    return f"<answer>a{number}</answer>"


def _collect(generator, environment, policy, **settings):
    return collect_rollouts(
        environment,
        policy,
        generator,
        **{
            "question_indices": [0, 3, 1],
            "seeds": [10, 11, 12],
            "group_size": 2,
            "sampling": SHORT,
            **settings,
        },
    )


def test_a_rollout_holds_all_tokens_and_their_sources(make_policy):
    policy = make_policy()
    generator = ScriptedGenerator(policy, _search_then_answer)
    groups = _collect(generator, _environment(), policy, sampling=Sampling(max_new_tokens=64))
    assert [[r.transcript.question.id for r in g.rollouts] for g in groups] == [
        ["q0", "q0"],
        ["q3", "q3"],
        ["q1", "q1"],
    ]
    rollout = groups[1].rollouts[0]
    texts = [(s.source, policy.codec.decode(s.token_ids)) for s in rollout.segments]
    page = rollout.transcript.turns[0].message
    assert texts == [
        (Source.PROMPT, "Question: What is 3?\n"),
        (Source.POLICY, "<search>what</search>"),  # what follows the tag is never written
        (Source.ENVIRONMENT, page),
        (Source.POLICY, "<answer>a3</answer>"),
    ]
    assert "<answer>" not in page and "a0" in page
    assert policy.codec.decode(rollout.token_ids) == rollout.transcript.text
    assert rollout.reward == 1.0
    assert rollout.token_mismatch == 0


def test_the_ids_of_a_model_decode_to_its_transcript(make_policy):
    policy = make_policy()
    generator = TransformersGenerator(policy)
    groups = _collect(generator, _environment(), policy)
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        assert rollout.token_mismatch == 0
        text = policy.codec.decode(rollout.token_ids)
        assert text.replace("<eos>", "").replace("\x00", "\ufffd") == rollout.transcript.text
        written = [s for s in rollout.segments if s.source is Source.POLICY]
        assert len(written) == len(rollout.transcript.turns) == 3
    # Nothing is left behind: the next rollouts may use the same session names.
    again = _collect(generator, _environment(), policy)
    assert again == groups


@pytest.mark.parametrize("num_envs", [1, 3, 8])
def test_rollouts_do_not_depend_on_the_number_of_sub_environments(make_policy, num_envs):
    policy = make_policy()
    wanted = _collect(TransformersGenerator(policy), _environment(6), policy)
    groups = _collect(TransformersGenerator(policy), _environment(num_envs), policy)
    assert [r.token_ids for g in groups for r in g.rollouts] == [
        r.token_ids for g in wanted for r in g.rollouts
    ]
    assert [r.transcript for g in groups for r in g.rollouts] == [
        r.transcript for g in wanted for r in g.rollouts
    ]


def test_recomputed_logprobs_equal_those_sampled(make_policy):
    policy = make_policy()
    sampling = Sampling(max_new_tokens=20, temperature=0.7)
    groups = _collect(TransformersGenerator(policy), _environment(), policy, sampling=sampling)
    compared = 0
    batch = Batch.from_groups(groups)
    for micro_batch in batch.micro_batches(400):
        with torch.no_grad():
            recomputed = LogprobModel(policy.model, temperature=0.7)(micro_batch)[0]
        sampled = batch.sampled_logprobs_A[micro_batch.tokens_A]
        torch.testing.assert_close(recomputed, sampled, atol=1e-4, rtol=0)
        compared += len(recomputed)
    assert compared == sum(sum(r.action_mask) for g in groups for r in g.rollouts) > 200


class _Replay:
    """A generator that returns recorded turns, found by session and ids so far."""

    def __init__(self, rollouts):
        self.turns = {}
        for number, rollout in enumerate(rollouts):
            before = ()
            for segment in rollout.segments:
                if segment.source is Source.POLICY:
                    self.turns[number, before] = segment
                before += segment.token_ids

    def submit(self, requests, sampling):
        self.submitted = {r.session: self.turns[r.session, tuple(r.token_ids)] for r in requests}

    def poll(self, should_yield=None):
        return {
            session: Generation(
                token_ids=turn.token_ids, logprobs=turn.logprobs, stop_reason="length"
            )
            for session, turn in self.submitted.items()
        }

    def release(self, sessions):
        pass


def test_equal_turns_of_another_generator_give_equal_rollouts(make_policy):
    policy = make_policy()
    groups = _collect(TransformersGenerator(policy), _environment(), policy)
    replay = _Replay(rollout for group in groups for rollout in group.rollouts)
    assert _collect(replay, _environment(3), policy) == groups


def test_members_of_a_group_differ_and_equal_seeds_repeat_them(make_policy):
    policy = make_policy()
    groups = _collect(TransformersGenerator(policy), _environment(), policy)
    for group in groups:
        assert len({rollout.token_ids for rollout in group.rollouts}) == 2
        assert len({rollout.transcript.seed for rollout in group.rollouts}) == 2
    other = _collect(TransformersGenerator(policy), _environment(), policy, seeds=[1, 2, 12])
    assert other[2] == groups[2]
    assert other[0] != groups[0]


def test_a_group_can_share_its_seed(make_policy):
    policy = make_policy()
    generator = ScriptedGenerator(policy, _search_then_answer)
    groups = _collect(generator, _environment(), policy, share_group_seed=True)
    seeds = [[rollout.transcript.seed for rollout in group.rollouts] for group in groups]
    assert all(left == right for left, right in seeds)
    assert len({left for left, _ in seeds}) == 3


def test_noise_reaches_the_environment(make_policy):
    policy = make_policy()
    generator = ScriptedGenerator(policy, _search_then_answer)
    engine = ScriptedEngine(lambda _: ["A page."], supports_noise=True)
    groups = _collect(generator, _environment(engine=engine), policy, noise_probability=0.25)
    assert {r.transcript.noise_probability for g in groups for r in g.rollouts} == {0.25}
    noise = {"start": 0.0, "end": 0.5, "total_steps": 10}
    environment = _environment(engine=engine, noise=noise)
    groups = _collect(generator, environment, policy, training_step=10)
    assert {r.transcript.noise_probability for g in groups for r in g.rollouts} == {0.5}


def test_an_episode_ended_by_an_engine_failure_has_failed(make_policy):
    policy = make_policy()

    def fails_for_3(request):
        if "3" in request.question:
            raise SearchError("down")
        return ["A page."]

    generator = ScriptedGenerator(policy, _search_then_answer)
    groups = _collect(
        generator,
        _environment(1, ScriptedEngine(fails_for_3)),
        policy,
        sampling=Sampling(max_new_tokens=64),
    )
    assert [[r.failed for r in g.rollouts] for g in groups] == [
        [False] * 2,
        [True] * 2,
        [False] * 2,
    ]
    assert all(r.reward == 0 for r in groups[1].rollouts)


def test_an_end_of_sequence_before_a_tag_is_a_malformed_action_and_stays_in_the_ids(make_policy):
    policy = make_policy()
    generator = ScriptedGenerator(policy, lambda text: "I give up")
    (group,) = _collect(
        generator, _environment(), policy, question_indices=[0], seeds=[0], group_size=1
    )
    (rollout,) = group.rollouts
    assert rollout.transcript.malformed == {"no_action": 3}
    assert rollout.transcript.reason == "turn_limit" and not rollout.failed
    for segment in rollout.segments[1::2]:
        assert policy.codec.decode(segment.token_ids) == "I give up<eos>"
    assert rollout.transcript.turns[0].text == "I give up"


def test_an_episode_with_a_full_context_continues_with_empty_actions(make_policy):
    policy = make_policy()
    prompt = len(policy.codec.encode_prompt("Question: What is 0?\n"))
    full = TransformersGenerator(policy, max_context=prompt + 20 + 5)
    (group,) = _collect(full, _environment(), policy, question_indices=[0], seeds=[0], group_size=1)
    (rollout,) = group.rollouts
    # The notice after the first turn did not fit, so the model did not process it.
    assert [s.source for s in rollout.segments] == [Source.PROMPT, Source.POLICY]
    assert rollout.transcript.reason == "turn_limit"
    assert [turn.text for turn in rollout.transcript.turns[1:]] == ["", ""]
    assert rollout.token_mismatch == 0


def test_an_environment_that_resets_itself_is_refused(make_policy):
    policy = make_policy()
    environment = ZeroSearchVectorEnv(2, QUESTIONS, ScriptedEngine(PAGES))
    with pytest.raises(ValueError, match=r"autoreset_mode=AutoresetMode\.DISABLED"):
        _collect(ScriptedGenerator(policy, str), environment, policy)


def test_every_question_needs_a_seed(make_policy):
    policy = make_policy()
    with pytest.raises(ValueError, match="2 seeds for 3 questions"):
        _collect(ScriptedGenerator(policy, str), _environment(), policy, seeds=[1, 2])


def test_slots_without_an_episode_change_nothing_and_are_seeded(make_policy):
    policy = make_policy()
    generator = ScriptedGenerator(policy, _search_then_answer)
    few = _collect(generator, _environment(8), policy, question_indices=[2], seeds=[5])
    exact = _collect(generator, _environment(2), policy, question_indices=[2], seeds=[5])
    assert few == exact
    assert np.all([r.transcript.question.id == "q2" for r in few[0].rollouts])


class _Gates:
    """An engine that delays the pages of one question until another episode has searched."""

    thread_safe = True

    def __init__(self, held: str, until: str) -> None:
        self._held, self._until, self._gate = held, until, threading.Event()

    def search(self, requests):
        for request in requests:
            if request.question == self._held:
                assert self._gate.wait(timeout=30)
        if any(request.query == self._until for request in requests):
            self._gate.set()
        return [SearchPage((Document(f"{r.query} {r.seed}"),)) for r in requests]


def _search_twice(text: str) -> str:
    number = re.search(r"What is (\d)", text)[1]
    if "<information>" not in text:
        return f"<search>first {number}</search>"
    return f"<search>second {number}</search>" if "second" not in text else "<answer>x</answer>"


def test_no_episode_waits_for_the_page_of_another(make_policy):
    # In lock step this would be a deadlock: the first page of question 3 waits for the second
    # search of question 1, which comes a step later.
    groups = _collect(
        ScriptedGenerator(policy := make_policy(), _search_twice),
        _environment(6, engine=_Gates("What is 3?", "second 1")),
        policy,
        sampling=Sampling(max_new_tokens=64),
        lock_step=False,
    )
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    assert [r.transcript.failure for r in rollouts] == [None] * 6
    assert [r.transcript.question.id for r in rollouts] == ["q0", "q0", "q3", "q3", "q1", "q1"]


class _Delayed:
    """Pages with a short delay that differs between searches."""

    def search(self, requests):
        for request in requests:
            time.sleep(request.seed % 7 / 500)
        return [SearchPage((Document(f"{r.query} {r.seed}"),)) for r in requests]


@pytest.mark.parametrize("num_envs", [2, 6])
def test_asynchronous_episodes_equal_those_of_lock_step(make_policy, num_envs):
    policy = make_policy()
    together = _collect(TransformersGenerator(policy), _environment(engine=_Delayed()), policy)
    apart = _collect(
        TransformersGenerator(policy),
        _environment(num_envs, engine=_Delayed()),
        policy,
        lock_step=False,
    )
    for one, other in zip(together, apart, strict=True):
        for left, right in zip(one.rollouts, other.rollouts, strict=True):
            assert left.token_ids == right.token_ids
            assert left.transcript == right.transcript
            assert left.logprobs == pytest.approx(right.logprobs, abs=1e-5)


def test_a_full_context_is_handled_asynchronously_too(make_policy):
    policy = make_policy()
    prompt = len(policy.codec.encode_prompt("Question: What is 0?\n"))
    settings = dict(sampling=SHORT, question_indices=[0], seeds=[1])
    together, apart = (
        _collect(
            TransformersGenerator(policy, max_context=prompt + 25),
            _environment(2),
            policy,
            lock_step=lock_step,
            **settings,
        )
        for lock_step in (True, False)
    )
    assert apart == together


def test_an_environment_without_send_needs_lock_step(make_policy):
    policy = make_policy()
    environment = SyncVectorEnv(
        [lambda: ZeroSearchEnv(QUESTIONS, ScriptedEngine(PAGES))],
        autoreset_mode=AutoresetMode.DISABLED,
    )
    with pytest.raises(ValueError, match="lock_step=True"):
        _collect(ScriptedGenerator(policy, str), environment, policy, lock_step=False)
