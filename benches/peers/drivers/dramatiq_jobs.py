"""The job as an actor of dramatiq, whose result is kept in Redis."""
import os

import dramatiq
import peers
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=os.environ["REDIS_URL"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_RESULTS"])))
dramatiq.set_broker(broker)
noop = dramatiq.actor(peers.noop, store_results=True)
send = noop.send
