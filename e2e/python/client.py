"""kafka-python against a broker: client.py SCENARIO BOOTSTRAP. Exit code 0 and "ok", or an assertion's text.

client.py send BOOTSTRAP TOPIC and client.py read BOOTSTRAP TOPIC COUNT: records as lines of a key, a tab and a value.
"""

import itertools
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata

BOOTSTRAP = sys.argv[2]
LIMIT_S = 180


def new_topic(partitions):
    name = f"kafka-python-{uuid.uuid4()}"
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])
    admin.close()
    return name


def produce(topic, count, partitions, **config):
    """Sends numbered records round robin, and waits for every acknowledgement."""
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=5, **config)
    sent = []
    for i in range(count):
        record = dict(
            key=b"key %d" % (i % 7), value=b"value %d " % i * 20, headers=[("n", b"%d" % i), ("n", b"again")],
            timestamp_ms=1_600_000_000_000 + i, partition=i % partitions)
        sent.append((record, producer.send(topic, **record)))
    offsets = [future.get(timeout=LIMIT_S).offset for _, future in sent]
    producer.close()
    assert sorted(offsets) == sorted(i // partitions for i in range(count)), "offsets have gaps or repeat"
    return [record for record, _ in sent]


def read_all(topic, count, partitions):
    consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
    got = []
    deadline = time.monotonic() + LIMIT_S
    while len(got) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            got.extend(records)
    consumer.close()
    return got


def expect_same(sent, got):
    assert len(got) == len(sent), f"sent {len(sent)}, got {len(got)}"
    got = {record.timestamp: record for record in got}
    for record in sent:
        back = got[record["timestamp_ms"]]
        assert (back.key, back.value) == (record["key"], record["value"]), back
        assert list(back.headers) == record["headers"], back.headers
        assert back.partition == record["partition"]


def codec(name):
    topic = new_topic(3)
    sent = produce(topic, 300, 3, compression_type=None if name == "none" else name)
    expect_same(sent, read_all(topic, 300, 3))


def idempotent():
    topic = new_topic(2)
    sent = produce(topic, 2000, 2, acks="all", enable_idempotence=True)
    expect_same(sent, read_all(topic, 2000, 2))


def member(topic, group):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest", session_timeout_ms=30000,
        heartbeat_interval_ms=300, enable_auto_commit=False)
    # A kafka-python 3.0 that leads and learns of the topic's partitions only then joins again, but where a poll ends before
    # that is answered, no later poll asks for the answer: it holds nothing, sends no heartbeats, and does not notice.
    consumer.partitions_for_topic(topic)
    return consumer


def poll_until(members, done):
    """Polls each member in a thread of its own, as applications do, until `done`; returns what they read.

    One thread that polls them in turn may wait for minutes until they settle, with Kafka as with us: kafka-python 3.0 drops
    the answer to a JoinGroup that comes between two polls, and joins again; where that is the leader, so must everybody.
    """
    got = []
    deadline = time.monotonic() + LIMIT_S

    def poll(m):
        while not done(got) and time.monotonic() < deadline:
            for records in m.poll(timeout_ms=1000).values():
                got.extend(records)

    with ThreadPoolExecutor(len(members)) as threads:
        list(threads.map(poll, members))
    assert done(got), f"{len(got)} records; {[(m.group_metadata(), m.assignment()) for m in members]}"
    return got


def settle(members, shares):
    """Polls until the members hold these numbers of partitions in one generation; returns what they read."""

    def settled(_):
        generations = {(state.generation_id, state.state) for state in (m.group_metadata() for m in members)}
        held = sorted(len(m.assignment()) for m in members)
        return held == shares and len(generations) == 1

    got = poll_until(members, settled)
    held = [p for m in members for p in m.assignment()]
    assert len(held) == len(set(held)), "a partition belongs to two members"
    return got


def group():
    topic = new_topic(6)
    name = f"group-of-{topic}"
    members = [member(topic, name), member(topic, name)]
    settle(members, [3, 3])
    members.append(member(topic, name))
    settle(members, [2, 2, 2])
    produce(topic, 600, 6)
    got = poll_until(members, lambda got: len(got) >= 600)
    assert len({(r.partition, r.offset) for r in got}) == len(got) == 600, len(got)
    for m in members:
        m.commit()
    members.pop().close()
    assert settle(members, [3, 3]) == [], "committed records came again"
    for m in members:
        m.close()


def offsets():
    topic = new_topic(2)
    produce(topic, 20, 2)
    partitions = [TopicPartition(topic, p) for p in range(2)]
    first = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=topic, enable_auto_commit=False)
    first.assign(partitions)
    first.commit({partitions[0]: OffsetAndMetadata(7, "seven", 0)})
    first.close()
    second = KafkaConsumer(
        bootstrap_servers=BOOTSTRAP, group_id=topic, enable_auto_commit=False, auto_offset_reset="latest")
    second.assign(partitions)
    assert second.committed(partitions[0]) == 7
    assert second.committed(partitions[0], metadata=True).metadata == "seven"
    assert second.committed(partitions[1]) is None
    assert second.position(partitions[0]) == 7
    assert second.position(partitions[1]) == 10
    assert second.beginning_offsets(partitions) == {p: 0 for p in partitions}
    assert second.end_offsets(partitions) == {p: 10 for p in partitions}
    found = second.offsets_for_times({partitions[0]: 1_600_000_000_005})
    assert (found[partitions[0]].offset, found[partitions[0]].timestamp) == (3, 1_600_000_000_006), found
    second.close()


def send(topic):
    # It takes all lines at once, and a slow machine minutes to send them.
    producer = KafkaProducer(
        bootstrap_servers=BOOTSTRAP, linger_ms=5, acks="all", enable_idempotence=True, batch_size=100_000,
        max_block_ms=600_000, delivery_timeout_ms=600_000)
    failures = []
    for line in sys.stdin.buffer:
        key, value = line.rstrip(b"\n").split(b"\t", 1)
        producer.send(topic, key=key, value=value).add_errback(failures.append)
    producer.flush()
    producer.close()
    assert not failures, f"{len(failures)} were not acknowledged, the first: {failures[0]}"


def read(topic, count):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest", consumer_timeout_ms=LIMIT_S * 1000)
    for record in itertools.islice(consumer, int(count)):
        sys.stdout.buffer.write(record.key + b"\t" + record.value + b"\n")
    consumer.close()


SCENARIOS = {"group": group, "idempotent": idempotent, "offsets": offsets}
SCENARIOS.update({name: lambda name=name: codec(name) for name in ("none", "gzip", "snappy", "lz4", "zstd")})

if __name__ == "__main__":
    if sys.argv[1] in ("send", "read"):
        {"send": send, "read": read}[sys.argv[1]](*sys.argv[3:])
        sys.exit()
    for scenario in sys.argv[1].split(","):
        SCENARIOS[scenario]()
        print("ok", scenario, flush=True)
