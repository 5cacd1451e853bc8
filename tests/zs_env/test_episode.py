"""The rules of an episode: outcomes, random draws and the transcript."""

import pytest

from zs_env.actions import Answer, Malformed, Search
from zs_env.episode import Episode, EpisodeConfig, Finished, Limits
from zs_env.questions.question import Question
from zs_env.rewards import build_reward
from zs_env.search.types import Document, SearchPage, SearchRequest

QUESTION = Question(id="q", text="Who built it?", answers=("Ann",))


def _episode(seed=0, noise=0.0, question=QUESTION, **config):
    return Episode(question, config=EpisodeConfig(**config), noise_probability=noise, seed=seed)


def _page(*texts):
    return SearchPage(tuple(Document(text=text) for text in texts), engine="shelf")


def test_an_episode_of_a_search_and_an_answer():
    episode = _episode(num_documents=2)
    request = episode.act("<search>it</search>")
    assert isinstance(request, SearchRequest)
    assert (request.query, request.question, request.answers) == ("it", "Who built it?", ("Ann",))
    assert request.useful == (True, True)
    message = episode.receive(_page("Ann did.", "Bob did not."))
    assert message == "\n\n<information>\nDoc 1: Ann did.\nDoc 2: Bob did not.\n</information>\n\n"
    assert episode.act("<answer>ann</answer>") == Finished("answer")
    transcript = episode.transcript()
    assert transcript.text == (f"{episode.prompt}<search>it</search>{message}<answer>ann</answer>")
    assert [turn.action for turn in transcript.turns] == [Search("it"), Answer("ann")]
    assert transcript.reward == 1.0 and transcript.num_searches == 1
    assert transcript.scores() == {"f1": 1.0, "exact_match": 1.0, "cover_match": 1.0}


def test_documents_carry_their_provenance():
    episode = _episode(noise=1.0, num_documents=2)
    episode.act("<search>it</search>")
    own = Document(text="Bob", useful=True, engine="mine")
    episode.receive(SearchPage((Document(text="Ann did."), own), engine="shelf"))
    first, second = episode.documents
    assert (first.useful, first.engine, first.rank, first.contains_answer) == (
        None, "shelf", 0, True,
    )  # fmt: skip
    assert (second.useful, second.engine, second.rank, second.contains_answer) == (
        True, "mine", 1, False,
    )  # fmt: skip


def test_a_document_is_cut_before_it_is_searched_for_the_answer():
    episode = _episode(limits=Limits(max_document_chars=10))
    episode.act("<search>it</search>")
    episode.receive(SearchPage((Document(title="Tom", text="1234567Ann"), Document(text="x" * 10))))
    cut, whole = episode.documents
    assert (cut.title, cut.text, cut.truncated) == ("Tom", "1234567", True)
    assert cut.contains_answer is False
    assert whole.truncated is False


def test_a_document_may_carry_any_metadata():
    episode = _episode()
    episode.act("<search>it</search>")
    document = Document(text="x", metadata=(("scores", [1, 2]),))
    episode.receive(SearchPage((document,)))
    assert episode.documents[0].metadata == (("scores", [1, 2]),)


def test_documents_are_not_searched_for_yes_no_answers():
    question = Question(id="q", text="Is it?", answers=("No",))
    episode = _episode(question=question)
    episode.act("<search>it</search>")
    episode.receive(_page("no"))
    assert episode.documents[0].contains_answer is None


def test_a_question_without_gold_answers_scores_0():
    episode = _episode(question=Question(id="q", text="Who built it?", answers=()))
    request = episode.act("<search>it</search>")
    assert isinstance(request, SearchRequest)
    assert (request.question, request.answers) == ("Who built it?", None)
    episode.receive(_page("Ann built it"))
    assert episode.documents[0].contains_answer is None
    episode.act("<answer>Ann</answer>")
    assert episode.scores == {"f1": 0.0, "exact_match": 0.0, "cover_match": 0.0}
    assert episode.reward_terms == {"f1": 0.0}


def test_a_malformed_action_costs_a_turn_and_says_why():
    episode = _episode(max_turns=2)
    assert episode.act("hm") == Malformed("no_action")
    assert "neither a search nor an answer" in episode.message
    assert episode.act("hm") == Finished("turn_limit")
    assert episode.message == ""
    assert episode.transcript().malformed == {"no_action": 2}


def test_a_search_as_the_last_action_is_not_sent():
    episode = _episode(max_turns=1)
    finished = episode.act("<search>it</search>")
    assert finished == Finished("turn_limit") and not finished.terminated
    assert episode.transcript().num_searches == 0
    assert episode.transcript().reward == 0.0


def test_an_answer_as_the_last_action_counts():
    finished = _episode(max_turns=1).act("<answer>Ann</answer>")
    assert finished == Finished("answer") and finished.terminated


def test_a_failure_ends_the_episode_without_reward():
    episode = _episode(reward=build_reward("r1_searcher_stage2"))
    episode.act("<search>it</search>")
    assert episode.fail("engine down") == Finished("failure")
    transcript = episode.transcript()
    assert (transcript.failure, transcript.reward, transcript.reward_terms) == (
        "engine down",
        0,
        (),
    )


def test_short_and_long_pages_are_answers():
    episode = _episode(num_documents=2)
    for texts in ((), ("a",), ("a", "b", "c")):
        episode.act("<search>it</search>")
        episode.receive(_page(*texts))
        assert len(episode.documents) == min(len(texts), 2)


@pytest.mark.parametrize(
    "page",
    [None, "text", [Document(text="x")], SearchPage(("x",)), SearchPage((Document(text=1),))],
)
def test_a_page_of_a_wrong_type_is_an_error_and_the_episode_can_fail(page):
    episode = _episode()
    episode.act("<search>it</search>")
    with pytest.raises(TypeError, match="got"):
        episode.receive(page)
    assert episode.fail("wrong type") == Finished("failure")


def test_calls_out_of_order_are_errors():
    episode = _episode()
    with pytest.raises(RuntimeError, match=r"act\(\) first"):
        episode.receive(_page())
    with pytest.raises(RuntimeError, match="no search"):
        episode.fail("x")
    episode.act("<search>it</search>")
    with pytest.raises(RuntimeError, match=r"receive\(\)"):
        episode.act("again")
    episode.receive(_page())
    episode.act("<answer>a</answer>")
    with pytest.raises(RuntimeError, match="over"):
        episode.act("again")


def _requests(seed, noise, queries, draw="search"):
    episode = _episode(seed=seed, noise=noise, noise_draw=draw, max_turns=99)
    requests = []
    for query in queries:
        requests.append(episode.act(f"<search>{query}</search>"))
        episode.receive(_page())
    return requests


def test_the_same_seed_and_actions_give_the_same_requests():
    queries = ["a", "b", "a"]
    assert _requests(7, 0.5, queries) == _requests(7, 0.5, queries)
    assert _requests(7, 0.5, queries) != _requests(8, 0.5, queries)
    first, _, again = _requests(7, 0.5, queries)
    assert first.seed != again.seed
    assert all(0 <= request.seed < 2**63 for request in (first, again))


@pytest.mark.parametrize("draw", ["search", "document", "group"])
def test_noise_is_as_frequent_as_its_probability(draw):
    requests = [_requests(seed, 0.3, ["a"], draw)[0] for seed in range(2000)]
    noisy = [not useful for request in requests for useful in request.useful]
    # Pages of equal flags: 2,000 draws, standard error 0.0102; four of them are allowed.
    assert sum(noisy) / len(noisy) == pytest.approx(0.3, abs=0.041)
    uniform = {len(set(request.useful)) for request in requests}
    assert uniform == ({1, 2} if draw == "document" else {1})


@pytest.mark.parametrize("draw", ["search", "document", "group"])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_certain_noise_is_certain(draw, noise):
    for seed in range(50):
        assert set(_requests(seed, noise, ["a"], draw)[0].useful) == {noise == 0.0}


def test_group_noise_depends_on_the_turn_and_not_on_the_query():
    for seed in range(20):
        ours = [request.useful for request in _requests(seed, 0.5, ["a", "b"], "group")]
        theirs = [request.useful for request in _requests(seed, 0.5, ["c", "d"], "group")]
        assert ours == theirs


def test_a_prompt_beyond_the_limit_is_an_error():
    question = Question(id="long", text="w" * 50, answers=("a",))
    with pytest.raises(ValueError, match="max_prompt_chars"):
        _episode(question=question, limits=Limits(max_prompt_chars=40))


@pytest.mark.parametrize("config", [{"max_turns": 0}, {"num_documents": 0}, {"noise_draw": "page"}])
def test_wrong_rules_are_errors(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        EpisodeConfig(**config)


def test_only_the_flipped_turn_requests_the_opposite_and_its_seed_is_the_same():
    def requests(flipped_turn, noise):
        episode = Episode(QUESTION, noise_probability=noise, seed=3, flipped_turn=flipped_turn)
        outcomes = []
        for query in ("it", "it", "them"):
            outcomes.append(episode.act(f"<search>{query}</search>"))
            episode.receive(_page("Ann did."))
        return outcomes, episode.turns

    for noise in (0.0, 0.5, 1.0):
        plain, _ = requests(None, noise)
        flipped, turns = requests(1, noise)
        assert flipped == [plain[0], plain[1].flipped(), plain[2]]
        assert turns[1].request.seed == plain[1].seed
        assert turns[1].documents[0].useful is not plain[1].useful[0]
