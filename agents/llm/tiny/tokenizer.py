"""The tokenizer of the tiny policy: each word of the fictional world is one token.

Other text is encoded as characters and bytes, so every text decodes to itself. A word and the space
before it are one token.
"""

from __future__ import annotations

import string

from tokenizers import Tokenizer, decoders
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from zs_env.prompts import BARE_NOTICES, BARE_PROMPT, render_page
from zs_env.search.types import Document
from zs_env.world.names import NAME_PARTS
from zs_env.world.relations import RELATIONS
from zs_env.world.world import YEARS

END_TOKEN = "<|end|>"
_TAGS = ("<think>", "</think>", "<search>", "</search>", "<answer>", "</answer>")
_PHRASES = (  # separated by |
    "Question:| Who is the| What is the| Which| has the| and the| or| the| of| is| earlier|"
    " later| First the| and| has| Next the| Again the| The| not there| nothing| Done.|"
    " Both have| is the| Maybe| So| first| second"
)
_WORD_SCORE, _CHARACTER_SCORE = -1.0, -10.0


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer from the names of the world; the result is always the same."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    words = _words()
    characters = [c for c in string.printable if c not in words]
    # The end token is added outside of this vocabulary, so no text contains it.
    vocabulary = [("<|unknown|>", 0.0)]
    vocabulary += [(word, _WORD_SCORE) for word in words]
    vocabulary += [(character, _CHARACTER_SCORE) for character in characters]
    vocabulary += [(token, 2 * _CHARACTER_SCORE) for token in byte_tokens]
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_TOKEN,
        pad_token=END_TOKEN,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def _words() -> list[str]:
    """Return the texts that are one token, most of them with a leading space."""
    names = [part for stock in NAME_PARTS.values() for parts in stock for part in parts]
    relations = sorted({word for relation in RELATIONS for word in relation.name.split()})
    kinds = sorted({relation.subject for relation in RELATIONS})
    page = render_page([Document(f"\0{rank}") for rank in range(5)])
    frame = [piece.lstrip("01234").removesuffix(" ") for piece in page.split("\0")]
    # A year is two tokens, like a name: the order of ten decades is learned quickly, that of a
    # hundred years is not.
    decades = sorted({year[:-1] for year in YEARS})
    notices = sorted({word for notice in BARE_NOTICES.values() for word in notice.split()})
    words = [
        *_TAGS,
        *frame,
        *_PHRASES.split("|"),
        *[f" {word}" for word in (*names, *decades, *kinds, *relations)],
        *string.digits,
        *[f" {word}" for word in notices],
        *[".", ",", "?", ")", "\n", BARE_PROMPT[-1]],
    ]
    return list(dict.fromkeys(words))
