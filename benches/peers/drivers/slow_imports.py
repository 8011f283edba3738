"""Stands for all that an application imports, which takes a second."""
import time

time.sleep(1)
