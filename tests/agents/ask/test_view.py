"""The terminal output of an episode."""

import io

from rich.console import Console

from agents.ask.view import View
from zs_env import Document


def shown(*pieces, color=False):
    stream = io.StringIO()
    colors = "standard" if color else None
    console = Console(file=stream, force_terminal=color, color_system=colors, width=60)
    view = View(console)
    for piece in pieces:
        view.piece(piece)
    view.page((Document("A [bold]text[/bold]\x1b[31m that goes on", "T"),), "")
    return stream.getvalue()


def test_the_text_does_not_depend_on_its_pieces():
    text = "<think>hm, a > b</think>\n<search>who is it, and where does the person live</search>"
    whole = shown(text)
    assert whole.startswith(text + "\n")
    assert shown(*text) == whole


def test_escape_sequences_and_markup_are_not_interpreted():
    page = shown("<search>\x1b]0;title\x07</search>")
    assert "\x1b" not in page and "\x07" not in page
    assert "  1  T: A [bold]text[/bold]" in page


def test_a_tag_changes_the_colour_until_it_is_closed():
    styled = shown("<think>a</think> b <search>c</search>", color=True)
    assert "\x1b[2;3m<think>" in styled and "\x1b[1;33mc</search>" in styled
    assert "\x1b" not in styled.partition(" b ")[2].partition("\x1b")[0]
