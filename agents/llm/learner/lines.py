"""Rollouts laid out in lines, the prompt that several of them share once in a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.llm.learner.packing import Packing, Span


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What has to be read of one rollout.

    Attributes:
        row: the rollout.
        token_ids: [T] up to and with its last action token, which is only predicted.
        positions: [A_b] where its action tokens are; from the first on the rollout is its own.
    """

    row: int
    token_ids: Tensor
    positions: Tensor

    @property
    def prompt(self) -> tuple[int, ...]:
        """Ids before the first action."""
        return tuple(self.token_ids[: int(self.positions[0])].tolist())

    @property
    def own(self) -> Tensor:
        """[T - prompt - 1] what is read after the prompt; empty where it acts with one token."""
        return self.token_ids[int(self.positions[0]) : -1]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of rollouts.

    Attributes:
        rows: its rollouts.
        token_ids_N: [N] what is read.
        predictors_A: [A] place in the line that predicts each action token, rollout after rollout.
        packing: what sees what.
    """

    rows: list[int]
    token_ids_N: Tensor
    predictors_A: Tensor
    packing: Packing


def cut_lines(readings: Iterable[Reading], max_tokens: int) -> list[list[Reading]]:
    """Deal rollouts out to lines of at most `max_tokens`; a rollout beyond that has its own.

    Rollouts with the same prompt stand together, otherwise in the order given.
    """
    alike: dict[tuple[int, ...], list[Reading]] = {}
    for reading in readings:
        alike.setdefault(reading.prompt, []).append(reading)
    lines: list[list[Reading]] = []
    length = 0
    for prompt, members in alike.items():
        for number, reading in enumerate(members):
            added = len(reading.own) + len(prompt) * (number == 0)
            if not lines or length + added > max_tokens:
                lines.append([])
                length, added = 0, len(reading.own) + len(prompt)
            lines[-1].append(reading)
            length += added
    return lines


def make_line(readings: Iterable[Reading]) -> Line:
    """Lay rollouts out in one line; those of one prompt come one after the other."""
    draft = _Draft()
    for reading in readings:
        draft.add(reading)
    return draft.line()


class _Draft:
    """A line being written."""

    def __init__(self) -> None:
        self.length = 0
        self.rows: list[int] = []
        self._ids: list[Tensor] = []
        self._places: list[Tensor] = []
        self._predictors: list[Tensor] = []
        self._spans: list[Span] = []
        self._prompt: tuple[int, ...] | None = None
        self._prompt_start = 0

    def add(self, reading: Reading) -> None:
        """Write a rollout behind the others, its prompt only where theirs is another."""
        prompt = reading.prompt
        if prompt != self._prompt:
            self._prompt, self._prompt_start = prompt, self.length
            self._append(torch.tensor(prompt), 0, self.length, self.length)
        prompt_stop = self._prompt_start + len(prompt)
        predictors = reading.positions - 1 + (self.length - len(prompt))
        predictors[0] = prompt_stop - 1  # the first action is predicted by the prompt
        self.rows.append(reading.row)
        self._predictors.append(predictors)
        if len(reading.own):
            self._append(reading.own, len(prompt), self._prompt_start, prompt_stop)

    def line(self) -> Line:
        """Return what is written."""
        return Line(
            rows=self.rows,
            token_ids_N=torch.cat(self._ids),
            predictors_A=torch.cat(self._predictors),
            packing=Packing(tuple(self._spans), torch.cat(self._places)),
        )

    def _append(self, ids: Tensor, first: int, prompt: int, prompt_stop: int) -> None:
        self._spans.append(Span(self.length, self.length + len(ids), prompt, prompt_stop))
        self._ids.append(ids)
        self._places.append(torch.arange(first, first + len(ids)))
        self.length += len(ids)
