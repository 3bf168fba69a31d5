"""A broker that speaks Kafka's protocol, for one machine: no Java, no Docker, no account."""

from ummp_assets.messages.embedded.process import BrokerProcess, start_broker

__all__ = ["BrokerProcess", "start_broker"]
