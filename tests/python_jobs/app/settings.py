"""Settings of `rq worker -c settings` and of a small Django project."""

import os

REDIS_URL = os.environ["APP_REDIS"]
QUEUES = ["high", "default"]

SECRET_KEY = "of the tests"
INSTALLED_APPS = ["django_rq"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
RQ_QUEUES = {name: {"URL": REDIS_URL} for name in QUEUES}
USE_TZ = True
