"""kafka-python on a listener with authentication: login.py BOOTSTRAP MECHANISM USER PASSWORD.

Sends a record and reads it back. Prints "ok", or "refused" when the broker does not let it in.
"""

import sys
import uuid

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaTimeoutError

bootstrap, mechanism, user, password = sys.argv[1:]
login = dict(
    bootstrap_servers=bootstrap, security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism,
    sasl_plain_username=user, sasl_plain_password=password)
topic = f"login-{uuid.uuid4()}"
try:
    # A refused client tries again until this time is over.
    producer = KafkaProducer(bootstrap_timeout_ms=3000, **login)
except KafkaTimeoutError:
    sys.exit(print("refused"))
producer.send(topic, b"hello").get(timeout=60)
producer.close()
consumer = KafkaConsumer(topic, auto_offset_reset="earliest", **login)
assert next(consumer).value == b"hello"
consumer.close()
print("ok")
