"""Who plays the demonstrations of a warm start, and on which questions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

from agents.llm.sft.config import WarmStartConfig
from agents.llm.sft.paragraph_teacher import demonstrate_paragraphs
from agents.llm.sft.world_teacher import NO_ERRORS, demonstrate
from zs_env.config import build_engine, build_questions
from zs_env.episode import Episode, EpisodeConfig, Limits
from zs_env.prompts import PromptTemplate
from zs_env.questions.question import Question, QuestionDataset
from zs_env.transcripts.transcript import Transcript
from zs_env.world import WorldEngine, WorldQuestions

# None where the teacher did not get to the answer.
_Teacher = Callable[[Question, EpisodeConfig, random.Random], Transcript | None]


def play_demonstrations(config: WarmStartConfig) -> Iterator[Transcript | None]:
    """One demonstration per question, None where the teacher failed, in random order."""
    questions = build_questions(config.question_spec())
    teach = _teacher(config, questions)
    rules = EpisodeConfig(
        max_turns=config.max_turns,
        num_documents=config.num_documents,
        prompt=PromptTemplate.of(config.prompt),
        limits=Limits(max_document_chars=config.max_document_chars),
    )
    rng = random.Random(f"demonstrations {config.seed}")
    for index in _order(questions, rng):
        question = questions[index]
        if _can_be_taught(question, config):
            yield teach(question, rules, rng)


def answer_at_once(question: Question, rules: EpisodeConfig) -> Transcript:
    """Play one episode as a teacher who knows the answer and searches for nothing."""
    episode = Episode(question, config=rules)
    episode.act(f"<think> Done.</think><answer> {question.answers[0]}</answer>")
    return episode.transcript()


def _teacher(config: WarmStartConfig, questions: QuestionDataset) -> _Teacher:
    if config.max_turns == 1:
        return lambda question, rules, rng: answer_at_once(question, rules)
    if isinstance(questions, WorldQuestions):
        engine = WorldEngine(questions.world)
        return lambda question, rules, rng: _if_right(
            demonstrate(
                question,
                engine,
                config=rules,
                errors=NO_ERRORS,
                noise_probability=rng.uniform(0.0, config.max_noise),
                rng=rng,
            )
        )
    paragraphs = build_engine({"kind": "paragraphs"}, questions)
    return lambda question, rules, rng: demonstrate_paragraphs(
        question,
        paragraphs,
        config=rules,
        noise_probability=rng.uniform(0.0, config.max_noise),
        rng=rng,
    )


def _if_right(transcript: Transcript) -> Transcript | None:
    """A guess of the last turn may be wrong: nothing to learn from."""
    return transcript if transcript.scores()["exact_match"] else None


def _order(questions: QuestionDataset, rng: random.Random) -> Iterable[int]:
    """A world makes its questions from their index, and so has shuffled them already."""
    if isinstance(questions, WorldQuestions):
        return range(len(questions))
    return rng.sample(range(len(questions)), len(questions))


def _can_be_taught(question: Question, config: WarmStartConfig) -> bool:
    """Whether it is a world's, or its gold paragraphs are known, or nothing is searched for."""
    by_heart = config.max_turns == 1 or question.source == "world"
    return by_heart or any(paragraph.is_gold for paragraph in question.paragraphs)
