"""Text of scripts without spaces, in metrics, retrieval and checks."""
# ruff: noqa: RUF001

import pytest

from zs_env.engines import BM25Engine, ParagraphEngine
from zs_env.metrics import contains_answer, exact_match, f1_score, normalize_answer
from zs_env.questions.question import Paragraph, Question
from zs_env.search.types import SearchRequest
from zs_env.simulator.checks import failed_checks
from zs_env.text.words import content_words, num_words

CHINESE = "《红楼梦》是清代作家曹雪芹创作的长篇小说。"
JAPANESE = "日本の首都は東京である。"
THAI = "เมืองหลวงของไทยคือกรุงเทพมหานคร"
# Text, an answer in it, the answer with punctuation, an answer that is not in it.
CASES = [
    (CHINESE, "曹雪芹", "曹雪芹。", "吴承恩"),
    (JAPANESE, "東京", "「東京」", "大阪"),
    (THAI, "กรุงเทพมหานคร", "กรุงเทพมหานคร!", "เวียงจันทน์"),
    ("第２０回は２０２０年", "2020年", "２０２０年。", "2021年"),
    ("パリはフランスの首都だ", "パリ", "ﾊﾟﾘ", "バリ"),
]


@pytest.mark.parametrize(("text", "answer", "written", "other"), CASES)
def test_answers_are_found_in_text_without_spaces(text, answer, written, other):
    assert contains_answer(text, [answer]) and contains_answer(text, written)
    assert not contains_answer(text, [other])
    assert exact_match(written, [answer]) and exact_match(answer, [written])
    assert not exact_match(other, [answer]) and not exact_match(text, [answer])
    assert f1_score(written, [answer]) == f1_score(written, [answer], tokens="characters") == 1.0


def test_f1_counts_characters():
    # 3 of 4 and of 3 characters are common: 2 * 3 / 7.
    assert f1_score("是曹雪芹。", ["曹雪芹"]) == pytest.approx(6 / 7)
    # 東京 of 東京です: 2 * 2 / 6.
    assert f1_score("東京です", ["東京"]) == pytest.approx(4 / 6)
    assert f1_score("李白", ["曹雪芹"]) == 0.0
    # A Latin word is one word: iPhone, 手 and 机 against 手 and 机.
    assert f1_score("iPhone手机", ["手机"]) == pytest.approx(4 / 5)


def test_spaces_do_not_matter():
    assert normalize_answer("曹 雪芹") == normalize_answer("曹雪芹") == "曹 雪 芹"


def test_other_text_is_normalized_as_before():
    assert normalize_answer("Curie\u2019s \u2013 Röntgen, the") == "curie\u2019s \u2013 röntgen"


def test_content_words_are_pairs_of_characters():
    assert content_words("北京是中国的首都") == [
        "北京",
        "京是",
        "是中",
        "中国",
        "国的",
        "的首",
        "首都",
    ]
    assert content_words("山 2020年 Röntgen") == ["山", "2020", "年", "rontgen"]
    assert content_words("が") == ["が"] != content_words("か")  # the voiced mark is kept
    assert content_words("한국어 입니다") == ["한국어", "입니다"]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("红楼梦的作者是谁", "红楼梦"),
        ("日本の首都", "日本"),
        ("เมืองหลวงของไทย", "ไทย"),
        ("capital of Norway", "Oslo"),
    ],
)
def test_bm25_finds_the_passage(query, title):
    pytest.importorskip("bm25s")
    texts = {"红楼梦": CHINESE, "日本": JAPANESE, "ไทย": THAI, "Oslo": "Oslo: capital of Norway."}
    engine = BM25Engine.from_passages({"title": t, "text": x} for t, x in texts.items())
    request = SearchRequest(query, None, None, (True,) * 3, 1)
    assert engine.search([request])[0].documents[0].title == title  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "answer", "gold", "distractor"),
    [
        ("《红楼梦》的作者是谁？", "曹雪芹", CHINESE, "《西游记》是吴承恩写的小说。"),
        ("日本の首都はどこですか。", "東京", JAPANESE, "フランスの首都はパリである。"),
        ("เมืองหลวงของไทยคืออะไร", "กรุงเทพมหานคร", THAI, "เมืองหลวงของลาวคือเวียงจันทน์"),
    ],
)
@pytest.mark.parametrize("useful", [True, False])
def test_paragraphs_are_useful_or_noisy_as_requested(text, answer, gold, distractor, useful):
    paragraphs = tuple(
        Paragraph(title="", text=one, is_gold=one == gold) for one in (distractor, gold)
    )
    question = Question(id="q", text=text, answers=(answer,), paragraphs=paragraphs)
    request = SearchRequest(text, text, (answer,), (useful,), 1)
    (page,) = ParagraphEngine([question]).search([request])
    assert [one.text for one in page.documents] == [gold if useful else distractor]


def test_checks_of_generated_documents():
    def failed(text, answer, useful):
        request = SearchRequest("q", "Q?", (answer,), (useful,), 1)
        return failed_checks([text], request, useful=useful, num_documents=1, num_words=30)[0]

    chinese = "《红楼梦》是清代作家曹雪芹创作的一部长篇小说，被视为中国古典小说的高峰之一。" * 2
    assert failed(chinese, "曹雪芹", True) == ()
    assert failed(chinese, "曹雪芹", False) == ("leak",)
    assert failed(chinese, "吴承恩", True) == ("no_answer",)
    assert failed(chinese * 3, "曹雪芹", True) == ("length", "repetition")
    assert failed("红楼梦。", "红楼梦", True) == ("length",)
    thai = f"{THAI} ซึ่งเป็นเมืองที่ใหญ่ที่สุดของประเทศและเป็นศูนย์กลางการปกครอง การศึกษา และวัฒนธรรม"
    assert failed(thai, "กรุงเทพมหานคร", True) == ()
    # A name that occurs often in a document is no repetition.
    often = (
        "曹雪芹生于南京。后来曹雪芹迁居北京。晚年的曹雪芹贫病交加。学者认为曹雪芹约死于一七六三年。"
    )
    assert failed(often, "曹雪芹", True) == ()


def test_two_characters_count_as_a_word():
    assert num_words("one two 红楼梦人") == 4.0 and num_words("one two") == 2
