"""kafka-python as a member of a group: read.py BOOTSTRAP TOPIC GROUP NAME=VALUE..., with the names of kafka-python.

Prints the first record of the topic, or the name of the error, or "nothing": where it may not see the topic, kafka-python
waits for it.
"""

import sys

from kafka import KafkaConsumer
from kafka.errors import KafkaError

bootstrap, topic, group, *settings = sys.argv[1:]
login = dict(setting.split("=", 1) for setting in settings)
try:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        consumer_timeout_ms=8000, **login)
    record = next(consumer, None)
    print(record.value.decode() if record else "nothing")
    consumer.close()
except KafkaError as error:
    print(type(error).__name__)
