"""One episode, without any input or output.

It is told what the agent wrote and answers what must happen next; whoever drives it calls the
engine. Gymnasium, the vector environment and every adapter are shells around it.

    episode.act(text)      -> SearchRequest | Malformed | Finished
    episode.receive(page)  -> what the agent reads
    episode.fail(error)    -> Finished
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zs_env.actions import Answer, Malformed, Search, parse_action
from zs_env.noise import NoiseDraw
from zs_env.prompts import PromptTemplate, render_document
from zs_env.questions.question import Question
from zs_env.rewards import RewardFunction, answer_f1
from zs_env.search.postprocess import postprocess_page
from zs_env.search.types import Document, SearchPage, SearchRequest
from zs_env.text.hashing import stable_hash, uniform
from zs_env.text.sanitize import clean_text
from zs_env.transcripts.transcript import NO_SCORES, EndReason, Transcript, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Longest texts, in characters. They bound every observation.

    Attributes:
        max_action_chars: a longer action is Malformed("too_long") and recorded cut.
        max_document_chars: longer documents are cut and flagged.
        max_prompt_chars: a question whose prompt is longer is an error.
    """

    max_action_chars: int = 8192
    max_document_chars: int = 2048
    max_prompt_chars: int = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeConfig:
    """The rules of an episode.

    Attributes:
        max_turns: actions allowed; a search as the last one is not sent.
        num_documents: documents asked for per page.
        noise_draw: "search" draws useful or noisy for each page (the paper), "document" for each
            document, "group" once per turn for all episodes of one group seed.
        prompt: the environment's words.
        reward: reward function of a finished transcript.
        limits: longest texts.
    """

    max_turns: int = 6
    num_documents: int = 5
    noise_draw: NoiseDraw = "search"
    prompt: PromptTemplate = field(default_factory=PromptTemplate)
    reward: RewardFunction = answer_f1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in ("max_turns", "num_documents"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.noise_draw not in ("search", "document", "group"):
            raise ValueError(
                f"noise_draw is 'search', 'document' or 'group', got {self.noise_draw!r}"
            )


@dataclass(frozen=True, slots=True)
class Finished:
    """The episode is over. An answer terminates it; a turn limit or a failure truncates it."""

    reason: EndReason

    @property
    def terminated(self) -> bool:
        """Whether the agent ended it."""
        return self.reason == "answer"


class Episode:
    """One question from its prompt to its reward.

    Args:
        question: what is asked.
        config: the rules.
        noise_probability: chance in [0, 1] that what is drawn is noisy.
        seed: every draw of the episode follows from it; members of a group share it.
        episode_id: identifies the episode in `info`; None takes the seed.
        flipped_turn: number of a turn, from 0 over all turns, whose search asks for noise where
            useful documents were drawn, and for useful ones where noise was; None for none. No
            other draw changes.

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
        self.prompt = clean_text(
            self.config.prompt.render_prompt(
                question,
                max_turns=self.config.max_turns,
                num_documents=self.config.num_documents,
            )
        )
        if len(self.prompt) > self.config.limits.max_prompt_chars:
            raise ValueError(
                f"the prompt of question {question.id!r} has {len(self.prompt)} characters, more "
                f"than max_prompt_chars={self.config.limits.max_prompt_chars}; raise the limit"
            )
        # The question as it is shown; where the row brings its own prompt it may be longer.
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
        self.num_searches = 0
        self._pending: tuple[str, Search, SearchRequest] | None = None
        self._asked: dict[str, int] = {}

    def act(self, text: str) -> SearchRequest | Malformed | Finished:
        """Take the agent's text and say what must happen next.

        A `SearchRequest` waits for `receive` or `fail`; after Malformed the agent reads
        `self.message` and acts again; Finished ends the episode.

        Raises:
            RuntimeError: if the episode is over or a search is still waiting.
        """
        if self.finished is not None:
            raise RuntimeError("the episode is over; start another")
        if self._pending is not None:
            raise RuntimeError("a search is waiting for its page; call receive() or fail() first")
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
            if len(self.turns) == self.flipped_turn:
                request = request.flipped()
            self._pending = (text, action, request)
            return request
        self._record(Turn(text, action, message=config.prompt.render_notice(action.kind)))
        return action

    def receive(self, page: SearchPage) -> str:
        """Take the page of the waiting search and return what the agent reads.

        A page with fewer documents than asked for, or none, is an answer; further ones are cut.

        Raises:
            RuntimeError: if no search is waiting.
            TypeError: if the page or one of its documents is of another type.
        """
        if self._pending is None:
            raise RuntimeError("no search is waiting for a page; call act() first")
        text, action, request = self._pending
        limit = self.config.limits.max_document_chars
        documents, texts, message = postprocess_page(
            page, request.useful, self.question.answers, limit
        )
        self._pending = None
        self._record(Turn(text, action, request, documents, message))
        self.document_texts = texts
        return message

    def fail(self, error: str) -> Finished:
        """End the episode void: the engine could not answer the waiting search."""
        if self._pending is None:
            raise RuntimeError("no search is waiting; only a search can fail")
        text, action, request = self._pending
        self._pending = None
        self.failure = error
        self._record(Turn(text, action, request))
        return self._finish("failure")

    @property
    def pending(self) -> SearchRequest | None:
        """The request that waits for its page; None where none does."""
        return None if self._pending is None else self._pending[2]

    def replace_pending_request(self, request: SearchRequest) -> None:
        """Have the waiting search ask for what a recorded one asked for.

        Raises:
            RuntimeError: if no search is waiting.
        """
        if self._pending is None:
            raise RuntimeError("no search is waiting; only a waiting one can ask again")
        text, action, _ = self._pending
        self._pending = (text, action, request)

    def replay(self, prompt: str, turns: Sequence[Turn]) -> None:
        """Take over a recorded past word for word, before the first action."""
        if self.turns or self._pending is not None:
            raise RuntimeError("the episode has begun; only a fresh one can take over a past")
        self.prompt = self.text = self.message = prompt
        for turn in turns:
            if turn.request is not None:
                self._asked[turn.request.query] = self._asked.get(turn.request.query, 0) + 1
            self._record(turn)
        self.document_texts = tuple(map(render_document, self.documents))

    def transcript(self) -> Transcript:
        """Return the episode so far as plain data."""
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
        )

    def _record(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.num_searches += turn.request is not None
        self.text += turn.text + turn.message
        self.message = turn.message
        self.documents = turn.documents
        self.document_texts = ()

    def _finish(self, reason: EndReason) -> Finished:
        self.finished = Finished(reason)
        if reason != "failure":
            transcript = self.transcript()
            self.scores = transcript.scores()
            self.reward_terms = dict(self.config.reward(transcript))
        return self.finished

    def _request(self, query: str) -> SearchRequest:
        times_asked = self._asked.get(query, 0)
        self._asked[query] = times_asked + 1
        digest = stable_hash(f"{self.seed}\0{query}\0{times_asked}")
        draw, count = self.config.noise_draw, self.config.num_documents
        if draw == "document":
            useful = tuple(
                uniform(stable_hash(f"{digest}\0{rank}")) >= self.noise_probability
                for rank in range(count)
            )
        else:
            luck = stable_hash(f"{self.seed}\0{len(self.turns)}") if draw == "group" else digest
            useful = (uniform(luck) >= self.noise_probability,) * count
        question = self.question
        # The page's luck is that of its quality too; engines draw from a hash of it.
        return SearchRequest(query, question.text, question.answers or None, useful, digest >> 1)
