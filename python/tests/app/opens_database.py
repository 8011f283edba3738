"""A module that opens a database."""

import os
import sqlite3
import tempfile

connection = sqlite3.connect(os.path.join(tempfile.mkdtemp(), "shop.db"))
connection.execute("create table receipts (id integer)")
