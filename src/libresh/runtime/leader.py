"""Leader election by a Lease: at most one operator writes.

    standing by ──(lease free, or not renewed for its duration)──> leading ──(not renewed in time)──> lost
                                                                      └──(asked to stop)──> released

Time is measured by our own monotonic clock from when we saw the record change: clocks of other machines do not matter.
A leader gives up (RENEW_WITHIN) well before a stand-by may take over (DURATION), so its workers are gone by then.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from libresh.errors import Conflict, LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import AlreadyExists
from libresh.plan.actions import Object

log = logging.getLogger(__name__)

DURATION = 15.0
RENEW_WITHIN = 10.0
PERIOD = 2.0


class Spec(msgspec.Struct, rename="camel"):
    """What a Lease says. Times are kept as the text they are."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class LeaseMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class Lease(msgspec.Struct):
    metadata: LeaseMeta = msgspec.field(default_factory=LeaseMeta)
    spec: Spec = msgspec.field(default_factory=Spec)


LEASE = msgspec.json.Decoder(Lease)


def micro_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Leader:
    """One candidate."""

    def __init__(
        self,
        client: Client,
        *,
        identity: str,
        namespace: str,
        name: str = "libresh-operator",
        duration: float = DURATION,
        renew_within: float = RENEW_WITHIN,
        period: float = PERIOD,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not period < renew_within < duration:
            raise LibreshError("lease-times", "A lease needs period < renew_within < duration")
        self.client = client
        self.identity = identity
        self.namespace = namespace
        self.name = name
        self.duration = duration
        self.renew_within = renew_within
        self.period = period
        self.clock = clock
        self.sleep = sleep
        self.leading = False
        self.renewed_at = float("-inf")
        self.tried_at = clock()
        """When the loop last came round: health looks at it."""
        self.holder = ""
        self._version = ""
        self._seen_at = float("-inf")
        self._record: tuple[str, str] | None = None
        self._transitions = 0
        self._acquired = ""

    # --- the candidate's life --------------------------------------------------------------------------------

    async def acquire(self) -> None:
        """Waits until we lead."""
        while not await self.attempt():
            await self.sleep(self.period * random.uniform(0.8, 1.2))
        log.info("leading as %s", self.identity)

    async def keep(self) -> None:
        """Renews until it fails for too long; then returns, and we do not lead any more."""
        while True:
            await self.sleep(self.period)
            left = self.renewed_at + self.renew_within - self.clock()
            if left <= 0:
                break
            try:
                # A request that hangs must not keep us leading beyond our time.
                async with asyncio.timeout(left):
                    renewed = await self.attempt()
            except TimeoutError:
                break
            if not renewed and self.holder not in ("", self.identity):
                break
        self.leading = False
        log.error(
            "lost the lease: %s", f"{self.holder} has it" if self.holder != self.identity else "it was not renewed"
        )

    async def release(self) -> None:
        """Lets somebody else lead at once. Only after all our work has ended."""
        if not self.leading:
            return
        self.leading = False
        spec = Spec(
            holder_identity="",
            lease_duration_seconds=1,
            acquire_time=micro_now(),
            renew_time=micro_now(),
            lease_transitions=self._transitions,
        )
        try:
            await self._give_up(spec)
            log.info("released the lease")
        except LibreshError as error:
            log.warning("the lease could not be released, it will expire: %s", error)

    async def _give_up(self, spec: Spec) -> None:
        try:
            await self.client.replace(self._object(spec))
        except Conflict:
            # A renewal that was cancelled may have arrived all the same.
            body = await self.client.read("Lease", self.name, self.namespace)
            lease = LEASE.decode(body or b"{}")
            if lease.spec.holder_identity != self.identity:
                return
            self._version = lease.metadata.resource_version
            await self.client.replace(self._object(spec))

    # --- one attempt -----------------------------------------------------------------------------------------

    async def attempt(self) -> bool:
        """Tries once to take or renew the lease. Says whether we lead."""
        self.tried_at = self.clock()
        started = self.clock()
        try:
            taken = await self._try()
        except LibreshError as error:
            if not isinstance(error, Conflict):
                log.warning("the lease cannot be had or renewed: %s", error)
            # What we held we still hold for a while.
            return self.leading and self.clock() < self.renewed_at + self.renew_within
        if taken:
            # Counted from before the request was sent: the API server cannot have seen it earlier.
            self.renewed_at = started
            self.holder = self.identity
            self._seen_at = started
        self.leading = taken
        return taken

    async def _try(self) -> bool:
        body = await self.client.read("Lease", self.name, self.namespace)
        if body is None:
            return await self._create()
        lease = LEASE.decode(body)
        holder = lease.spec.holder_identity or ""
        record = (holder, lease.spec.renew_time or "")
        if record != self._record:
            self._record = record
            self._seen_at = self.clock()
        self.holder = holder
        self._version = lease.metadata.resource_version
        self._transitions = lease.spec.lease_transitions or 0
        if holder not in ("", self.identity):
            valid = float(lease.spec.lease_duration_seconds or self.duration)
            if self.clock() < self._seen_at + valid:
                return False
            log.info("the lease of %s has expired", holder)
        return await self._write(changes_hands=holder != self.identity, acquired=lease.spec.acquire_time or "")

    async def _create(self) -> bool:
        now = micro_now()
        spec = Spec(self.identity, int(self.duration), now, now, 0)
        try:
            made = await self.client.create(self._object(spec))
        except AlreadyExists:
            return False
        self._learn(made)
        return True

    async def _write(self, *, changes_hands: bool, acquired: str) -> bool:
        now = micro_now()
        spec = Spec(
            holder_identity=self.identity,
            lease_duration_seconds=int(self.duration) or 1,
            acquire_time=now if changes_hands else acquired or now,
            renew_time=now,
            lease_transitions=self._transitions + changes_hands,
        )
        self._learn(await self.client.replace(self._object(spec)))
        return True

    def _learn(self, made: Object) -> None:
        lease = msgspec.convert(made, Lease)
        self._version = lease.metadata.resource_version
        self._transitions = lease.spec.lease_transitions or 0
        self._record = (lease.spec.holder_identity or "", lease.spec.renew_time or "")

    def _object(self, spec: Spec) -> Object:
        metadata = {"name": self.name, "namespace": self.namespace}
        if self._version:
            metadata["resourceVersion"] = self._version
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": msgspec.to_builtins(spec),
        }
