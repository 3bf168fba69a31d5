"""Thresholds of the rules that judge text, with the values of the papers that they come from."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "C4Settings",
    "FineWebSettings",
    "GopherQualitySettings",
    "GopherRepetitionSettings",
    "PersonalData",
    "QualityRule",
]

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

QualityRule = Literal["gopher_repetition", "gopher_quality", "c4", "fineweb"]

PersonalData = Literal["email", "phone", "ip_address", "credit_card", "resident_id"]

Share = Annotated[float, Field(ge=0, le=1)]


class GopherRepetitionSettings(BaseModel):
    """Shares of a document that may be repetition (Rae et al. 2021, table A1)."""

    model_config = _FROZEN

    min_words: Annotated[int, Field(ge=0)] = Field(
        50, description="Shorter documents are not judged: in a few words every n-gram is a large share. 0: all are."
    )
    duplicate_paragraphs: Share = Field(0.30, description="Paragraphs that occurred before, of all paragraphs.")
    duplicate_paragraph_characters: Share = Field(0.20, description="Characters in them, of all characters.")
    duplicate_lines: Share = Field(0.30, description="Lines that occurred before, of all lines.")
    duplicate_line_characters: Share = Field(0.20, description="Characters in them, of all characters.")
    top_n_grams: dict[Annotated[int, Field(ge=2, le=4)], Share] = Field(
        {2: 0.20, 3: 0.18, 4: 0.16}, description="Characters in the most frequent n-gram, by n."
    )
    duplicate_n_grams: dict[Annotated[int, Field(ge=5, le=10)], Share] = Field(
        {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="Characters in n-grams that occurred before, by n.",
    )


class GopherQualitySettings(BaseModel):
    """What a document must look like (Rae et al. 2021, A1.1)."""

    model_config = _FROZEN

    min_words: Annotated[int, Field(ge=0)] = Field(50, description="Fewer words that are not symbols are filtered.")
    max_words: Annotated[int, Field(ge=1)] = Field(100_000, description="More are filtered.")
    min_mean_word_length: Annotated[float, Field(ge=0)] = Field(3.0, description="Characters of a word, on average.")
    max_mean_word_length: Annotated[float, Field(ge=0)] = Field(10.0, description="Characters of a word, on average.")
    max_symbols_per_word: Annotated[float, Field(ge=0)] = Field(
        0.1, description="Hashes, and ellipses, for each word of the document."
    )
    max_bullet_lines: Share = Field(0.9, description="Lines that begin with a bullet.")
    max_ellipsis_lines: Share = Field(0.3, description="Lines that end with an ellipsis.")
    min_words_with_letters: Share = Field(0.8, description="Words with at least one letter.")
    min_stop_words: Annotated[int, Field(ge=0, le=8)] = Field(2, description="Different stop words of the language.")


class C4Settings(BaseModel):
    """Which lines and pages C4 keeps (Raffel et al. 2020, section 2.2). Kept lines become the text."""

    model_config = _FROZEN

    require_terminal_mark: bool = Field(True, description="Lines that do not end a sentence are dropped.")
    min_words_per_line: Annotated[int, Field(ge=0)] = Field(3, description="Shorter lines are dropped.")
    max_word_characters: Annotated[int, Field(ge=1)] = Field(1_000, description="Lines with a longer word are dropped.")
    min_sentences: Annotated[int, Field(ge=0)] = Field(5, description="Fewer in the kept lines: filtered.")
    refuse_curly_brackets: bool = Field(True, description="A page with a curly bracket in a kept line is filtered.")


class FineWebSettings(BaseModel):
    """What the lines of a page must look like (Penedo et al. 2024, section 3.6)."""

    model_config = _FROZEN

    min_punctuated_lines: Share = Field(0.12, description="Lines that end with a terminal mark.")
    short_line_characters: Annotated[int, Field(ge=0)] = Field(30, description="A line up to this long is short.")
    max_short_lines: Share = Field(0.67, description="Short lines.")
    max_duplicate_line_characters: Share = Field(0.01, description="Characters in lines that occurred before.")
    max_line_breaks_per_word: Annotated[float, Field(ge=0)] = Field(0.3, description="Line breaks for each word.")
