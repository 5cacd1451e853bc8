"""The rules of one episode, without input or output.

The caller passes actions and calls the engine; the environments and adapters are such callers.

    episode.act(text)      -> SearchRequest | Malformed | Finished
    episode.receive(page)  -> the message to the agent
    episode.fail(error)    -> Finished

If the reward has a judge, an answer leaves the episode without a reward until the caller passes the
verdict: `episode.receive_verdict(verdict)`, or `fail` without one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from zs_env.actions import (
    Action,
    Answer,
    Malformed,
    Open,
    Search,
    parse_action,
)
from zs_env.prompts import render_document, render_sections
from zs_env.questions.question import Question
from zs_env.search.postprocess import postprocess_opened, postprocess_page, without_open_tags
from zs_env.search.requests import draw_request
from zs_env.search.several_queries import join_requests, request_of, sections
from zs_env.search.types import Document, SearchPage, SearchRequest
from zs_env.text.hashing import stable_hash
from zs_env.text.sanitize import clean_text
from zs_env.transcripts.rules import EpisodeConfig, Limits, OverlongPrompts
from zs_env.transcripts.transcript import (
    FINISHED,
    NO_SCORES,
    EndReason,
    Finished,
    Transcript,
    Turn,
    Verdict,
)

__all__ = ["Episode", "EpisodeConfig", "Finished", "Limits", "OverlongPrompts"]


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
        can_open: whether the engine can open documents.

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
        can_open: bool = True,
    ) -> None:
        self.question = question
        self.config = config or EpisodeConfig()
        self.noise_probability = noise_probability
        self.seed = seed
        self.episode_id = seed if episode_id is None else episode_id
        self.flipped_turn = flipped_turn
        self.can_open = can_open
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
        self.num_opens = 0
        self._page: Turn | None = None  # the last search with a page
        self._pending: tuple[str, Action, SearchRequest] | None = None
        self._query_counts = Counter[str]()

    def act(self, text: str) -> SearchRequest | Malformed | Finished:
        """Apply the agent's action.

        Returns:
            `SearchRequest` if the caller has to send it with `search_checked` and call `receive` or
            `fail`, `Malformed` if the agent has to act again, `Finished` at the end.

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
        action = parse_action(
            text, max_chars=limit, tools=config.tools, max_queries=config.max_queries
        )
        if len(text) > limit:
            text = text[:limit]
        if isinstance(action, Answer):
            self._record(Turn(text, action))
            return self._finish("answer")
        if len(self.turns) + 1 >= config.max_turns:
            self._record(Turn(text, action))
            return self._finish("turn_limit")
        if isinstance(action, Search):
            request = join_requests(list(map(self._request, action.query.split("\n"))))
        else:
            request = self._open_request(action) if isinstance(action, Open) else action
        if isinstance(request, SearchRequest):
            self._pending = (text, action, request)
        else:
            self._record(Turn(text, request, message=self._notice(request)))
        return request

    def receive(self, page: SearchPage) -> str:
        """Add the page of the pending request and return the message to the agent.

        A page may have fewer documents than requested; further documents are removed.

        Raises:
            RuntimeError: if no search is pending.
            TypeError: if the page or one of its documents has a wrong type.
        """
        if self._pending is None:
            raise RuntimeError("no search is pending; call act() first")
        text, action, request = self._pending
        limit, golds = self.config.limits.max_document_chars, self.question.answers
        if "open" in self.config.tools:
            page = without_open_tags(page)
        if isinstance(action, Open):
            found = postprocess_opened(page, action.document, action.part, golds, limit)
        else:
            found = postprocess_page(page, len(request.expected), golds, limit)
        if found is None:
            action = Malformed("unknown_part")
            documents, texts, message = (), (), self._notice(action)
        else:
            documents, texts, message = found
        if request.queries:
            message = render_sections(sections(request, documents))
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
            if turn.is_search and turn.request is not None:
                self._query_counts.update(turn.request.query.split("\n"))
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
            tools=self.config.tools,
            max_queries=self.config.max_queries,
        )

    def _record(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.num_searches += turn.is_search
        self.num_opens += turn.is_open
        if turn.is_search:
            self._page = turn
        self.text += turn.text + turn.message
        self.message = turn.message
        self.documents = turn.documents
        self.document_texts = ()

    def _finish(self, reason: EndReason) -> Finished:
        self.finished = FINISHED[reason]
        if reason != "failure":
            transcript = self.transcript()
            self.scores = transcript.scores()
            judge = getattr(self.config.reward, "judge", None)
            self.awaits_verdict = judge is not None and judge.applies_to(transcript)
            if not self.awaits_verdict:
                self.reward_terms = dict(self.config.reward(transcript))
        return self.finished

    def _notice(self, action: Malformed) -> str:
        return self.config.prompt.render_notice(action.kind, self.config.tools)

    def _open_request(self, action: Open) -> SearchRequest | Malformed:
        if not self.can_open:
            return Malformed("cannot_open")
        if self._page is None or self._page.request is None:
            return Malformed("no_page")
        if not 1 <= action.document <= len(self._page.documents):
            return Malformed("unknown_document")
        if action.part < 1:
            return Malformed("unknown_part")
        request, document = request_of(self._page.request, self._page.documents, action.document)
        return replace(request, document=document)

    def _request(self, query: str) -> SearchRequest:
        count = self._query_counts[query]
        self._query_counts[query] += 1
        config, turn = self.config, len(self.turns)
        return draw_request(
            query,
            self.question,
            digest=stable_hash(f"{self.seed}\0{query}\0{count}"),
            group_bits=stable_hash(f"{self.seed}\0{turn}"),
            num_documents=config.num_documents,
            noise_probability=self.noise_probability,
            noise_draw=config.noise_draw,
            noise_kinds=config.noise_kinds,
            flipped=turn == self.flipped_turn,
        )
