"""One settings object: every knob with its description, bound and safe default.

Values come from `UMMP_*` environment variables, read by `load_settings()` and never at import. Nested values join
with two underscores: `UMMP_FETCH__MAX_OBJECT_BYTES=1000000`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from ummp_assets.errors import InvalidSettings
from ummp_assets.text_settings import (
    C4Settings,
    FineWebSettings,
    GopherQualitySettings,
    GopherRepetitionSettings,
    PersonalData,
    QualityRule,
)

__all__ = [
    "AudioSettings",
    "DatasetSettings",
    "FetchSettings",
    "HostSettings",
    "ImageSettings",
    "IntakeSettings",
    "Settings",
    "TextSettings",
    "TrainingSettings",
    "UnpackSettings",
    "load_settings",
]

_FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IntakeSettings(BaseModel):
    """How messages become batches."""

    model_config = _FROZEN

    max_batch_messages: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        5_000, description="A batch is cut as soon as this many messages wait."
    )
    max_batch_wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        10.0, description="A smaller batch is cut once its oldest message has waited this long."
    )
    max_queued_batches: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="No new batch is cut while this many runs of the topic wait or run."
    )
    max_message_bytes: Annotated[int, Field(ge=1_000, le=100_000_000)] = Field(
        1_000_000, description="A larger message is a dead letter."
    )


class HostSettings(BaseModel):
    """What holds for one host instead of the general rules; a value that is not set leaves the rule as it is."""

    model_config = _FROZEN

    max_connections: Annotated[int, Field(ge=1, le=4_096)] | None = Field(
        None, description="Connections at once to this host."
    )
    requests_per_second: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Requests begun each second at this host."
    )
    respect_robots: bool | None = Field(None, description="Whether robots.txt is kept at this host.")
    respect_noai: bool | None = Field(None, description="Whether X-Robots-Tag: noai, noimageai is kept at this host.")
    respect_tdm_reservation: bool | None = Field(
        None, description="Whether the tdm-reservation header is kept at this host."
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Request headers for this host only, e.g. Authorization."
    )
    username: str | None = Field(None, description="User name for HTTP basic authentication at this host.")
    password: SecretStr | None = Field(None, description="Password for HTTP basic authentication at this host.")


class UnpackSettings(BaseModel):
    """How far archives and tables are unpacked."""

    model_config = _FROZEN

    max_members: Annotated[int, Field(ge=1)] = Field(
        100_000, description="Members or rows of one archive; the rest of a longer one is dead: archive_too_large."
    )
    max_total_bytes: Annotated[int, Field(ge=1)] = Field(
        10_737_418_240, description="Unpacked bytes of one archive; the rest is dead: archive_too_large."
    )
    max_ratio: Annotated[float, Field(gt=1)] = Field(
        200.0, description="Unpacked over packed bytes; beyond it, an archive or a response is a bomb."
    )
    max_depth: Annotated[int, Field(ge=1, le=10)] = Field(
        2, description="Archives inside archives, the outer included."
    )


class FetchSettings(BaseModel):
    """How URIs become bytes."""

    model_config = _FROZEN

    max_object_bytes: Annotated[int, Field(ge=1)] = Field(
        2_147_483_648, description="A larger object is dead: object_too_large."
    )
    inline_bytes: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        1_048_576, description="Larger objects are streamed to blobs/ instead of standing in Parquet."
    )
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        10.0, description="Limit for making one connection."
    )
    total_timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(300.0, description="Limit for one attempt.")
    low_speed_bytes_per_second: Annotated[int, Field(ge=1)] = Field(
        1_024, description="A transfer below this speed for low_speed_seconds is broken off."
    )
    low_speed_seconds: Annotated[int, Field(ge=1, le=3_600)] = Field(
        30, description="How long a transfer may stay below low_speed_bytes_per_second."
    )
    max_attempts: Annotated[int, Field(ge=1, le=20)] = Field(4, description="Attempts for one URI, the first included.")
    retry_base_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        0.5, description="Upper end of the first random wait before another attempt; it doubles with each."
    )
    max_retry_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        60.0, description="Limit for all waiting between the attempts of one URI."
    )
    max_redirects: Annotated[int, Field(ge=0, le=50)] = Field(5, description="Redirects followed for one URI.")
    max_connections: Annotated[int, Field(ge=1, le=4_096)] = Field(
        64,
        description="Transfers that move data at once, over all hosts; up to 8 times as many wait beside them, 1,024 "
        "at most.",
    )
    max_connections_per_host: Annotated[int, Field(ge=1, le=256)] = Field(
        8, description="Connections at once to one host."
    )
    allowed_addresses: tuple[str, ...] = Field(
        (), description="Networks (CIDR) that may be fetched although they are private, loopback or reserved."
    )
    allowed_roots: tuple[str, ...] = Field(
        (), description="Folders or fsspec URLs below which file: and fsspec URIs may be read."
    )
    requests_per_second_per_host: Annotated[float, Field(gt=0)] = Field(
        100.0, description="Requests begun each second at one host; this machine's own addresses are exempt."
    )
    respect_robots: bool = Field(True, description="Keep robots.txt (RFC 9309) and its crawl-delay.")
    robots_cache_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        86_400.0, description="How long a robots.txt is used before it is fetched again."
    )
    respect_noai: bool = Field(
        True, description="Filter what is marked X-Robots-Tag: noai, and images marked noimageai."
    )
    respect_tdm_reservation: bool = Field(True, description="Filter what is sent with tdm-reservation: 1.")
    max_host_failures: Annotated[int, Field(ge=1, le=1_000)] = Field(
        8, description="After so many failed attempts in a row a host rests; its requests are dead: host_unavailable."
    )
    host_rest_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        300.0, description="How long a host rests that failed again and again."
    )
    max_host_wait_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        3_600.0,
        description="Requests that a host's crawl-delay or requests_per_second would keep waiting for longer are dead: "
        "host_unavailable, ready for redrive.",
    )
    hosts: dict[str, HostSettings] = Field(
        default_factory=dict, description="Rules and credentials by host[:port], as JSON."
    )
    connections: dict[str, SecretStr] = Field(
        default_factory=dict, description="SQLAlchemy URLs by the name that sql+<name>: URIs use, as JSON."
    )
    unpack: UnpackSettings = UnpackSettings()
    user_agent: str = Field(
        "ummp/0.1 (+https://example.org/ummp)", description="What servers are told; put a contact address in it."
    )


class TextSettings(BaseModel):
    """Rules of `clean_text` and `text_features`."""

    model_config = _FROZEN

    max_bytes: Annotated[int, Field(ge=1, le=1_073_741_824)] = Field(
        4_194_304,
        description="Larger documents are filtered before they are read. Up to the default they are cleaned in less "
        "than a second of processor time, whatever they hold.",
    )
    min_characters: Annotated[int, Field(ge=0)] = Field(1, description="Shorter texts are filtered.")
    repair_mojibake: bool = Field(True, description="Undo text that was once decoded in the wrong encoding.")
    # None by default, for a request names what somebody wants, and the papers' thresholds are for crawled pages: of
    # 203 licences they keep 92 % by repetition alone, of 389 pages of HTML documentation 65 %, of 157 readmes 61 %.
    quality_rules: tuple[QualityRule, ...] = Field(
        (),
        description="Rules that judge documents, in this order. All but c4 read the first 786,432 characters of "
        "longer ones. For crawled web pages: "
        '["gopher_repetition", "gopher_quality", "c4", "fineweb"].',
    )
    # So that `ummp datasets preview` can say what they would filter: 0.8 ms for a document of 3 kB, whose cleaning
    # takes 1.3 ms without them (median of five rounds, a busy core).
    measured_rules: tuple[QualityRule, ...] = Field(
        ("gopher_repetition", "gopher_quality", "c4", "fineweb"),
        description="Rules whose values are stored although they do not judge, for `ummp datasets preview`.",
    )
    gopher_repetition: GopherRepetitionSettings = GopherRepetitionSettings()
    gopher_quality: GopherQualitySettings = GopherQualitySettings()
    c4: C4Settings = C4Settings()
    fineweb: FineWebSettings = FineWebSettings()
    personal_data: tuple[PersonalData, ...] = Field(
        ("email", "phone", "ip_address", "credit_card", "resident_id"),
        description="Kinds that are replaced by placeholders such as <email>; none: the text stays as it is.",
    )
    near_duplicate_similarity: Annotated[float, Field(ge=0.5, le=1)] | None = Field(
        0.8,
        description="Texts whose estimated Jaccard similarity is at least this are near duplicates; null: none are.",
    )
    tokenizer: str = Field(
        "cl100k_base",
        description="Vocabulary: cl100k_base, o200k_base, or the path of a Hugging Face tokenizer.json, which takes "
        "five times as long or more.",
    )
    sequence_tokens: Annotated[int, Field(ge=2, le=1_048_576)] | None = Field(
        None, description="Length of packed sequences that text_features writes beside the samples; none: no sequences."
    )


class ImageSettings(BaseModel):
    """Rules of `clean_images` and `image_features`."""

    model_config = _FROZEN

    side_pixels: Annotated[int, Field(ge=8, le=4_096)] = Field(256, description="Side of the square that is stored.")
    fit: Literal["crop", "pad"] = Field(
        "crop", description="crop: the centre square of the image; pad: the whole image on the background."
    )
    background: Annotated[int, Field(ge=0, le=255)] = Field(
        255, description="Grey value behind transparent pixels and beside padded images."
    )
    max_bytes: Annotated[int, Field(ge=1)] = Field(
        33_554_432, description="Larger files are filtered before they are read."
    )
    max_pixels: Annotated[int, Field(ge=1, le=500_000_000)] = Field(
        50_000_000, description="Images with more pixels are filtered before they are decoded."
    )
    min_side_pixels: Annotated[int, Field(ge=1)] = Field(16, description="Images with a shorter side are filtered.")
    max_aspect_ratio: Annotated[float, Field(ge=1)] = Field(
        4.0, description="Images whose longer side is more times the shorter one are filtered."
    )
    store_normalised: bool = Field(
        False, description="Also store each image as float32, less its channels' mean, over their standard deviation."
    )
    near_duplicate_bits: Annotated[int, Field(ge=0, le=4)] | None = Field(
        4,
        description="Images whose hashes of 64 bits differ in at most so many are near duplicates; null: none are.",
    )


class AudioSettings(BaseModel):
    """Rules of `clean_audio` and `audio_features`."""

    model_config = _FROZEN

    sample_rate_hz: Annotated[int, Field(ge=1_000, le=192_000)] = Field(16_000, description="Stored sample rate.")
    max_bytes: Annotated[int, Field(ge=1)] = Field(
        268_435_456, description="Larger files are filtered before they are read."
    )
    max_seconds: Annotated[float, Field(ge=0.02, le=86_400)] = Field(
        600.0, description="Longer recordings are filtered. Memory grows with it, not with the batch."
    )
    min_seconds: Annotated[float, Field(ge=0.02, le=86_400)] = Field(
        0.05, description="Shorter recordings are filtered."
    )
    min_level_dbfs: Annotated[float, Field(ge=-200, le=0)] = Field(
        -60.0, description="Recordings with a lower level (root mean square) are filtered."
    )
    silence_dbfs: Annotated[float, Field(ge=-200, le=0)] = Field(
        -60.0, description="Frames of 20 ms below this level are silent."
    )
    max_silent_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.95, description="Recordings of which a larger share is silent are filtered."
    )
    max_clipped_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="Recordings of whose samples a larger share is clipped are filtered."
    )
    mel_bins: Annotated[int, Field(ge=8, le=256)] = Field(80, description="Bins of the log-mel spectrogram.")


class CleanSettings(BaseModel):
    """Rules of the clean and feature stages, by modality."""

    model_config = _FROZEN

    text: TextSettings = TextSettings()
    image: ImageSettings = ImageSettings()
    audio: AudioSettings = AudioSettings()


class DatasetSettings(BaseModel):
    """How training datasets are written."""

    model_config = _FROZEN

    target_shard_bytes: Annotated[int, Field(ge=1_000)] = Field(
        134_217_728, description="Size that shards are compacted or split to."
    )
    split_seed: str = Field("ummp", description="Salt of the split rule; a change moves samples between splits.")
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="Share of the contents in the split `validation`."
    )
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="Share of the contents in the split `test`."
    )
    label_policy: Literal["latest", "majority"] = Field(
        "latest", description="Which label of several holds: the newest, or the one most annotators gave last."
    )
    purge_delay_hours: Annotated[float, Field(ge=0, le=8_760)] = Field(
        24.0, description="Shards of versions that a takedown withdrew are purged after this time."
    )
    receipt_key: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None,
        description="Key of at least 32 characters that receipts of takedowns are signed with (HMAC-SHA-256); none: a "
        "hash seals them, which shows damage but no forgery.",
    )
    garbage_age_hours: Annotated[float, Field(ge=1, le=8_760)] = Field(
        24.0, description="Files that no manifest names are collected at this age; it must exceed the longest run."
    )

    @model_validator(mode="after")
    def _leave_room_for_training(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction together leave nothing for the split train")
        return self

    @property
    def full_shard_bytes(self) -> int:
        """Smaller shards are merged when there are enough of them; larger ones stay as they are."""
        return self.target_shard_bytes // 2


class TrainingSettings(BaseModel):
    """What training processes send, and how their parameters are averaged."""

    model_config = _FROZEN

    max_queued_logs: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000, description="Log messages that wait in a training process for its broker; what comes then is dropped."
    )
    flush_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        10.0, description="How long a training process waits at its end for the broker to take its last log messages."
    )
    parameter_codec: Literal["zstd", "none"] = Field("zstd", description="How published parameters are compressed.")
    chunk_bytes: Annotated[int, Field(ge=1_000, le=15_000_000)] = Field(
        900_000, description="Parameters are sent in pieces of this size; Kafka's own default limit is 1,048,588."
    )
    max_parameters_bytes: Annotated[int, Field(ge=1_000)] = Field(
        17_179_869_184, description="Parameters that unpack to more are rejected."
    )
    round_timeout_seconds: Annotated[float, Field(gt=0, le=2_592_000)] = Field(
        600.0, description="A round that misses workers is averaged without them once a message is this much newer."
    )
    predecessor_wait_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        60.0, description="How long a batch of parameters waits for the one before it, which it goes on from."
    )


class Settings(BaseSettings):
    """All settings of one deployment."""

    model_config = SettingsConfigDict(
        env_prefix="UMMP_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        env_parse_none_str="null",
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
    )

    home: Path = Field(
        Path("~/.ummp"),
        description="Folder for what `ummp up` keeps: broker log, Dagster home, default store and index.",
    )
    kafka_bootstrap_servers: str | None = Field(
        None, description="Kafka brokers, host:port[,host:port]. Not set: the embedded broker that `ummp up` starts."
    )
    kafka_client: dict[str, Any] = Field(
        default_factory=dict,
        description='More kafka-python client options as JSON, e.g. {"security_protocol": "SASL_SSL", ...}.',
    )
    kafka_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        8.0, description="Limit for reaching a broker."
    )
    topic_prefix: str = Field(
        "ummp", description="First part of every topic's name.", pattern=r"^[A-Za-z0-9._-]{1,100}$"
    )
    topic_partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        4, description="Partitions of a topic that UMMP creates."
    )
    store: str | None = Field(None, description="Root of the store: a folder or an fsspec URL. Not set: <home>/store.")
    store_fsync: bool = Field(
        True, description="Whether a put into a local store survives a power cut, not only the end of its process."
    )
    replica: str | None = Field(
        None, description="Root of a second copy of the store, kept by the upkeep: a folder or an fsspec URL."
    )
    index: str | None = Field(None, description="SQLAlchemy URL of the index. Not set: SQLite at <home>/index.db.")
    openlineage_url: str | None = Field(
        None, description="HTTP endpoint for OpenLineage events of every stage and batch. Not set: none are sent."
    )
    openlineage_api_key: SecretStr | None = Field(None, description="Bearer token for that endpoint.")
    openlineage_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        1.0, description="Limit for sending one event; after a failure none are sent for a minute."
    )
    intake: IntakeSettings = IntakeSettings()
    fetch: FetchSettings = FetchSettings()
    clean: CleanSettings = CleanSettings()
    datasets: DatasetSettings = DatasetSettings()
    training: TrainingSettings = TrainingSettings()

    @property
    def home_path(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def store_url(self) -> str:
        return self.store or str(self.home_path / "store")

    @property
    def index_url(self) -> str:
        return self.index or f"sqlite:///{self.home_path / 'index.db'}"

    @property
    def broker_address_path(self) -> Path:
        """Where `ummp up` leaves the embedded broker's address for other processes on this machine."""
        return self.home_path / "broker" / "address"

    @property
    def bootstrap_servers(self) -> str:
        """The brokers to talk to; raises `InvalidSettings` when neither the setting nor a running embedded broker
        names any."""
        if self.kafka_bootstrap_servers:
            return self.kafka_bootstrap_servers
        try:
            return self.broker_address_path.read_text(encoding="utf-8").strip()
        except OSError:
            raise InvalidSettings(
                "no Kafka broker is configured: set UMMP_KAFKA_BOOTSTRAP_SERVERS=host:port, or start the embedded "
                f"broker with `ummp up` (none has left its address at {self.broker_address_path})."
            ) from None


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Parameters
    ----------
    overrides:
        Values that win over the environment, by field name.

    Raises
    ------
    InvalidSettings
        A value has the wrong type or is out of bounds; the message names each variable.
    """
    try:
        return Settings(**overrides)
    except SettingsError as error:
        raise InvalidSettings(f"{_name_variable(error)} is no JSON: {error.__cause__}.") from None
    except ValidationError as error:
        problems = "; ".join(
            f"UMMP_{'__'.join(str(part) for part in detail['loc']).upper()}: {detail['msg']}"
            for detail in error.errors()
        )
        raise InvalidSettings(f"{problems}. `ummp doctor` lists every setting.") from error


def _name_variable(error: SettingsError) -> str:
    # pydantic-settings names the outermost field only; the JSON error keeps the value.
    value = getattr(error.__cause__, "doc", None)
    names = [name for name in os.environ if name.startswith("UMMP_") and os.environ[name] == value]
    return ", ".join(names) or str(error)
