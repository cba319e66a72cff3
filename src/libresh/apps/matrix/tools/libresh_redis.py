"""Redis over TLS with a certificate that is looked at: Synapse itself takes any.

In Synapse 1.163 the connection's context (synapse/replication/tcp/context.py) is Twisted's ClientContextFactory, which
verifies nothing. This module is imported with the configuration, before anything is connected.
"""

from synapse.replication.tcp import handler, redis
from twisted.internet import ssl

BEGINNING = "-----BEGIN CERTIFICATE-----"


class VerifiedRedis:
    """A module of Synapse. It has nothing to do but to be there."""

    def __init__(self, config, api):
        pass

    @staticmethod
    def parse_config(config):
        if config["verify"]:
            redis.ClientContextFactory = handler.ClientContextFactory = verified
        return config


def verified(config):
    """What the server must prove: that it is the host, on the word of the authorities that are trusted."""
    return ssl.optionsForClientTLS(config.redis_host, trustRoot=trusted(config.redis_ca_file))


def trusted(path):
    """The authorities in the file; without one those that OpenSSL trusts."""
    if path is None:
        return ssl.platformTrust()
    with open(path, encoding="utf-8") as file:
        parts = file.read().split(BEGINNING)[1:]
    return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(BEGINNING + part) for part in parts])
