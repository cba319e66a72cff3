"""The S3 side of a Bucket, with the credentials of its connection secret."""

import asyncio
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from e2e.kubernetes import Kube

PORT = 7070
CONFIG = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=5, read_timeout=20)


@dataclass(frozen=True)
class Storage:
    """A bucket."""

    client: Any
    bucket: str

    async def sizes(self, prefix: str = "") -> dict[str, int]:
        """Every object below a prefix, and how large it is."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        found = await asyncio.to_thread(list, pages)
        return {each["Key"]: each["Size"] for page in found for each in page.get("Contents", ())}

    async def read(self, key: str) -> bytes:
        answer = await asyncio.to_thread(self.client.get_object, Bucket=self.bucket, Key=key)
        return bytes(answer["Body"].read())


async def open_storage(kube: Kube, namespace: str, claim: str, credentials: dict[str, str] | None = None) -> Storage:
    """The bucket of a claim, reached at its pod; with other credentials where they are given."""
    connection = await kube.secret(f"{claim}-bucket-connection", namespace)
    known = credentials or connection
    pods = await kube.items("Pod", namespace, **{"libre.sh/owner": f"Bucket.{claim}"})
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{pods[0]['status']['podIP']}:{PORT}",
        region_name=connection["region"],
        aws_access_key_id=known["access-key-id"],
        aws_secret_access_key=known["secret-access-key"],
        config=CONFIG,
    )
    return Storage(client, connection["bucket"])
