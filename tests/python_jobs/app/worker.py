"""A team's own worker script: worker.py REDIS CLASS WAY [QUEUE ...], where WAY is `burst` or `stay`."""

import sys

import rq
from redis import Redis


class Announcing(rq.Worker):
    """A worker as teams write them, which calls RQ's own after a word of its own."""

    def work(self, *args, **kwargs):
        print("announced", flush=True)
        return super().work(*args, **kwargs)


if __name__ == "__main__":
    socket, name, way, *queues = sys.argv[1:]
    kind = {"Worker": rq.Worker, "SimpleWorker": rq.SimpleWorker, "Announcing": Announcing}[name]
    worker = kind(queues or ["default"], connection=Redis(unix_socket_path=socket))
    worker.work(burst=way == "burst")
