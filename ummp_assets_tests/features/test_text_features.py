"""Token ids: carried vocabularies, a user's own, and the stage."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
import tokenizers

from ummp_assets.errors import InvalidInput, InvalidSettings, ManifestMissing
from ummp_assets.features.text import text_features
from ummp_assets.features.text.sequences import SequencePacker, pack_sequences
from ummp_assets.features.text.tokenizers import load_tokenizer
from ummp_assets.records import TEXT_SCHEMA
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter, read_table

BATCH = "ummp.requests.normal~00000001"
TEXTS = ["Hello world", "", "人人生而自由", "<|endoftext|> stays text", "def f(x):\n    return x\n"]


def put_clean(store: ObjectStore, texts: list[str], datasets: list[str] | None = None, characters: int = 1) -> None:
    rows = [
        {
            "sample_id": f"ummp.requests.normal~0~{number}",
            "dataset": datasets[number] if datasets else "docs",
            "uri": "http://127.0.0.1/a.txt",
            "sha256": "00",
            "content_sha256": "00",
            "text": text,
            "language": "en",
            "language_score": 1.0,
            "encoding": "utf-8",
            "characters": characters,
        }
        for number, text in enumerate(texts)
    ]
    with StageWriter(store, "clean_text", BATCH, {"samples": TEXT_SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=TEXT_SCHEMA))
        writer.commit(code_version="1")


@pytest.fixture
def own_tokenizer(tmp_path: Path) -> Path:
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"all": 0, "beings": 1, "[UNK]": 2, "</s>": 3}, "[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def test_known_ids_of_the_published_vocabularies() -> None:
    assert load_tokenizer("cl100k_base").encode("hello world").tolist() == [15339, 1917]
    assert load_tokenizer("o200k_base").encode("hello world").tolist() == [24912, 2375]


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")
def test_size_and_end_of_text_are_those_of_the_carried_vocabulary(name: str) -> None:
    import bpe_openai  # Here, for it warns.

    encoding = bpe_openai.get_encoding(name)
    tokenizer = load_tokenizer(name)

    assert tokenizer.vocabulary_size == encoding.max_token_value + 1
    assert [tokenizer.end_of_text] == encoding.encode("<|endoftext|>", allowed_special="all")


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
@pytest.mark.parametrize("text", [*TEXTS, "🙂" * 500, "a" * 300_000, "\n" * 300_000])
def test_decoding_gives_the_text_back(name: str, text: str) -> None:
    tokenizer = load_tokenizer(name)

    assert tokenizer.decode(tokenizer.encode(text).tolist()) == text


def test_long_text_has_the_ids_of_its_parts_at_line_ends() -> None:
    tokenizer = load_tokenizer("cl100k_base")
    paragraph = "Prose, with  spaces;\n  and * lists\n\n"
    one = tokenizer.encode(paragraph).tolist()

    assert tokenizer.encode(paragraph * 5_000).tolist() == one * 5_000


def test_own_tokenizer_is_read_from_its_file(own_tokenizer: Path) -> None:
    tokenizer = load_tokenizer(str(own_tokenizer))

    assert tokenizer.encode("all beings all </s>").tolist() == [0, 1, 0, 2, 2, 2]
    assert (tokenizer.vocabulary_size, tokenizer.end_of_text) == (4, 3)
    assert tokenizer.name.startswith("tokenizer.json-")


def test_own_tokenizer_gives_a_long_text_the_ids_of_its_words(own_tokenizer: Path) -> None:
    tokenizer = load_tokenizer(str(own_tokenizer))

    assert (
        tokenizer.encode("all beings </s> " * 20_000).tolist() == tokenizer.encode("all beings </s>").tolist() * 20_000
    )


@pytest.mark.parametrize("name", ["gpt2", "missing.json", __file__ + ".json"])
def test_unusable_tokenizer_says_what_is_expected(name: str) -> None:
    with pytest.raises(InvalidSettings, match="UMMP_CLEAN__TEXT__TOKENIZER"):
        load_tokenizer(name)


def test_stage_writes_ids_in_the_order_of_the_texts(store: ObjectStore, settings: Settings) -> None:
    put_clean(store, TEXTS)

    manifest = text_features(store, settings, BATCH)

    rows = [row for part in read_table(store, manifest, "samples") for row in part.to_pylist()]
    tokenizer = load_tokenizer("cl100k_base")
    assert [row["sample_id"] for row in rows] == [f"ummp.requests.normal~0~{number}" for number in range(5)]
    assert [tokenizer.decode(row["token_ids"]) for row in rows] == TEXTS
    assert [row["tokens"] for row in rows] == [len(row["token_ids"]) for row in rows]
    assert manifest.numbers == {"samples_in": 5, "samples_out": 5, "tokens": sum(row["tokens"] for row in rows)}
    assert manifest.rules["tokenizer"] == "cl100k_base"


def test_stage_uses_the_configured_tokenizer(store: ObjectStore, tmp_path: Path, own_tokenizer: Path) -> None:
    settings = load_settings(home=tmp_path, clean={"text": {"tokenizer": str(own_tokenizer)}})
    put_clean(store, ["all all beings"])

    manifest = text_features(store, settings, BATCH)

    (part,) = read_table(store, manifest, "samples")
    assert part.column("token_ids").to_pylist() == [[0, 0, 1]]


def test_stage_runs_on_a_batch_without_texts(store: ObjectStore, settings: Settings) -> None:
    put_clean(store, [])

    assert text_features(store, settings, BATCH).numbers == {"samples_in": 0, "samples_out": 0, "tokens": 0}


def test_stage_without_clean_text_says_so(store: ObjectStore, settings: Settings) -> None:
    with pytest.raises(ManifestMissing, match="clean_text"):
        text_features(store, settings, BATCH)


def test_sequences_are_cut_to_length_with_boundaries_and_padding() -> None:
    documents = [("a", [1, 2, 3]), ("b", []), ("c", list(range(10, 19)))]

    sequences = list(pack_sequences(documents, 6, 0))

    assert [sequence.token_ids.tolist() for sequence in sequences] == [
        [1, 2, 3, 0, 0, 10],
        [11, 12, 13, 14, 15, 16],
        [17, 18, 0, 0, 0, 0],
    ]
    assert [sequence.document_starts.tolist() for sequence in sequences] == [[0, 4, 5], [0], [0]]
    assert [sequence.sample_ids for sequence in sequences] == [("a", "b", "c"), ("c",), ("c",)]
    assert [sequence.tokens for sequence in sequences] == [6, 6, 3]


@pytest.mark.parametrize("length", [2, 7, 64, 100_000])
def test_sequences_hold_every_token_once_and_in_order(length: int) -> None:
    drawn = random.Random(length)
    documents = [(str(number), [drawn.randint(1, 9) for _ in range(drawn.randint(0, 90))]) for number in range(50)]

    sequences = list(pack_sequences(documents, length, 0))

    packed = [token for sequence in sequences for token in sequence.token_ids[: sequence.tokens].tolist()]
    assert packed == [token for _, tokens in documents for token in [*tokens, 0]]
    assert {len(sequence.token_ids) for sequence in sequences} == {length}
    assert all(sequence.tokens == length for sequence in sequences[:-1])


def test_too_short_sequences_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 2"):
        SequencePacker(1, 0)


def test_stage_packs_each_dataset_by_itself(store: ObjectStore, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, clean={"text": {"sequence_tokens": 4}})
    put_clean(store, ["hello world"] * 4, ["a", "b", "a", "b"])

    manifest = text_features(store, settings, BATCH)

    (part,) = read_table(store, manifest, "sequences")
    rows = part.to_pylist()
    assert [row["dataset"] for row in rows] == ["a", "b", "a", "b"]
    assert rows[0]["token_ids"] == [15339, 1917, 100257, 15339]
    assert rows[2]["token_ids"] == [1917, 100257, 100257, 100257]
    assert (rows[2]["tokens"], rows[2]["document_starts"]) == (2, [0])
    assert rows[0]["sample_ids"] == ["ummp.requests.normal~0~0", "ummp.requests.normal~0~2"]


def test_stage_refuses_sequences_for_a_tokenizer_without_separator(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a")).save(str(path))
    settings = load_settings(home=tmp_path, clean={"text": {"tokenizer": str(path), "sequence_tokens": 4}})
    put_clean(store, ["a"])

    with pytest.raises(InvalidSettings, match="end-of-text"):
        text_features(store, settings, BATCH)


def test_large_batch_is_tokenised_in_processes_with_the_same_result(store: ObjectStore, settings: Settings) -> None:
    texts = [f"text number {number} of many" for number in range(100)]
    put_clean(store, texts)
    expected = text_features(store, settings, BATCH)

    # What the rows say of their length decides; it is part of no output.
    put_clean(store, texts, characters=2**20)

    assert text_features(store, settings, BATCH).tables == expected.tables
