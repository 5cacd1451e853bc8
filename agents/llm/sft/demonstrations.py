"""Demonstrations of a warm start: a teacher plays questions, and its episodes become rollouts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Rollout, Segment, Source
from agents.llm.sft.config import DemonstrationConfig
from agents.llm.sft.paragraph_teacher import ParagraphTeacher
from agents.llm.sft.passage_teacher import PassageTeacher, can_be_taught
from agents.llm.sft.teacher import Teacher
from agents.llm.sft.world_teacher import NO_ERRORS, WorldTeacher
from zs_env.config import build_engine, build_questions
from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.noise import check_noise
from zs_env.prompts import PromptTemplate
from zs_env.questions.question import Question, QuestionDataset
from zs_env.sampler import questions_within_limits
from zs_env.search.engine import SearchEngine
from zs_env.transcripts.transcript import Transcript
from zs_env.world import WorldEngine, WorldQuestions


def play_demonstrations(config: DemonstrationConfig, *, seed: int) -> Iterator[Transcript | None]:
    """Play each question that can be taught once, in random order; None if the answer is wrong.

    Raises:
        ValueError: if no question can be taught, a prompt is too long, or the engine cannot return
            noisy documents.
    """
    rules = EpisodeConfig(
        max_turns=config.max_turns,
        num_documents=config.num_documents,
        **config.tool_settings(),
        **config.noise_settings(),
        prompt=PromptTemplate.of(config.prompt),
        limits=Limits(max_document_chars=config.max_document_chars, **config.prompt_limits()),
    )
    questions = questions_within_limits(build_questions(config.question_spec()), rules)
    engine = _engine(config, questions) if config.max_turns > 1 else None
    rng = random.Random(f"demonstrations {seed}")
    order = range(len(questions))
    # The questions of a world are in random order.
    world = isinstance(questions, WorldQuestions)
    for index in order if world else rng.sample(order, len(order)):
        question = questions[index]
        if engine is None:
            yield answer_at_once(question, rules)
        elif (make := _teacher_of(question, world, config)) is not None:
            noise = rng.uniform(0.0, config.max_noise)
            played = make(question, rng=rng).play(engine, config=rules, noise_probability=noise)
            yield played if played.scores()["exact_match"] else None


def _engine(config: DemonstrationConfig, questions: QuestionDataset) -> SearchEngine:
    """Return the engine that the teacher searches."""
    if config.engine is not None:
        engine = build_engine(config.engine, questions)
        kinds = config.noise_kinds or "irrelevant"
        check_noise(engine, config.max_noise, kinds, setting="--max-noise")
        return engine
    if isinstance(questions, WorldQuestions):
        return WorldEngine(questions.world)
    known = (questions[index].paragraphs for index in range(len(questions)))
    if not any(paragraph.is_gold for paragraphs in known for paragraph in paragraphs):
        raise ValueError(
            f"none of the {len(questions)} questions has a gold paragraph, which the teacher "
            "quotes; choose --questions with paragraphs, as HotpotQA has them, --engine for a "
            "teacher that searches a corpus, or --max-turns 1 for demonstrations that answer "
            "without a search"
        )
    return build_engine({"kind": "paragraphs"}, questions)


def _teacher_of(
    question: Question, world: bool, config: DemonstrationConfig
) -> Callable[..., Teacher] | None:
    """Return the class of the question's teacher; None if no teacher can play it."""
    if config.engine is not None:
        return PassageTeacher if can_be_taught(question) else None
    if world:
        return partial(WorldTeacher, errors=NO_ERRORS)
    has_gold = any(paragraph.is_gold for paragraph in question.paragraphs)
    return ParagraphTeacher if has_gold else None


def answer_at_once(question: Question, rules: EpisodeConfig) -> Transcript:
    """Play one episode as a teacher that answers correctly without a search."""
    episode = Episode(question, config=rules)
    episode.act(f"<think> Done.</think><answer> {question.answers[0]}</answer>")
    return episode.transcript()


def encode_demonstration(policy: Policy, transcript: Transcript) -> Rollout:
    """Encode a teacher's episode as if the policy had sampled it, with log-probabilities 0.

    Every turn is encoded alone, as in a rollout, in the policy's turn format. A turn ends with its
    closing tag, as the turns of a policy do, so the policy does not learn an end-of-sequence token.
    A function call without a closing tag ends with the chat template's end of a turn.
    """
    segments = [
        Segment(source=Source.PROMPT, token_ids=policy.codec.encode_prompt(transcript.prompt))
    ]
    for turn in transcript.turns:
        action = policy.codec.encode_action(turn.text)
        segments.append(
            Segment(source=Source.POLICY, token_ids=action, logprobs=(0.0,) * len(action))
        )
        if turn.message:
            (message,) = policy.codec.encode_observations([turn.message], [action])
            segments.append(Segment(source=Source.ENVIRONMENT, token_ids=message))
    return Rollout(segments=tuple(segments), transcript=transcript)
