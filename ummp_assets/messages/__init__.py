"""Kafka in and out: topics, offset ranges, the offset log, codecs, dead letters, and the embedded broker."""
