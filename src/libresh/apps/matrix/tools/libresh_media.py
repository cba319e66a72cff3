"""Synapse's S3 storage provider, which also takes files off the local folder once they lie in the bucket.

Synapse writes each file to the folder, then to the bucket, before it acknowledges it (store_synchronous), and fetches
what it misses from the bucket into the folder. So whatever has not been touched for a while, and is in the bucket with
the same size, may go.
"""

import logging
import os
import threading
import time

from botocore.config import Config
from s3_storage_provider import S3StorageProviderBackend
from twisted.internet import reactor

logger = logging.getLogger("libresh.media")

IDLE_SECONDS = 60
SWEEP_SECONDS = 20
PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})
"""A server that vanished without a word, or moved to another address, is asked anew while the person still waits."""
LOCAL_ONLY = ("url_cache", "url_cache_thumbnails")
"""Folders that Synapse does not store in the bucket, and clears by itself."""


class OffloadingBackend(S3StorageProviderBackend):
    """Stores in S3, and keeps the local folder small."""

    def __init__(self, hs, config):
        super().__init__(hs, config)
        if "ca_file" in config:
            self.api_kwargs["verify"] = config["ca_file"]
        self.api_kwargs["config"] = self.api_kwargs["config"].merge(PATIENCE)
        self._stop = threading.Event()
        sweeper = threading.Thread(target=self._sweep_for_ever, name="libresh-media", daemon=True)
        reactor.callWhenRunning(sweeper.start)
        reactor.addSystemEventTrigger("during", "shutdown", self._stop.set)

    @staticmethod
    def parse_config(config):
        """As the provider has it, and the file with the authorities of the server's certificate."""
        known = {key: config[key] for key in ("ca_file",) if key in config}
        return S3StorageProviderBackend.parse_config(config) | known

    def _sweep_for_ever(self):
        while not self._stop.wait(SWEEP_SECONDS):
            try:
                self.sweep(time.time())
            except Exception:
                logger.exception("The media folder could not be swept; it is tried again")

    def sweep(self, now):
        """Removes idle files that are in the bucket. Returns how many."""
        removed = 0
        for path, status in self.idle_files(now):
            if self._stop.is_set():
                break
            if self.is_in_bucket(path, status.st_size):
                os.unlink(os.path.join(self.cache_directory, path))
                removed += 1
        return removed

    def idle_files(self, now):
        """Files below the folder that were not touched for a while, with their status."""
        for folder, folders, names in os.walk(self.cache_directory):
            if folder == self.cache_directory:
                folders[:] = [each for each in folders if each not in LOCAL_ONLY]
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue
                if max(status.st_mtime, status.st_atime) < now - IDLE_SECONDS:
                    yield os.path.relpath(path, self.cache_directory), status

    def is_in_bucket(self, path, size):
        """Whether the bucket holds this file, whole."""
        from botocore.exceptions import ClientError

        try:
            found = self._get_s3_client().head_object(Bucket=self.bucket, Key=self.prefix + path)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
        return found["ContentLength"] == size
