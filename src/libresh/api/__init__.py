"""The API: what people declare. Data, defaults and validation; the CRDs are generated from these types."""

from libresh.api.appclaims import AppClaim, CollaboraClaim
from libresh.api.apps import AppProfile
from libresh.api.cache import Redis
from libresh.api.claims import Claim
from libresh.api.database import PostgreSQL
from libresh.api.email import SMTPAccount
from libresh.api.identity import OIDCClient
from libresh.api.meta import Resource
from libresh.api.objectstore import Bucket
from libresh.api.services import ServiceClass

CLAIMS: tuple[type[Claim], ...] = (PostgreSQL, Redis, Bucket, SMTPAccount, OIDCClient)
"""Every kind of claim."""

APP_CLAIMS: tuple[type[AppClaim], ...] = (CollaboraClaim,)
"""Every kind of claim of another application that is known without a package that serves it."""

KINDS: tuple[type[Resource], ...] = (*CLAIMS, *APP_CLAIMS, ServiceClass, AppProfile)
"""Every kind but the applications, which their packages bring."""
