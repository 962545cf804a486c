"""Clients whose sessions end while they work: sessions.py LIBRARY APPS MTLS FOLDER SECONDS; LIBRARY is librdkafka or
kafka-python.

Each mechanism at the same time: a transactional producer and a member of a group work for so many seconds. Prints "ok"
and the mechanism where each committed record was read once, and no other. FOLDER has ca.crt, password, user.crt,
user.key, and token, which changes; the topics, of three partitions, are called LIBRARY-MECHANISM.
"""

import base64
import json
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIBRARY, APPS, MTLS, folder, seconds = sys.argv[1:]
FOLDER, SECONDS = Path(folder), float(seconds)
MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER", "TLS"]
PARTITIONS = 3
USER = "orders"
LIMIT_S = 120


def token():
    return (FOLDER / "token").read_text()


def with_expiry(token):
    """A token, and when it expires in seconds since 1970, as librdkafka asks for both."""
    claims = token.split(".")[1]
    return token, json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]


class Librdkafka:
    """librdkafka, through Confluent's package, which brings it with OpenSSL."""

    def __init__(self, mechanism, topic):
        from confluent_kafka import Consumer, Producer

        self.topic = topic
        login = {"bootstrap.servers": MTLS if mechanism == "TLS" else APPS, "ssl.ca.location": str(FOLDER / "ca.crt")}
        if mechanism == "TLS":
            login.update({
                "security.protocol": "SSL", "ssl.certificate.location": str(FOLDER / "user.crt"),
                "ssl.key.location": str(FOLDER / "user.key")})
        else:
            login.update({"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism})
            if mechanism == "OAUTHBEARER":
                # It asks for the next one after four fifths of this one's time.
                login["oauth_cb"] = lambda _: with_expiry(token())
            else:
                login.update({"sasl.username": USER, "sasl.password": (FOLDER / "password").read_text()})
        self.producer = Producer({**login, "transactional.id": topic, "linger.ms": 1})
        self.producer.init_transactions(LIMIT_S)
        self.consumer = Consumer({
            **login, "group.id": topic, "isolation.level": "read_committed", "auto.offset.reset": "earliest",
            "enable.auto.commit": False})
        self.consumer.subscribe([topic])

    def send(self, values, commits):
        self.producer.begin_transaction()
        failures = []
        for partition, value in enumerate(values):
            self.producer.produce(
                self.topic, value.encode(), partition=partition, on_delivery=lambda error, _: failures.append(error))
        self.producer.flush(LIMIT_S)
        assert failures == [None] * len(values), failures
        if commits:
            self.producer.commit_transaction(LIMIT_S)
        else:
            self.producer.abort_transaction(LIMIT_S)

    def take(self):
        messages = self.consumer.consume(100, timeout=0.1)
        assert all(not message.error() for message in messages), [message.error() for message in messages]
        if messages:
            self.consumer.commit(asynchronous=False)
        return [message.value().decode() for message in messages]

    def close(self):
        self.consumer.close()


class KafkaPython:
    """kafka-python."""

    def __init__(self, mechanism, topic):
        from kafka import KafkaConsumer, KafkaProducer
        from kafka.net.sasl.oauth import AbstractTokenProvider

        self.topic = topic
        login = {"bootstrap_servers": MTLS if mechanism == "TLS" else APPS, "ssl_cafile": str(FOLDER / "ca.crt")}
        if mechanism == "TLS":
            login.update({
                "security_protocol": "SSL", "ssl_certfile": str(FOLDER / "user.crt"),
                "ssl_keyfile": str(FOLDER / "user.key")})
        else:
            login.update({"security_protocol": "SASL_SSL", "sasl_mechanism": mechanism})
            if mechanism == "OAUTHBEARER":
                provider = type("Provider", (AbstractTokenProvider,), {"token": lambda self: token()})
                login["sasl_oauth_token_provider"] = provider()
            else:
                login.update({"sasl_plain_username": USER, "sasl_plain_password": (FOLDER / "password").read_text()})
        self.producer = KafkaProducer(**login, transactional_id=topic, linger_ms=1)
        self.producer.init_transactions()
        self.consumer = KafkaConsumer(
            topic, **login, group_id=topic, isolation_level="read_committed", auto_offset_reset="earliest",
            enable_auto_commit=False)

    def send(self, values, commits):
        self.producer.begin_transaction()
        sent = [
            self.producer.send(self.topic, value.encode(), partition=partition)
            for partition, value in enumerate(values)]
        for future in sent:
            future.get(timeout=LIMIT_S)
        if commits:
            self.producer.commit_transaction()
        else:
            self.producer.abort_transaction()

    def take(self):
        found = self.consumer.poll(timeout_ms=100)
        if found:
            self.consumer.commit()
        return [record.value.decode() for records in found.values() for record in records]

    def close(self):
        self.producer.close()
        self.consumer.close()


def outlive(mechanism):
    """Works for longer than any session lasts."""
    client = {"librdkafka": Librdkafka, "kafka-python": KafkaPython}[LIBRARY](mechanism, f"{LIBRARY}-{mechanism.lower()}")
    committed, taken, number = [], [], 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        commits = number % 4 != 3
        values = [f"{number}/{partition}" for partition in range(PARTITIONS)]
        client.send(values, commits)
        committed += values if commits else []
        taken += client.take()
        number += 1
    limit = time.monotonic() + LIMIT_S
    while len(taken) < len(committed) and time.monotonic() < limit:
        taken += client.take()
    assert sorted(taken) == sorted(committed), f"{len(committed)} committed, {len(taken)} read"
    client.close()
    print("ok", mechanism, len(taken), flush=True)


def reported(mechanism):
    try:
        outlive(mechanism)
    except Exception:
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    with ThreadPoolExecutor(len(MECHANISMS)) as threads:
        sys.exit(0 if all(list(threads.map(reported, MECHANISMS))) else 1)
