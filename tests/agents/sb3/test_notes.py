"""What is read, and where it stands in the question."""

from agents.sb3.notes import Link, take_notes
from tests.agents.sb3.pages import PROMPT, page

CHAIN = "Who is the mayor of the birthplace of Ann Lee?"
MAYOR, BIRTHPLACE = 0, 1


def test_the_prompts_own_tags_are_no_page():
    notes = take_notes(CHAIN, PROMPT)
    assert notes.num_pages == 0 and notes.num_documents == 0
    assert list(notes.names) == ["Ann Lee"]


def test_searches_and_documents_are_counted():
    transcript = PROMPT + page("x", "One.", "Two.") + page("x") + page("y", "Three.")
    notes = take_notes(CHAIN, transcript)
    assert notes.queries == {"x": 2, "y": 1}
    assert (notes.num_pages, notes.num_documents) == (3, 3)


def test_a_query_may_hold_a_bracket():
    notes = take_notes(CHAIN, PROMPT + page("x < y", "One.") + page("<b>", "Two."))
    assert notes.queries == {"x < y": 1, "<b>": 1} and notes.num_pages == 2


def test_a_chain_of_links_gives_each_name_its_phrases_place():
    said = ("The birthplace of Ann Lee is Tal Vey.", "Bo Ray is the mayor of Tal Vey.")
    notes = take_notes(CHAIN, PROMPT + page("x", *said))
    assert notes.links == {
        Link(BIRTHPLACE, "Ann Lee", "Tal Vey"): 1,
        Link(MAYOR, "Tal Vey", "Bo Ray"): 1,
    }
    city, mayor = notes.names["Tal Vey"], notes.names["Bo Ray"]
    assert (city.place, city.strain, city.as_value) == (BIRTHPLACE, 0, True)
    assert (mayor.place, mayor.strain, mayor.roots) == (MAYOR, 0, {"Ann Lee"})


def test_a_link_read_against_the_questions_sense_costs_a_strain():
    question = "Who is the teacher of Ann Lee?"
    notes = take_notes(question, PROMPT + page("x", "Ann Lee is the teacher of Bo Ray."))
    pupil = notes.names["Bo Ray"]
    assert (pupil.place, pupil.strain, pupil.as_value, pupil.roots) == (0, 1, False, set())


def test_a_skipped_phrase_costs_a_strain():
    notes = take_notes(CHAIN, PROMPT + page("x", "The mayor of Ann Lee is Bo Ray."))
    assert (notes.names["Bo Ray"].place, notes.names["Bo Ray"].strain) == (MAYOR, 1)


def test_two_conditions_meet_in_one_name():
    question = "Which work has the author Ann Lee and the publisher Cor Dex?"
    said = ("The author of Qua Rum is Ann Lee.", "Cor Dex is the publisher of Qua Rum.")
    notes = take_notes(question, PROMPT + page("x", *said))
    assert notes.names["Qua Rum"].roots == {"Ann Lee", "Cor Dex"}
    assert notes.names["Qua Rum"].strain == 0


def test_a_year_is_noted_at_its_owner():
    question = "Which has the earlier birth year, Ann Lee or Bo Ray?"
    said = ("The birth year of Ann Lee is 1850.", "The founding year of Bo Ray is 1801.")
    notes = take_notes(question, PROMPT + page("x", *said))
    assert notes.names["Ann Lee"].number == 1850
    assert notes.names["Bo Ray"].number is None


def test_appearances_are_counted_by_document_and_by_page():
    first = page("x", "Bo Ray met Bo Ray.", "Bo Ray left.", "Nobody.")
    notes = take_notes(CHAIN, PROMPT + first + page("x", "The mayor is Bo Ray."))
    note = notes.names["Bo Ray"]
    assert note.documents == 3
    assert note.pages == {0, 1}
    assert note.overlap == 0.5  # of "mayor" and "birthplace"
    assert note.place is None
