"""Outcomes and the stable reason codes behind them.

A rejection is data: every sample that is not stored keeps one `Reason`, whose code never changes its meaning once
released, so that counts stay comparable over years. Each member states its outcome and a sentence for a person.
"""

from enum import StrEnum
from typing import Self

__all__ = ["Outcome", "Reason", "find_reason"]


class Outcome(StrEnum):
    """What became of a sample: exactly one of these."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    FILTERED = "filtered"
    DEAD = "dead"


class Reason(StrEnum):
    """Why a sample is not stored.

    Attributes
    ----------
    outcome:
        The outcome that the reason leads to; never `Outcome.STORED`.
    meaning:
        A sentence for a person.
    """

    outcome: Outcome
    meaning: str

    def __new__(cls, code: str, outcome: Outcome, meaning: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.outcome = outcome
        member.meaning = meaning
        return member

    # Messages that cannot be read as a request.
    NULL_VALUE = "null_value", Outcome.DEAD, "The message has no value."
    MESSAGE_TOO_LARGE = "message_too_large", Outcome.DEAD, "The message is larger than max_message_bytes."
    NOT_JSON = "not_json", Outcome.DEAD, "The message is not a JSON object in UTF-8."
    UNKNOWN_SCHEMA = (
        "unknown_schema",
        Outcome.DEAD,
        "The message's schema is missing or of an unknown name or major version.",
    )
    INVALID_DATASET = (
        "invalid_dataset",
        Outcome.DEAD,
        "The dataset name is missing or not of the form [a-z0-9][a-z0-9_-]{0,63}.",
    )
    MISSING_URI = "missing_uri", Outcome.DEAD, "The request names no URI."
    INVALID_FIELD = "invalid_field", Outcome.DEAD, "A field of the message has the wrong type or an impossible value."

    # Fetching.
    INVALID_URI = "invalid_uri", Outcome.DEAD, "The URI cannot be parsed."
    UNSUPPORTED_SCHEME = "unsupported_scheme", Outcome.DEAD, "No source reads URIs of this scheme."
    DEADLINE_PASSED = "deadline_passed", Outcome.DEAD, "The request's deadline had passed before it was fetched."
    HTTP_CLIENT_ERROR = "http_client_error", Outcome.DEAD, "The server refused the request (4xx)."
    HTTP_SERVER_ERROR = "http_server_error", Outcome.DEAD, "The server failed on every attempt (5xx or 429)."
    NAME_NOT_RESOLVED = "name_not_resolved", Outcome.DEAD, "The host name could not be resolved."
    CONNECTION_FAILED = "connection_failed", Outcome.DEAD, "No connection could be made, or it broke, on every attempt."
    TIMED_OUT = "timed_out", Outcome.DEAD, "The transfer was slower than the configured limits on every attempt."
    INVALID_RESPONSE = "invalid_response", Outcome.DEAD, "The server's answer is not HTTP, or its headers never end."
    TLS_FAILED = "tls_failed", Outcome.DEAD, "The server's certificate could not be verified."
    TOO_MANY_REDIRECTS = "too_many_redirects", Outcome.DEAD, "More redirects than max_redirects."
    OBJECT_TOO_LARGE = "object_too_large", Outcome.DEAD, "The object is larger than max_object_bytes."
    TRUNCATED_BODY = "truncated_body", Outcome.DEAD, "The body was shorter than announced on every attempt."
    EMPTY_BODY = "empty_body", Outcome.DEAD, "The object has no bytes."
    CHECKSUM_MISMATCH = "checksum_mismatch", Outcome.DEAD, "The bytes do not have the sha256 that the request names."
    HOST_UNAVAILABLE = (
        "host_unavailable",
        Outcome.DEAD,
        "The host failed again and again, or asked for a longer rest than is waited for, and is left alone.",
    )
    ROBOTS_DISALLOWED = "robots_disallowed", Outcome.FILTERED, "The host's robots.txt does not allow this URL."
    ROBOTS_UNREACHABLE = (
        "robots_unreachable",
        Outcome.DEAD,
        "The host's robots.txt cannot be read because the server fails, so nothing may be fetched there.",
    )
    NOAI = "noai", Outcome.FILTERED, "The server's X-Robots-Tag forbids the use for AI."
    TDM_RESERVED = "tdm_reserved", Outcome.FILTERED, "The server reserves the rights to text and data mining."
    DECOMPRESSION_BOMB = "decompression_bomb", Outcome.DEAD, "The bytes unpack to more than max_ratio times their size."
    ARCHIVE_TOO_LARGE = (
        "archive_too_large",
        Outcome.DEAD,
        "The archive has more members or unpacked bytes than allowed; what came before is kept.",
    )
    ARCHIVE_TOO_DEEP = "archive_too_deep", Outcome.DEAD, "Archives stand inside archives deeper than max_depth."
    CORRUPT_ARCHIVE = (
        "corrupt_archive",
        Outcome.DEAD,
        "The archive or table is broken from here on; what came before is kept.",
    )
    EMPTY_ARCHIVE = "empty_archive", Outcome.DEAD, "The archive or table holds no members."
    UNSAFE_MEMBER = "unsafe_member", Outcome.DEAD, "The member's name is absolute or leads out of the archive."
    CORRUPT_MEMBER = "corrupt_member", Outcome.DEAD, "This member cannot be unpacked: damaged or encrypted."
    OUTSIDE_ROOTS = "outside_roots", Outcome.DEAD, "The file or object is not below one of fetch.allowed_roots."
    OBJECT_NOT_FOUND = "object_not_found", Outcome.DEAD, "There is no file or object at that place."
    ACCESS_DENIED = "access_denied", Outcome.DEAD, "The file, object or database may not be read with our credentials."
    UNKNOWN_CONNECTION = "unknown_connection", Outcome.DEAD, "No connection of that name is in fetch.connections."
    SOURCE_FAILED = "source_failed", Outcome.DEAD, "The library that reads this source failed in an unforeseen way."
    QUERY_FAILED = "query_failed", Outcome.DEAD, "The database refused the query."
    ADDRESS_REFUSED = (
        "address_refused",
        Outcome.DEAD,
        "The host's address is private, local or reserved and not on the allow-list.",
    )

    # At any stage.
    BATCH_ABANDONED = "batch_abandoned", Outcome.DEAD, "The batch was given up before it was committed."

    # Cleaning.
    UNKNOWN_MODALITY = "unknown_modality", Outcome.DEAD, "The bytes are neither text, image nor audio that UMMP reads."
    CORRUPT_TEXT = "corrupt_text", Outcome.DEAD, "The bytes cannot be decoded as text."
    TEXT_TOO_LARGE = "text_too_large", Outcome.FILTERED, "The document is larger than max_bytes."
    TEXT_TOO_SHORT = "text_too_short", Outcome.FILTERED, "Fewer than min_characters are left after cleaning."
    GOPHER_DUPLICATE_PARAGRAPHS = (
        "gopher_duplicate_paragraphs",
        Outcome.FILTERED,
        "Too many paragraphs occurred before in the document.",
    )
    GOPHER_DUPLICATE_PARAGRAPH_CHARACTERS = (
        "gopher_duplicate_paragraph_characters",
        Outcome.FILTERED,
        "Too much of the text stands in paragraphs that occurred before.",
    )
    GOPHER_DUPLICATE_LINES = (
        "gopher_duplicate_lines",
        Outcome.FILTERED,
        "Too many lines occurred before in the document.",
    )
    GOPHER_DUPLICATE_LINE_CHARACTERS = (
        "gopher_duplicate_line_characters",
        Outcome.FILTERED,
        "Too much of the text stands in lines that occurred before.",
    )
    GOPHER_TOP_2_GRAM = (
        "gopher_top_2_gram",
        Outcome.FILTERED,
        "The most frequent sequence of 2 words is too much of the text.",
    )
    GOPHER_TOP_3_GRAM = (
        "gopher_top_3_gram",
        Outcome.FILTERED,
        "The most frequent sequence of 3 words is too much of the text.",
    )
    GOPHER_TOP_4_GRAM = (
        "gopher_top_4_gram",
        Outcome.FILTERED,
        "The most frequent sequence of 4 words is too much of the text.",
    )
    GOPHER_DUPLICATE_5_GRAMS = (
        "gopher_duplicate_5_grams",
        Outcome.FILTERED,
        "Too much of the text stands in sequences of 5 words that occurred before.",
    )
    GOPHER_DUPLICATE_6_GRAMS = (
        "gopher_duplicate_6_grams",
        Outcome.FILTERED,
        "Too much of the text stands in sequences of 6 words that occurred before.",
    )
    GOPHER_DUPLICATE_7_GRAMS = (
        "gopher_duplicate_7_grams",
        Outcome.FILTERED,
        "Too much of the text stands in sequences of 7 words that occurred before.",
    )
    GOPHER_DUPLICATE_8_GRAMS = (
        "gopher_duplicate_8_grams",
        Outcome.FILTERED,
        "Too much of the text stands in sequences of 8 words that occurred before.",
    )
    GOPHER_DUPLICATE_9_GRAMS = (
        "gopher_duplicate_9_grams",
        Outcome.FILTERED,
        "Too much of the text stands in sequences of 9 words that occurred before.",
    )
    GOPHER_DUPLICATE_10_GRAMS = (
        "gopher_duplicate_10_grams",
        Outcome.FILTERED,
        "Too much of the text stands in sequences of 10 words that occurred before.",
    )
    GOPHER_TOO_FEW_WORDS = "gopher_too_few_words", Outcome.FILTERED, "The document has too few words."
    GOPHER_TOO_MANY_WORDS = "gopher_too_many_words", Outcome.FILTERED, "The document has too many words."
    GOPHER_WORDS_TOO_SHORT = "gopher_words_too_short", Outcome.FILTERED, "The words are too short on average."
    GOPHER_WORDS_TOO_LONG = "gopher_words_too_long", Outcome.FILTERED, "The words are too long on average."
    GOPHER_TOO_MANY_HASHES = (
        "gopher_too_many_hashes",
        Outcome.FILTERED,
        "The document has too many hashes for its words.",
    )
    GOPHER_TOO_MANY_ELLIPSES = (
        "gopher_too_many_ellipses",
        Outcome.FILTERED,
        "The document has too many ellipses for its words.",
    )
    GOPHER_TOO_MANY_BULLET_LINES = (
        "gopher_too_many_bullet_lines",
        Outcome.FILTERED,
        "Too many lines begin with a bullet.",
    )
    GOPHER_TOO_MANY_ELLIPSIS_LINES = (
        "gopher_too_many_ellipsis_lines",
        Outcome.FILTERED,
        "Too many lines end with an ellipsis.",
    )
    GOPHER_TOO_FEW_WORDS_WITH_LETTERS = (
        "gopher_too_few_words_with_letters",
        Outcome.FILTERED,
        "Too few words have a letter.",
    )
    GOPHER_TOO_FEW_STOP_WORDS = (
        "gopher_too_few_stop_words",
        Outcome.FILTERED,
        "Too few different stop words of the language occur.",
    )
    C4_LOREM_IPSUM = "c4_lorem_ipsum", Outcome.FILTERED, "The page holds placeholder text."
    C4_CURLY_BRACKET = "c4_curly_bracket", Outcome.FILTERED, "The page holds a curly bracket, as code does."
    C4_TOO_FEW_SENTENCES = (
        "c4_too_few_sentences",
        Outcome.FILTERED,
        "Too few sentences are left in the lines that C4 keeps.",
    )
    FINEWEB_TOO_FEW_PUNCTUATED_LINES = (
        "fineweb_too_few_punctuated_lines",
        Outcome.FILTERED,
        "Too few lines end a sentence.",
    )
    FINEWEB_TOO_MANY_SHORT_LINES = "fineweb_too_many_short_lines", Outcome.FILTERED, "Too many lines are short."
    FINEWEB_DUPLICATE_LINE_CHARACTERS = (
        "fineweb_duplicate_line_characters",
        Outcome.FILTERED,
        "Too much of the text stands in lines that occurred before.",
    )
    FINEWEB_TOO_MANY_LINE_BREAKS = (
        "fineweb_too_many_line_breaks",
        Outcome.FILTERED,
        "The page has too many line breaks for its words.",
    )
    CORRUPT_IMAGE = "corrupt_image", Outcome.DEAD, "The bytes cannot be decoded as an image."
    UNSUPPORTED_IMAGE = (
        "unsupported_image",
        Outcome.DEAD,
        "The bytes are of no image format that UMMP reads, or of a kind of pixels that it does not.",
    )
    IMAGE_BYTES_OVER_LIMIT = "image_bytes_over_limit", Outcome.FILTERED, "The image file is larger than max_bytes."
    TOO_MANY_PIXELS = "too_many_pixels", Outcome.FILTERED, "The image has more pixels than max_pixels."
    TOO_MANY_SCANS = (
        "too_many_scans",
        Outcome.FILTERED,
        "The JPEG would be decoded in so many passes that its scans hold more than 16 times max_pixels.",
    )
    IMAGE_TOO_SMALL = "image_too_small", Outcome.FILTERED, "The image's shorter side is below min_side_pixels."
    IMAGE_TOO_ELONGATED = (
        "image_too_elongated",
        Outcome.FILTERED,
        "The image's longer side is more than max_aspect_ratio times its shorter one.",
    )
    DECODER_CRASHED = "decoder_crashed", Outcome.DEAD, "Decoding the bytes killed the process or did not end in time."
    CORRUPT_AUDIO = "corrupt_audio", Outcome.DEAD, "The bytes cannot be decoded as audio."
    UNSUPPORTED_AUDIO = (
        "unsupported_audio",
        Outcome.DEAD,
        "The bytes are of no audio format that UMMP reads, or of one whose extra is not installed.",
    )
    AUDIO_BYTES_OVER_LIMIT = "audio_bytes_over_limit", Outcome.FILTERED, "The audio file is larger than max_bytes."
    AUDIO_TOO_SHORT = "audio_too_short", Outcome.FILTERED, "The recording is shorter than min_seconds."
    AUDIO_TOO_LONG = "audio_too_long", Outcome.FILTERED, "The recording is longer than max_seconds."
    AUDIO_TOO_QUIET = "audio_too_quiet", Outcome.FILTERED, "The recording's level is below min_level_dbfs."
    AUDIO_SILENT = (
        "audio_silent",
        Outcome.FILTERED,
        "A larger share of the recording than max_silent_fraction is below silence_dbfs.",
    )
    AUDIO_CLIPPED = (
        "audio_clipped",
        Outcome.FILTERED,
        "A larger share of the samples than max_clipped_fraction stands at full scale.",
    )
    EXACT_DUPLICATE = (
        "exact_duplicate",
        Outcome.DUPLICATE,
        "The same content is already owned by another sample of the dataset.",
    )
    NEAR_DUPLICATE = (
        "near_duplicate",
        Outcome.DUPLICATE,
        "Nearly the same content is already owned by another sample of the dataset.",
    )
    TAKEDOWN = "takedown", Outcome.FILTERED, "The content, its URI or its domain was taken down."

    # Model parameters.
    CORRUPT_PARAMETERS = (
        "corrupt_parameters",
        Outcome.DEAD,
        "The parameters cannot be unpacked, or do not have the checksum that their messages name.",
    )
    INCOMPLETE_PARAMETERS = (
        "incomplete_parameters",
        Outcome.DEAD,
        "Some of the messages of the parameters had not come when their round was closed.",
    )
    MISMATCHED_PARAMETERS = (
        "mismatched_parameters",
        Outcome.DEAD,
        "The arrays have other names, shapes or types than those of the round's other workers.",
    )
    NON_FINITE_PARAMETERS = "non_finite_parameters", Outcome.DEAD, "An array holds NaN or infinity."
    NO_SAMPLES = "no_samples", Outcome.FILTERED, "Parameters of no samples have no weight in an average."
    LATE_PARAMETERS = "late_parameters", Outcome.FILTERED, "The round was already closed when the parameters came."
    REPLACED_PARAMETERS = (
        "replaced_parameters",
        Outcome.FILTERED,
        "The same worker published other parameters for the round afterwards.",
    )


_BY_CODE = {reason.value: reason for reason in Reason}


def find_reason(code: str) -> Reason | None:
    """Return the reason of a stored code, or None for one that a newer version wrote."""
    return _BY_CODE.get(code)
