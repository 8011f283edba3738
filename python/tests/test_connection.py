"""HELLO's words for a worker's connection."""

import unittest

import redis
import stand_in  # noqa: F401 - puts the shim on the path

from tikkun_shim import capture


class Connection(unittest.TestCase):
    def described(self, url, **options):
        return capture._connection(redis.Redis.from_url(url, **options))

    def test_plain(self):
        described = self.described("redis://example.org:6380/3")
        self.assertEqual((described["kind"], described["tls"]), ("tcp", False))
        self.assertEqual((described["host"], described["port"], described["db"]), ("example.org", 6380, 3))
        self.assertIsNone(described["password"])

    def test_tls_with_user(self):
        described = self.described(
            "rediss://user:se%20cret@example.org/1", ssl_cert_reqs="none", ssl_ca_certs="/ca.pem"
        )
        self.assertTrue(described["tls"])
        self.assertEqual((described["username"], described["password"]), ("user", "se cret"))
        self.assertEqual((described["ssl_cert_reqs"], described["ssl_ca_certs"]), ("none", "/ca.pem"))

    def test_tls_without_a_requirement(self):
        self.assertEqual(self.described("rediss://example.org", ssl_cert_reqs=None)["ssl_cert_reqs"], "none")
        self.assertEqual(self.described("rediss://example.org")["ssl_cert_reqs"], "required")
        self.assertIsNone(self.described("redis://example.org")["ssl_cert_reqs"])

    def test_unix(self):
        described = self.described("unix://:pw@/run/redis.sock?db=2")
        self.assertEqual((described["kind"], described["path"]), ("unix", "/run/redis.sock"))
        self.assertEqual((described["host"], described["port"], described["db"]), (None, None, 2))
        self.assertEqual(described["password"], "pw")

    def test_credential_provider(self):
        provider = redis.UsernamePasswordCredentialProvider("user", "pw")
        described = capture._connection(redis.Redis(credential_provider=provider))
        self.assertEqual((described["username"], described["password"]), ("user", "pw"))

    def test_client_made_with_defaults(self):
        described = capture._connection(redis.Redis())
        self.assertEqual((described["host"], described["port"], described["db"]), ("localhost", 6379, 0))
