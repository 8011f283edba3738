"""Settings of `rq worker -c settings`, and of Django."""

import os

REDIS_URL = os.environ["APP_REDIS"]
QUEUES = ["from-settings", "default"]

SECRET_KEY = "of the tests"
INSTALLED_APPS = ["django_rq"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
RQ_QUEUES = {"default": {"URL": REDIS_URL}}
USE_TZ = True
