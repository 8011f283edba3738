import sys

import redis

connection = redis.Redis.from_url(sys.argv[1])
connection.ping()
