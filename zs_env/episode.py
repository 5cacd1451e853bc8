"""The rules of one episode, without input or output.

The caller passes actions and calls the engine; the environments and adapters are such callers.

    episode.act(text)      -> SearchRequest | Malformed | Finished
    episode.receive(page)  -> the message to the agent
    episode.fail(error)    -> Finished

If the reward has a judge, an answer leaves the episode without a reward until the caller passes the
verdict: `episode.receive_verdict(verdict)`, or `fail` without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from zs_env.actions import Answer, Malformed, Search, parse_action
from zs_env.noise import KindWeights, NoiseDraw, build_noise_kinds, draw_noise_kind
from zs_env.prompts import PROMPTS, PromptTemplate, render_document
from zs_env.questions.question import Question
from zs_env.rewards import RewardFunction, answer_f1
from zs_env.search.postprocess import postprocess_page
from zs_env.search.types import Document, SearchPage, SearchRequest
from zs_env.text.hashing import mixed, stable_hash, uniform
from zs_env.text.numbers import as_int
from zs_env.text.sanitize import clean_text
from zs_env.transcripts.transcript import NO_SCORES, EndReason, Transcript, Turn, Verdict

OverlongPrompts = Literal["error", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Maximum lengths of texts, in characters; they bound the observation space.

    Attributes:
        max_action_chars: a longer action is Malformed("too_long"); the transcript holds its start.
        max_document_chars: a longer document is cut and marked as `truncated`.
        max_prompt_chars: maximum length of a prompt.
        overlong_prompts: what an environment does with questions whose prompt is longer: "error"
            raises ValueError when the environment is made, "skip" removes and counts them.
    """

    max_action_chars: int = 8192
    max_document_chars: int = 2048
    max_prompt_chars: int = 16384
    overlong_prompts: OverlongPrompts = "error"

    def __post_init__(self) -> None:
        if self.overlong_prompts not in get_args(OverlongPrompts):
            raise ValueError(
                f"got overlong_prompts={self.overlong_prompts!r}, expected one of "
                f"{get_args(OverlongPrompts)}"
            )
        for name in ("max_action_chars", "max_document_chars", "max_prompt_chars"):
            object.__setattr__(self, name, as_int(name, getattr(self, name), low=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeConfig:
    """The rules of an episode.

    Attributes:
        max_turns: number of actions; a search in the last turn is not sent.
        num_documents: number of documents requested per search.
        noise_draw: what is drawn as useful or noisy: "search" each page (as in the paper),
            "document" each document, "group" each turn, for all episodes with the same seed.
        noise_kinds: kinds of noise and their weights; also what else `build_noise_kinds` takes.
            One kind is drawn for each search, or with "group" for each turn.
        prompt: prompt and notices.
        reward: reward function of a finished transcript; see `zs_env.rewards`.
        limits: maximum lengths of texts.
    """

    max_turns: int = 6
    num_documents: int = 5
    noise_draw: NoiseDraw = "search"
    noise_kinds: KindWeights = (("irrelevant", 1.0),)
    prompt: PromptTemplate = PROMPTS["instruct"]
    reward: RewardFunction = answer_f1
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        for name in ("max_turns", "num_documents"):
            object.__setattr__(self, name, as_int(name, getattr(self, name), low=1))
        if self.noise_draw not in ("search", "document", "group"):
            raise ValueError(
                f"got noise_draw={self.noise_draw!r}, expected 'search', 'document' or 'group'"
            )
        object.__setattr__(self, "noise_kinds", build_noise_kinds(self.noise_kinds))

    def prompt_of(self, question: Question) -> str:
        """Return the prompt of a question."""
        return clean_text(
            self.prompt.render_prompt(
                question, max_turns=self.max_turns, num_documents=self.num_documents
            )
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an episode: an answer terminates, a turn limit or a failure truncates it."""

    reason: EndReason

    @property
    def terminated(self) -> bool:
        """Whether the episode ended with an answer."""
        return self.reason == "answer"


_FINISHED: dict[EndReason, Finished] = {reason: Finished(reason) for reason in get_args(EndReason)}


class Episode:
    """One question, from the prompt to the reward.

    Args:
        question: the question.
        config: the rules; None for the defaults.
        noise_probability: probability in [0, 1] that a page or a document is noisy.
        seed: determines every draw; the episodes of a group have the same seed.
        episode_id: identifies the episode in `info`; None means `seed`.
        flipped_turn: index of a turn, from 0. Its search requests noisy documents instead of
            useful ones and the reverse; all other draws are unchanged. None for no turn.

    Raises:
        ValueError: if the prompt is longer than `Limits.max_prompt_chars`.
    """

    def __init__(
        self,
        question: Question,
        *,
        config: EpisodeConfig | None = None,
        noise_probability: float = 0.0,
        seed: int = 0,
        episode_id: int | None = None,
        flipped_turn: int | None = None,
    ) -> None:
        self.question = question
        self.config = config or EpisodeConfig()
        self.noise_probability = noise_probability
        self.seed = seed
        self.episode_id = seed if episode_id is None else episode_id
        self.flipped_turn = flipped_turn
        self.prompt = self.config.prompt_of(question)
        if len(self.prompt) > self.config.limits.max_prompt_chars:
            raise ValueError(
                f"the prompt of question {question.id!r} has {len(self.prompt)} characters, more "
                f"than max_prompt_chars={self.config.limits.max_prompt_chars}; raise the limit"
            )
        # If the question has its own prompt, its text may be longer than the limit.
        self.question_text = clean_text(question.text)[: self.config.limits.max_prompt_chars]
        self.turns: list[Turn] = []
        self.text = self.prompt
        self.message = self.prompt
        self.documents: tuple[Document, ...] = ()
        self.document_texts: tuple[str, ...] = ()
        self.finished: Finished | None = None
        self.failure: str | None = None
        self.scores = dict(NO_SCORES)
        self.reward_terms: dict[str, float] = {}
        self.verdict: Verdict | None = None
        self.awaits_verdict = False
        self.num_searches = 0
        self._pending: tuple[str, Search, SearchRequest] | None = None
        self._query_counts: dict[str, int] = {}

    def act(self, text: str) -> SearchRequest | Malformed | Finished:
        """Apply the agent's action.

        Returns:
            `SearchRequest` if the caller has to search and call `receive` or `fail`, `Malformed` if
            the agent has to read `self.message` and act again, `Finished` at the end.

        Raises:
            RuntimeError: if the episode is over or a search is pending.
            TypeError: if the action is not a string.
        """
        if self.finished is not None:
            raise RuntimeError("the episode is over; start another one")
        if self._pending is not None:
            raise RuntimeError("a search is pending; call receive() or fail() first")
        if not isinstance(text, str):
            raise TypeError(f"an action is a string, got {type(text).__name__}; pass the text")
        config = self.config
        limit = config.limits.max_action_chars
        text = clean_text(text)
        action = parse_action(text, max_chars=limit)
        if len(text) > limit:
            text = text[:limit]
        if isinstance(action, Answer):
            self._record(Turn(text, action))
            return self._finish("answer")
        if len(self.turns) + 1 >= config.max_turns:
            self._record(Turn(text, action))
            return self._finish("turn_limit")
        if isinstance(action, Search):
            request = self._request(action.query)
            self._pending = (text, action, request)
            return request
        self._record(Turn(text, action, message=config.prompt.render_notice(action.kind)))
        return action

    def receive(self, page: SearchPage) -> str:
        """Add the page of the pending search and return the message to the agent.

        A page may have fewer documents than requested; further documents are removed.

        Raises:
            RuntimeError: if no search is pending.
            TypeError: if the page or one of its documents has a wrong type.
        """
        if self._pending is None:
            raise RuntimeError("no search is pending; call act() first")
        text, action, request = self._pending
        limit = self.config.limits.max_document_chars
        documents, texts, message = postprocess_page(
            page, len(request.expected), self.question.answers, limit
        )
        self._pending = None
        self._record(Turn(text, action, request, documents, message))
        self.document_texts = texts
        return message

    def fail(self, error: str) -> Finished:
        """End the episode as failed: there is no page for its search, or no verdict on its answer.

        Raises:
            RuntimeError: if the episode waits for neither.
        """
        if self.awaits_verdict:
            self.awaits_verdict, self.failure, self.scores = False, error, dict(NO_SCORES)
            return self._finish("failure")
        if self._pending is None:
            raise RuntimeError("no search is pending; fail() ends a pending search")
        text, action, request = self._pending
        self._pending = None
        self.failure = error
        self._record(Turn(text, action, request))
        return self._finish("failure")

    def receive_verdict(self, verdict: Verdict) -> None:
        """Set the judge's verdict on the answer and compute the reward.

        Raises:
            RuntimeError: if the episode does not wait for a verdict.
        """
        if not self.awaits_verdict:
            raise RuntimeError("the episode awaits no verdict; it may have no judge or no answer")
        self.awaits_verdict, self.verdict = False, verdict
        self.reward_terms = dict(self.config.reward(self.transcript()))

    @property
    def pending(self) -> SearchRequest | None:
        """The pending request; None if no search is pending."""
        return None if self._pending is None else self._pending[2]

    @property
    def is_waiting(self) -> bool:
        """Whether the episode waits for a page or a verdict."""
        return self._pending is not None or self.awaits_verdict

    def replace_pending_request(self, request: SearchRequest) -> None:
        """Replace the pending request, for example by a recorded one."""
        if self._pending is None:
            raise RuntimeError("no search is pending; call act() first")
        text, action, _ = self._pending
        self._pending = (text, action, request)

    def restore(self, prompt: str, turns: Sequence[Turn]) -> None:
        """Set the prompt and the first turns to recorded ones."""
        if self.turns or self._pending is not None:
            raise RuntimeError("the episode has begun; restore() needs a new one")
        self.prompt = self.text = self.message = prompt
        for turn in turns:
            if turn.request is not None:
                query = turn.request.query
                self._query_counts[query] = self._query_counts.get(query, 0) + 1
            self._record(turn)
        self.document_texts = tuple(map(render_document, self.documents))

    def transcript(self) -> Transcript:
        """Return the episode so far."""
        return Transcript(
            question=self.question,
            prompt=self.prompt,
            turns=tuple(self.turns),
            reason=self.finished.reason if self.finished else None,
            failure=self.failure,
            noise_probability=self.noise_probability,
            seed=self.seed,
            max_turns=self.config.max_turns,
            num_documents=self.config.num_documents,
            reward_terms=tuple(self.reward_terms.items()),
            verdict=self.verdict,
        )

    def _record(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.num_searches += turn.request is not None
        self.text += turn.text + turn.message
        self.message = turn.message
        self.documents = turn.documents
        self.document_texts = ()

    def _finish(self, reason: EndReason) -> Finished:
        self.finished = _FINISHED[reason]
        if reason != "failure":
            transcript = self.transcript()
            self.scores = transcript.scores()
            judge = getattr(self.config.reward, "judge", None)
            self.awaits_verdict = judge is not None and judge.applies_to(transcript)
            if not self.awaits_verdict:
                self.reward_terms = dict(self.config.reward(transcript))
        return self.finished

    def _request(self, query: str) -> SearchRequest:
        count = self._query_counts.get(query, 0)
        self._query_counts[query] = count + 1
        digest = stable_hash(f"{self.seed}\0{query}\0{count}")
        draw, num_documents = self.config.noise_draw, self.config.num_documents
        bits = stable_hash(f"{self.seed}\0{len(self.turns)}") if draw == "group" else digest
        if draw == "document":
            useful = tuple(
                uniform(stable_hash(f"{digest}\0{rank}")) >= self.noise_probability
                for rank in range(num_documents)
            )
        else:
            useful = (uniform(bits) >= self.noise_probability,) * num_documents
        if len(self.turns) == self.flipped_turn:
            useful = tuple(not flag for flag in useful)
        kind = draw_noise_kind(self.config.noise_kinds, f"{bits}\0kind")
        question = self.question
        # Mixed, because the same bits decide `useful`, and the seed must not reveal that draw.
        seed = mixed(digest) >> 1
        return SearchRequest(query, question.text, question.answers or None, useful, seed, kind)
