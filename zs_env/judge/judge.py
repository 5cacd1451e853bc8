"""A judge: a language model that decides whether answers are correct."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from zs_env.judge.prompts import CRITERIA, JudgePrompt
from zs_env.search.deadline import CallLock, deadline_of, time_left_s
from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    NoResponse,
    Prompt,
    as_generator,
    generate_checked,
)
from zs_env.text.hashing import derive_seed, stable_hash
from zs_env.text.numbers import as_float, as_int
from zs_env.transcripts.transcript import Transcript, Verdict

DEFAULT_TIMEOUT_S = 60.0
_MAX_CACHED = 65536


class Judge:
    """Decides with a language model whether answers are correct; see `zs_env.rewards.Reward`.

    It reads the question, the gold answers and the agent's answer, not the rest of the episode. An
    answer that is judged again gets the verdict of the first time, without a call.

    Args:
        generator: the language model: a TextGenerator, or any object with a method `generate`.
        criteria: when an answer is correct, in plain English; part of the prompt.
        timeout_s: seconds that a call may take. A generator with `in_process` has no limit.
        retries: how often a reply without a verdict is generated again, with another seed.

    Attributes:
        in_process: whether the generator only computes.
        thread_safe: whether several threads may call the generator at the same time. Calls of any
            other generator are serialized.
        fingerprint: identifies the generator and the prompt; None if the generator has none.

    Raises:
        ValueError: if `timeout_s` is not a positive number, or below the generator's own limit, or
            `retries` is negative.
    """

    def __init__(
        self,
        generator: Any,
        *,
        criteria: str = CRITERIA,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = 1,
    ) -> None:
        self.generator = as_generator(generator)
        timeout_s = as_float("the judge's timeout_s", timeout_s)
        if timeout_s <= 0:
            raise ValueError(f"the judge's timeout_s must be positive, got {timeout_s}")
        if self.generator.deadline_s is not None and self.generator.deadline_s > timeout_s:
            raise ValueError(
                f"the judge's generator has a limit of {self.generator.deadline_s:g} s, more than "
                f"timeout_s={timeout_s:g}; lower the generator's limit or raise timeout_s"
            )
        self.criteria, self.timeout_s = criteria, timeout_s
        self.retries = as_int("retries", retries, low=0)
        self.in_process = self.generator.in_process
        self.thread_safe = self.generator.thread_safe
        self._lock = CallLock()
        self._verdicts: dict[str, Verdict] = {}  # by prompt

    @property
    def fingerprint(self) -> str | None:
        """Changes with the model, its sampling and the prompt."""
        if self.generator.fingerprint is None:
            return None
        prompt = stable_hash(JudgePrompt.of("", (), "", self.criteria).text)
        return f"judge-1:{self.generator.fingerprint}:{prompt:016x}"

    def applies_to(self, transcript: Transcript) -> bool:
        """Whether the transcript has an answer and its question has gold answers."""
        return transcript.prediction is not None and bool(transcript.question.answers)

    def judge(self, transcripts: Sequence[Transcript]) -> list[Verdict | GenerationError]:
        """Return for each transcript with an answer the verdict, or why there is none.

        Equal answers to equal questions are one prompt. All prompts are one call of the generator.
        """
        prompts = [self._prompt(transcript) for transcript in transcripts]
        missing = {one.text: one for one in prompts if one.text not in self._verdicts}
        failures: dict[str, GenerationError] = {}
        started = time.monotonic()
        for attempt in range(self.retries + 1):
            # A retry of average duration must end before the deadline.
            if not missing or (attempt and time.monotonic() - started > attempt * time_left_s()):
                break
            missing = self._generate(list(missing.values()), attempt, failures)
        verdicts = [self._verdicts.get(one.text, failures.get(one.text)) for one in prompts]
        while len(self._verdicts) > _MAX_CACHED:
            self._verdicts.pop(next(iter(self._verdicts)), None)
        return [one or GenerationError("the verdict is missing") for one in verdicts]

    def judged(self, transcripts: Sequence[Transcript]) -> list[Transcript]:
        """Return transcripts with their verdicts, for `zs_env.transcripts.storage.rescore`.

        A verdict of this judge is kept. An episode without a verdict fails. One that failed because
        of its judge is judged again.
        """
        fingerprint = self.fingerprint
        judged = list(transcripts)
        places = [
            place
            for place, one in enumerate(judged)
            if self.applies_to(one)
            if one.verdict is None or fingerprint is None or one.verdict.judge != fingerprint
        ]
        with nullcontext() if self.in_process else deadline_of(self.timeout_s):
            verdicts = self.judge([judged[place] for place in places])
        for place, verdict in zip(places, verdicts, strict=True):
            transcript = judged[place]
            if isinstance(verdict, Verdict):
                # Only a judge fails an episode that has an answer.
                judged[place] = replace(transcript, reason="answer", failure=None, verdict=verdict)
            else:
                judged[place] = transcript.failed(f"judge: {verdict}")
        return judged

    def _prompt(self, transcript: Transcript) -> JudgePrompt:
        question = transcript.question
        return JudgePrompt.of(
            question.text, question.answers, transcript.prediction or "", self.criteria
        )

    def _generate(
        self, prompts: Sequence[JudgePrompt], attempt: int, failures: dict[str, GenerationError]
    ) -> dict[str, JudgePrompt]:
        """Store verdicts and failures; return the prompts that another attempt may answer."""
        batch = [
            Prompt(one.text, None, derive_seed(f"judge\0{attempt}\0{one.text}")) for one in prompts
        ]
        try:
            with nullcontext() if self.thread_safe else self._lock():
                outputs = generate_checked(self.generator, batch)
        except Exception as error:
            outputs = [GenerationError(f"{type(error).__name__}: {error}")] * len(prompts)
        again: dict[str, JudgePrompt] = {}
        for prompt, output in zip(prompts, outputs, strict=True):
            if isinstance(output, Completion) and isinstance(output.text, str):
                value = prompt.parse_verdict(output.text)
                if value is not None:
                    self._verdicts[prompt.text] = Verdict(value, output.text, self.fingerprint)
                    continue
                cut = "; raise sampling.max_tokens" if output.cut else ""
                output = NoResponse(f"the reply has no verdict{cut}: {output.text[-200:]!r}")
            elif not isinstance(output, GenerationError):
                output = GenerationError(f"expected a Completion with a text, got {output!r:.200}")
            failures[prompt.text] = output
            if isinstance(output, NoResponse):
                again[prompt.text] = prompt
        return again
