"""Coloured text of an episode."""

from zs_env import Document, Question, SearchPage, ZeroSearchEnv
from zs_env.rendering import render_transcript

QUESTIONS = [Question(id="q1", text="Who?", answers=("Ada", "A. L."))]
GREEN, RED, BOLD = "\x1b[32m", "\x1b[31m", "\x1b[1m"


class Two:
    in_process = supports_noise = True

    def search(self, requests):
        good = Document("It was Ada.", title="Facts", useful=True)
        return [SearchPage((good, Document("Nobody knows.", useful=False))) for _ in requests]


def played(render_mode="ansi"):
    env = ZeroSearchEnv(QUESTIONS, Two(), render_mode=render_mode, noise=0.25)
    env.reset(seed=0)
    env.step("<search>who</search>")
    return env


def test_useful_and_noisy_documents_have_different_colours():
    text = played().render()
    assert f"{GREEN}Doc 1 (useful, contains answer): Facts. It was Ada." in text
    assert f"{RED}Doc 2 (noisy): Nobody knows." in text
    assert f"{BOLD}<search>who</search>" in text
    assert "noise 0.25" in text


def test_gold_answers_are_shown_only_at_the_end():
    env = played()
    assert "gold" not in env.render()
    env.step("<answer>Ada</answer>")
    assert "answer: reward 1 (f1 1)  answer 'Ada', gold 'Ada | A. L.'" in env.render()


def test_a_notice_and_a_failure_are_shown():
    class Broken:
        in_process = True

        def search(self, requests):
            return []

    env = ZeroSearchEnv(QUESTIONS, Broken(), render_mode="ansi")
    env.reset(seed=0)
    env.step("hello")
    env.step("<search>who</search>")
    text = env.render()
    assert "Your last message contained neither a search nor an answer." in text
    assert "the engine failed: SearchError: wrong number of pages" in text


def test_without_colours_no_escape_sequence_is_left():
    env = played()
    plain = render_transcript(env.transcript(), color=False)
    assert "\x1b" not in plain
    assert "Doc 2 (noisy)" in plain


def test_control_characters_of_texts_are_not_printed():
    env = played()
    env.step("\x1b[2J\x9b31m<search>x</search>")
    assert "\x1b[2J" not in env.render()
    assert "\x9b" not in env.render()


def test_human_mode_prints_each_part_once(capsys):
    env = played("human")
    env.step("<answer>Ada</answer>")
    assert env.render() is None
    shown = capsys.readouterr().out
    assert shown.count("Question: Who?") == 1
    assert shown.count("<search>who</search>") == 1
    assert shown.count("gold 'Ada | A. L.'") == 1
    env.reset()
    assert capsys.readouterr().out.count("Question: Who?") == 1


def test_render_without_a_mode_returns_nothing():
    assert played(None).render() is None
