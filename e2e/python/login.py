"""kafka-python on a listener with authentication: login.py BOOTSTRAP NAME=VALUE..., with the names of kafka-python, and
sasl_token, a token of an issuer.

Sends a record to the topic "logins" and reads one like it. Prints "ok", or "refused" when the broker does not let it in.
"""

import sys

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaTimeoutError
from kafka.net.sasl.oauth import AbstractTokenProvider

bootstrap, *settings = sys.argv[1:]
login = dict(setting.split("=", 1) for setting in settings)
login["bootstrap_servers"] = bootstrap
if token := login.pop("sasl_token", None):
    login["sasl_oauth_token_provider"] = type("Provider", (AbstractTokenProvider,), {"token": lambda self: token})()
topic = "logins"
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
