"""A module that changes the process that imports it."""

import os
import socket

os.chdir("/")
os.environ["CHANGED"] = "1"
socket.setdefaulttimeout(0.2)
