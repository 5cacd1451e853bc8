"""Content words of a text, as the lexical engines count them."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"\w+")

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
    """Return the words in order, lower case, without accents and English function words."""
    if not text.isascii():
        # NFKD separates letters and accents, so that "Röntgen" is found as "Rontgen".
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return [word for word in _WORD.findall(text.lower()) if word not in STOPWORDS]
