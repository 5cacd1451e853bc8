"""Small data files about the fictional world, one of each form of questions and passages.

The questions for training are about one world, those of all other files about the held-out one.
`docs/data.md` describes the forms.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from zs_env.questions.hidden_answers import hidden_answers
from zs_env.questions.question import Paragraph, Question
from zs_env.world.questions import Chain, Comparison, WorldQuestions, parse_question
from zs_env.world.world import Entity, Fact, World

NUM_PARAGRAPHS = 8  # of a question
_SIZES = {"train": 400, "dev": 100, "test": 100}
_FORM_SIZE = 20  # questions in a file that shows the form of a data set
Row = dict[str, Any]


def write_sample_files(folder: Path) -> dict[str, str]:
    """Write the files into a folder; the same call writes the same files.

    Returns:
        What each file holds, by its name.

    Raises:
        FileExistsError: if a file of the folder has the name of a sample file and other contents.
    """
    files = dict(_files())
    texts = {
        name: "".join(f"{json.dumps(row)}\n" for row in rows) for name, (_, rows) in files.items()
    }
    for name, text in texts.items():
        path = folder / name
        if path.exists() and path.read_bytes() != text.encode():
            raise FileExistsError(
                f"{path} exists and is not this sample file; choose another folder, or move the "
                "file away"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    return {name: about for name, (about, _) in files.items()}


def question_with_paragraphs(question: Question, world: World) -> Question:
    """Add paragraphs to a question of a world: those that support the answer, and distractors.

    A paragraph holds all facts about one entity, with the entity's name as its title. Distractors
    do not name the answer, except that of a comparison. The order is random and depends on the
    question's id alone.
    """
    rng = random.Random(f"paragraphs {question.id}")
    subjects = list(dict.fromkeys(fact.subject for fact in supporting_facts(question.text, world)))
    gold = [_paragraph(world, subject, is_gold=True) for subject in subjects]
    answers = {*hidden_answers(question.text, question.answers)}
    distractors = []
    for entity in rng.sample(list(world.facts_about), len(world.facts_about)):
        if len(gold) + len(distractors) == NUM_PARAGRAPHS:
            break
        named = {entity, *(fact.object for fact in world.facts_about[entity])}
        if entity not in subjects and answers.isdisjoint(n for one in named for n in one.names):
            distractors.append(_paragraph(world, entity, is_gold=False))
    paragraphs = [*gold, *distractors]
    rng.shuffle(paragraphs)
    return Question(
        id=question.id,
        text=question.text,
        answers=question.answers,
        source=question.source,
        paragraphs=tuple(paragraphs),
        metadata=question.metadata,
    )


def supporting_facts(text: str, world: World) -> list[Fact]:
    """Return the facts that answer a question of a world, in the order of its hops."""

    def fact(entity: Entity, relation: str) -> Fact:
        return next(f for f in world.facts_about[entity] if f.relation.name == relation)

    parsed = parse_question(text)
    if isinstance(parsed, Chain):
        facts, entity = list[Fact](), world.named[parsed.start.lower()]
        for relation in parsed.relations:
            facts.append(fact(entity, relation))
            entity = facts[-1].object
        return facts
    if isinstance(parsed, Comparison):
        return [fact(world.named[name.lower()], parsed.relation) for name in parsed.names]
    found = [
        {f.subject: f for f in world.facts_of[relation] if f.object.name == name}
        for relation, name in parsed.conditions
    ]
    subject = next(subject for subject in found[0] if subject in found[1])
    return [facts[subject] for facts in found]


def _files() -> Iterable[tuple[str, tuple[str, list[Row]]]]:
    train, held_out = World(0, "train"), World(0, "heldout")
    training, others = _questions(train), _questions(held_out)
    for split, drawn in (("train", training), ("dev", others), ("test", others)):
        rows = [_own_row(question) for question in islice(drawn, _SIZES[split])]
        yield f"{split}.jsonl", (f"{len(rows)} questions with paragraphs", rows)
    forms: dict[str, tuple[str, Callable[[Question], Row]]] = {
        "plain": ("without paragraphs", _plain_row),
        "hotpotqa": (
            "in the form of HotpotQA and 2WikiMultihopQA, with yes/no questions",
            _hotpotqa,
        ),
        "musique": ("in the form of MuSiQue, with aliases of answers", _musique_row),
        "dpr": ("in the form of DPR's training files", _dpr_row),
        "flashrag": ("in the form of FlashRAG, with paragraphs in metadata", _flashrag_row),
        "verl": ("in the form of Search-R1's and verl's data, with prompts", _verl_row),
    }
    for name, (about, row_of) in forms.items():
        rows = [row_of(question) for question in islice(others, _FORM_SIZE)]
        yield f"{name}.jsonl", (f"{_FORM_SIZE} questions {about}", rows)
    passages = [
        {"id": f"{world.split}-{number}", "title": entity.name, "text": _facts(world, entity)}
        for world in (train, held_out)
        for number, entity in enumerate(world.facts_about)
    ]
    yield "passages.jsonl", (f"{len(passages)} passages, which answer all questions", passages)
    contents = [
        {"id": row["id"], "contents": f'"{row["title"]}"\n{row["text"]}'} for row in passages
    ]
    yield "passages.search-r1.jsonl", ("the same passages in the form of Search-R1", contents)


def _questions(world: World) -> Iterator[Question]:
    """Yield questions of a world, with paragraphs; no two have the same text."""
    texts = set[str]()
    for question in WorldQuestions(world, seed=1):
        if question.text not in texts:
            texts.add(question.text)
            yield question_with_paragraphs(question, world)


def _facts(world: World, entity: Entity) -> str:
    return " ".join(
        fact.sentence(name) for name in entity.names for fact in world.facts_about[entity]
    )


def _paragraph(world: World, entity: Entity, *, is_gold: bool) -> Paragraph:
    return Paragraph(title=entity.name, text=_facts(world, entity), is_gold=is_gold)


def _plain_row(question: Question) -> Row:
    return {"question": question.text, "answer": question.answers[0]}


def _own_row(question: Question) -> Row:
    return {
        "id": question.id,
        "question": question.text,
        "answers": list(question.answers),
        "paragraphs": [
            {"title": p.title, "text": p.text, "is_gold": p.is_gold} for p in question.paragraphs
        ],
        "metadata": dict(question.metadata),
    }


def _hotpotqa(question: Question) -> Row:
    answer, text = question.answers[0], question.text
    parsed = parse_question(text)
    if isinstance(parsed, Comparison):
        first, second = parsed.names
        answer = "yes" if (first in question.answers) == parsed.earlier else "no"
        text = f"Is the {parsed.relation} of {first} earlier than that of {second}?"
    gold = [p.title for p in question.paragraphs if p.is_gold]
    return {
        "_id": question.id,
        "question": text,
        "answer": answer,
        "type": "comparison" if isinstance(parsed, Comparison) else "bridge",
        "level": "easy",
        "context": [[p.title, _sentences(p.text)] for p in question.paragraphs],
        "supporting_facts": [[title, 0] for title in gold],
    }


def _musique_row(question: Question) -> Row:
    answer, *aliases = question.answers
    return {
        "id": question.id,
        "question": question.text,
        "answer": answer,
        "answer_aliases": aliases,
        "answerable": True,
        "paragraphs": [
            {
                "idx": number,
                "title": p.title,
                "paragraph_text": p.text,
                "is_supporting": p.is_gold,
            }
            for number, p in enumerate(question.paragraphs)
        ],
    }


def _dpr_row(question: Question) -> Row:
    def contexts(is_gold: bool) -> list[Row]:
        return [
            {"title": p.title, "text": p.text} for p in question.paragraphs if p.is_gold == is_gold
        ]

    return {
        "dataset": "world",
        "question": question.text,
        "answers": list(question.answers),
        "positive_ctxs": contexts(True),
        "negative_ctxs": [],
        "hard_negative_ctxs": contexts(False),
    }


def _flashrag_row(question: Question) -> Row:
    gold = [p.title for p in question.paragraphs if p.is_gold]
    return {
        "id": question.id,
        "question": question.text,
        "golden_answers": list(question.answers),
        "metadata": {
            "context": {
                "title": [p.title for p in question.paragraphs],
                "sentences": [_sentences(p.text) for p in question.paragraphs],
            },
            "supporting_facts": {"title": gold, "sent_id": [0] * len(gold)},
        },
    }


def _verl_row(question: Question) -> Row:
    prompt = f"Answer the question with searches. Question: {question.text}"
    return {
        "data_source": "world",
        "question": question.text,
        "golden_answers": list(question.answers),
        "prompt": [{"role": "user", "content": prompt}],
    }


def _sentences(text: str) -> Sequence[str]:
    return [f"{sentence.rstrip('.')}." for sentence in text.split(". ")]
