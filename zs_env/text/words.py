"""Content words of a text, as the lexical engines count them."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# Characters of scripts without spaces between words, for a character class: Thai, Lao, Myanmar,
# Khmer, Japanese and Chinese; without their punctuation.
UNSPACED = (
    r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0edf\u1000-\u1049\u1050-\u109f"
    r"\u1780-\u17d3\u17d7\u17dc-\u17e9\u3005-\u3007\u3041-\u3096\u3099\u309a\u309d-\u309f"
    r"\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff"
)
_WORD = re.compile(r"\w+")
_RUN = re.compile(rf"[{UNSPACED}]+|[^\W{UNSPACED}]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")

_FUNCTION_WORDS = (
    "a about after all also am an and any are as at be because been before being between both but "
    "by can could d did do does doing during each for from had has have having he her here him "
    "his how i if in into is it its itself ll m me more most my no not of off on once only or "
    "other our over own re s same she should so some such t than that the their them then there "
    "these they this those through to too under until up ve very was we were what when where "
    "which while who whom whose why will with would you your"
)
STOPWORDS = frozenset(_FUNCTION_WORDS.split())


def content_words(text: str) -> list[str]:
    """Return the words in order, lower case, without accents and English function words.

    A run of characters of a script without spaces, such as Chinese or Thai, is split into its
    overlapping pairs of characters.
    """
    if text.isascii():
        return [word for word in _WORD.findall(text.lower()) if word not in STOPWORDS]
    # NFKD separates letters and accents, so that "Röntgen" is found as "Rontgen".
    decomposed = unicodedata.normalize("NFKD", text)
    kept = (
        letter
        for letter in decomposed
        if not unicodedata.combining(letter) or _UNSPACED.match(letter)
    )
    words = []
    for run in _RUN.findall(unicodedata.normalize("NFC", "".join(kept)).lower()):
        if not _UNSPACED.match(run) or len(run) == 1:
            words.append(run)
        else:
            words += map("".join, pairwise(run))
    return [word for word in words if word not in STOPWORDS]


def num_words(text: str) -> float:
    """Return the number of words; of scripts without spaces, two characters count as one word."""
    if text.isascii():
        return len(text.split())
    return len(_UNSPACED.sub(" ", text).split()) + len(_UNSPACED.findall(text)) / 2


def is_mostly_unspaced(text: str) -> bool:
    """Whether more than half of the words are of scripts without spaces."""
    return not text.isascii() and len(_UNSPACED.findall(text)) / 2 > num_words(text) / 2
