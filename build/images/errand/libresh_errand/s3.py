"""A bucket on an S3 server and a key that opens it alone, made as declared or removed. Everything may be done again.

    bucket     bears our mark, a tag; where the server has no tags, a small object. One without it is somebody else's
               and left alone, unless it is empty: then whoever made or removed it was killed beside the mark
    key        of a user of the bucket's name, whose policy lets it read and write objects and nothing else
    abilities  what the server has is tried and looked at again, never concluded from its name

A server that makes no users hands out the class's own key, where the class says so. Users are AWS' IAM API, version
2010-05-08: https://docs.aws.amazon.com/IAM/latest/APIReference/; Ceph's gateway answers it since Squid
(https://docs.ceph.com/en/latest/radosgw/iam/), SeaweedFS by `weed iam`
(https://github.com/seaweedfs/seaweedfs/wiki/Amazon-IAM-API, of June 2022).
"""

import json
import os
import ssl
import time
from contextlib import suppress

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from libresh_errand.errand import CONNECT_TIMEOUT, PATIENCE, Refused, Trouble, first_line
from libresh_errand.giving import give

SESSION = botocore.session.get_session()
MARK_TAG, MARK_OBJECT = "libre.sh/for", ".libre.sh-bucket"
POLICY = "libresh"
PARTS = ("access-key-id", "secret-access-key")
PUBLIC = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
SPREADING = 30
"""Seconds that a new key may take until it is known everywhere."""
BATCH = 1000
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE"]
HAS_NOT = {"NotImplemented", "MethodNotAllowed", "NotSupported", "UnsupportedOperation", "UnknownOperation"}
NO_BUCKET = {"NoSuchBucket", "404", "NotFound"}
DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "Forbidden"}
NOT_LET_IN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "AuthorizationHeaderMalformed"}


def provide(errand):
    s3, iam = client(errand, "s3"), client(errand, "iam")
    own = errand["keys"] == "own"
    if own:
        check_users(errand, iam)
    make_bucket(errand, s3)
    abilities = find_abilities(errand, s3) | ({"scoped-key"} if own else set())
    keep_versions(errand, s3, abilities)
    set_lifecycle(errand, s3, abilities)
    set_origins(errand, s3, abilities)
    keys = make_keys(errand, iam) if own else shared_keys(errand)
    give(errand, {f"can.{name}": "true" for name in abilities} | named(keys))
    check_key(errand, keys[errand["editions"][-1]], SPREADING)


def remove(errand):
    s3, iam = client(errand, "s3"), client(errand, "iam")
    there = exists(errand, s3)
    if there:
        check_ours(errand, s3)
    if errand["keys"] == "own":
        remove_user(errand, iam)
    if there:
        empty(errand, s3)
        ask(errand, s3.delete_bucket, Bucket=errand["bucket"], fine=NO_BUCKET)


# --- asking ------------------------------------------------------------------------------------------------------


def client(errand, service, key=None):
    """A client with the administrator's key, or another."""
    own = (errand["iam"] or {}) if service == "iam" else {}
    key_id, secret = key or tuple(errand.secret(f"admin-{part}") for part in PARTS)
    return SESSION.create_client(
        service,
        endpoint_url=own.get("endpoint", errand["endpoint"]),
        region_name=own.get("region", errand["region"]),
        aws_access_key_id=key_id.strip(),
        aws_secret_access_key=secret.strip(),
        verify=errand.authority or PUBLIC,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=PATIENCE,
            retries={"mode": "standard", "total_max_attempts": 3},
            s3={"addressing_style": "path" if errand["pathStyle"] else "virtual"},
            # Many servers know no other sums than those that are needed.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent="libresh",
        ),
    )


def ask(errand, operation, fine=(), **arguments):
    """Asks the server. None for answers that are `fine`; what else it says against it is told without the request."""
    try:
        return operation(**arguments)
    except ClientError as error:
        code = code_of(error)
        if code in fine:
            return None
        if code in NOT_LET_IN:
            raise Trouble(f"{errand.server} does not let the administrator in: {code}") from None
        if code in DENIED:
            raise Refused(
                f"{errand.server}: the administrator's key may not do {error.operation_name}; give it that right"
            ) from None
        raise Trouble(f"{errand.server}: {error.operation_name}: {said_by(error)}") from None
    except (ConnectionError, HTTPClientError) as error:
        raise Trouble(f"{errand.server} cannot be reached: {reason_of(error)}") from None
    except BotoCoreError as error:
        raise Trouble(f"{errand.server}: {first_line(error)}") from None


def code_of(error):
    return str(error.response.get("Error", {}).get("Code") or status_of(error))


def status_of(error):
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def said_by(error):
    """What the server says, without what changes from one time to the next."""
    return f"{code_of(error)}: {error.response.get('Error', {}).get('Message') or 'no reason given'}"


def reason_of(error):
    """Why a connection failed, from what is deepest in the error: the outer ones hold addresses in memory."""
    while True:
        told = getattr(error, "kwargs", {}).get("error") or getattr(error, "__cause__", None)
        inner = told or next((each for each in (getattr(error, "reason", None), *error.args) if is_error(each)), None)
        if inner is None:
            break
        error = inner
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', None) or error.reason}"
    return getattr(error, "strerror", None) or type(error).__name__


def is_error(found):
    return isinstance(found, BaseException)


def has(errand, operation, none, **arguments):
    """Whether the server has an ability: it answers, or says that nothing is set yet (`none`)."""
    try:
        operation(**arguments)
    except ClientError as error:
        if code_of(error) == none:
            return True
        if code_of(error) in HAS_NOT or status_of(error) in (404, 405, 501) or code_of(error) in DENIED:
            return False
        raise Trouble(f"{errand.server}: {error.operation_name}: {said_by(error)}") from None
    except (ConnectionError, HTTPClientError) as error:
        raise Trouble(f"{errand.server} cannot be reached: {reason_of(error)}") from None
    except BotoCoreError:
        return False  # an answer that is none
    return True


# --- the bucket --------------------------------------------------------------------------------------------------


def exists(errand, s3):
    return ask(errand, s3.head_bucket, Bucket=errand["bucket"], fine=NO_BUCKET) is not None


def make_bucket(errand, s3):
    """The bucket with its mark."""
    if exists(errand, s3):
        check_ours(errand, s3)
        return mark(errand, s3)
    where = {} if errand["region"] == "us-east-1" else {"LocationConstraint": errand["region"]}
    placed = {"CreateBucketConfiguration": where} if where else {}
    elsewhere = {"InvalidLocationConstraint", "IllegalLocationConstraintException"}
    theirs = {"BucketAlreadyExists"}
    try:
        s3.create_bucket(Bucket=errand["bucket"], **placed)
    except ClientError as error:
        if code_of(error) in theirs:
            raise Refused(somebody_elses(errand)) from None
        if code_of(error) not in (elsewhere | {"BucketAlreadyOwnedByYou"}):
            ask(errand, s3.create_bucket, Bucket=errand["bucket"], **placed)
        elif code_of(error) in elsewhere:
            ask(errand, s3.create_bucket, Bucket=errand["bucket"])
    except BotoCoreError:
        ask(errand, s3.create_bucket, Bucket=errand["bucket"], **placed)
    return mark(errand, s3)


def mark(errand, s3):
    """Says whose it is: by a tag if the server keeps it, else by an object."""
    tags = {"TagSet": [{"Key": MARK_TAG, "Value": whose(errand)}]}
    if mark_of(errand, s3) == whose(errand):
        return
    with suppress(ClientError, BotoCoreError):  # what is there afterwards tells
        s3.put_bucket_tagging(Bucket=errand["bucket"], Tagging=tags)
    if mark_of(errand, s3) != whose(errand):
        ask(errand, s3.put_object, Bucket=errand["bucket"], Key=MARK_OBJECT, Body=whose(errand).encode())
    if mark_of(errand, s3) != whose(errand):
        raise Refused(f"{errand.server} keeps neither the tags nor the objects of bucket {errand['bucket']}")


def mark_of(errand, s3):
    """What the mark says; None where there is none."""
    try:
        for tag in s3.get_bucket_tagging(Bucket=errand["bucket"]).get("TagSet", ()):
            if tag["Key"] == MARK_TAG:
                return tag["Value"]
    except ClientError as error:
        if code_of(error) in DENIED:
            raise Refused(somebody_elses(errand)) from None
    except BotoCoreError:
        pass
    nothing = {"NoSuchKey", "404", "NotFound"}
    found = ask(errand, s3.get_object, Bucket=errand["bucket"], Key=MARK_OBJECT, fine=nothing)
    return found["Body"].read(1000).decode(errors="replace") if found else None


def is_empty(errand, s3):
    found = ask(errand, s3.list_object_versions, Bucket=errand["bucket"], MaxKeys=1, fine=HAS_NOT)
    if found is None:
        found = ask(errand, s3.list_objects_v2, Bucket=errand["bucket"], MaxKeys=1)
    return not any(found.get(name) for name in ("Contents", "Versions", "DeleteMarkers"))


def check_ours(errand, s3):
    """Nobody else's bucket is touched. One without a mark and with nothing in it was being made, or removed."""
    found = mark_of(errand, s3)
    if found != whose(errand) and (found is not None or not is_empty(errand, s3)):
        raise Refused(somebody_elses(errand, found))


def whose(errand):
    """What our mark says."""
    return f"{errand['for']} of cluster {errand['cluster']}"


def somebody_elses(errand, mark=None):
    says = f" (it says: {mark})" if mark else ""
    return (
        f"{errand.server} has a bucket {errand['bucket']} that libre.sh did not make for {errand['for']} of this "
        f"cluster{says}: it is left alone; set namePrefix in a class of its own for each cluster. If it is yours all "
        f"the same: give it the tag {MARK_TAG}={whose(errand)}, or an object {MARK_OBJECT} of that text"
    )


def find_abilities(errand, s3):
    """What the server answers when it is asked what is set."""
    bucket = errand["bucket"]
    asked = {
        "versioning": (s3.get_bucket_versioning, ""),
        "lifecycle": (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        "cors": (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        "tags": (s3.get_bucket_tagging, "NoSuchTagSet"),
        "policy": (s3.get_bucket_policy, "NoSuchBucketPolicy"),
    }
    return {name for name, (operation, none) in asked.items() if has(errand, operation, none, Bucket=bucket)}


def keep_versions(errand, s3, abilities):
    """Versions as asked, and looked at again: some servers take the wish and do nothing."""
    bucket, wanted = errand["bucket"], errand["versioning"]
    now = version_state(errand, s3) if "versioning" in abilities else ""
    if wanted == (now == "Enabled"):
        return
    state = {"Status": "Enabled" if wanted else "Suspended"}
    if "versioning" in abilities:
        ask(errand, s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=state, fine=HAS_NOT)
    if "versioning" not in abilities or version_state(errand, s3) != state["Status"]:
        raise Refused(
            f"spec.parameters.versioning: {errand.server} keeps no versions; do without, or name another class"
            if wanted
            else f"spec.parameters.versioning: {errand.server} cannot stop keeping versions; set it to true"
        )


def version_state(errand, s3):
    found = ask(errand, s3.get_bucket_versioning, Bucket=errand["bucket"], fine=HAS_NOT)
    return (found or {}).get("Status", "")


def set_lifecycle(errand, s3, abilities):
    wanted = errand["lifecycle"]
    if wanted is None:
        return
    rules = []
    if days := wanted.get("abortUploadsAfter"):
        rules.append(("libresh-uploads", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}))
    if days := wanted.get("expireNoncurrentAfter"):
        rules.append(("libresh-versions", {"NoncurrentVersionExpiration": {"NoncurrentDays": days}}))
    built = [{"ID": name, "Status": "Enabled", "Filter": {"Prefix": ""}, **rule} for name, rule in rules]
    bucket, fine = errand["bucket"], HAS_NOT | {"NoSuchLifecycleConfiguration", "InvalidRequest", "MalformedXML"}
    found = None
    if "lifecycle" in abilities:
        config = {"Rules": built}
        ask(errand, s3.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration=config, fine=fine)
        found = ask(errand, s3.get_bucket_lifecycle_configuration, Bucket=bucket, fine=fine)
    kept = {rule.get("ID") for rule in (found or {}).get("Rules", ())}
    if not kept >= {name for name, _ in rules}:
        raise Refused(
            f"ServiceClass {errand['class']}: spec.parameters.lifecycle: {errand.server} keeps no such rules; leave it "
            f"out in another class, or name another server there"
        )


def set_origins(errand, s3, abilities):
    if not errand["origins"]:
        return
    rule = {
        "AllowedOrigins": errand["origins"],
        "AllowedMethods": METHODS,
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3600,
    }
    bucket, fine = errand["bucket"], HAS_NOT | {"NoSuchCORSConfiguration"}
    found = None
    if "cors" in abilities:
        ask(errand, s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}, fine=fine)
        found = ask(errand, s3.get_bucket_cors, Bucket=bucket, fine=fine)
    kept = {origin for each in (found or {}).get("CORSRules", ()) for origin in each.get("AllowedOrigins", ())}
    if not kept >= set(errand["origins"]):
        raise Refused(
            f"ServiceClass {errand['class']}: spec.parameters.corsOrigins: {errand.server} keeps no such rules; leave "
            f"them out in another class, or name another server there"
        )


# --- keys --------------------------------------------------------------------------------------------------------


class NoUsers(Refused):
    """The server makes no users; `denied`: at least not for this key."""

    denied = False


def check_users(errand, iam):
    """Whether there is a user of the bucket's name, where the server makes users."""
    try:
        iam.get_user(UserName=errand["bucket"])
    except ClientError as error:
        code = code_of(error)
        if code in ("NoSuchEntity", "NoSuchEntityException"):
            return False
        if code in NOT_LET_IN:
            raise Trouble(f"{errand.server} does not let the administrator in: {code}") from None
        if status_of(error) >= 500 and status_of(error) != 501 and code not in HAS_NOT:
            raise Trouble(f"{errand.server}: {error.operation_name}: {said_by(error)}") from None
        refusal = NoUsers(no_users(errand, code))
        refusal.denied = code in DENIED
        raise refusal from None
    except (ConnectionError, HTTPClientError) as error:
        where = (errand["iam"] or errand)["endpoint"]
        raise Trouble(f"{where} cannot be reached: {reason_of(error)}") from None
    except BotoCoreError as error:
        raise NoUsers(no_users(errand, type(error).__name__)) from None
    return True


def no_users(errand, said):
    return (
        f"ServiceClass {errand['class']}: spec.parameters.keys: {errand.server} makes no users for this key (GetUser: "
        f"{said}), so no key can be made that opens one bucket alone; say in spec.parameters.iam of a new class where "
        f"users are made, let adminSecretRef name a key that may make them, or have the class's own key handed out to "
        f"every claim with keys: shared"
    )


def policy_of(bucket):
    """Objects may be read, written and removed; whose bucket it is, who else may come and what is kept may not."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "s3:ListBucket",
                    "s3:ListBucketVersions",
                    "s3:ListBucketMultipartUploads",
                    "s3:GetBucketLocation",
                    "s3:GetBucketVersioning",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}"],
            },
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:GetObjectVersion",
                    "s3:GetObjectTagging",
                    "s3:GetObjectAttributes",
                    "s3:PutObject",
                    "s3:PutObjectTagging",
                    "s3:DeleteObject",
                    "s3:DeleteObjectVersion",
                    "s3:DeleteObjectTagging",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}/*"],
            },
        ],
    }


def make_keys(errand, iam):
    """For each edition the key that is known and works, else a new one. All other keys of the user go."""
    user = errand["bucket"]
    ask(errand, iam.create_user, UserName=user, fine={"EntityAlreadyExists"})
    document = json.dumps(policy_of(errand["bucket"]))
    ask(errand, iam.put_user_policy, UserName=user, PolicyName=POLICY, PolicyDocument=document)
    there = key_ids(errand, iam)
    keys = {edition: known_key(errand, edition) for edition in errand["editions"]}
    keys = {edition: key for edition, key in keys.items() if key and key[0] in there and works(errand, key, SPREADING)}
    for key_id in there - {key_id for key_id, _ in keys.values()}:
        ask(errand, iam.delete_access_key, UserName=user, AccessKeyId=key_id, fine={"NoSuchEntity"})
    for edition in errand["editions"]:
        if edition not in keys:
            made = ask(errand, iam.create_access_key, UserName=user)["AccessKey"]
            keys[edition] = (made["AccessKeyId"], made["SecretAccessKey"])
            errand.hide(made["SecretAccessKey"])
    return keys


def known_key(errand, edition):
    """The key of an edition as it was given back before."""
    parts = tuple(errand.known(f"{edition}.{part}") for part in PARTS)
    return parts if all(parts) else None


def key_ids(errand, iam):
    found = ask(errand, iam.list_access_keys, UserName=errand["bucket"], fine={"NoSuchEntity"}) or {}
    return {key["AccessKeyId"] for key in found.get("AccessKeyMetadata", ())}


def shared_keys(errand):
    """The class's own key: there is no other edition of it."""
    if len(errand["editions"]) > 1:
        raise Refused(
            f"services.libre.sh/rotate: ServiceClass {errand['class']} hands out its own key, which only its owner can "
            f"change, in the Secret that spec.parameters.adminSecretRef names; take the annotation away"
        )
    return {edition: tuple(errand.secret(f"admin-{part}").strip() for part in PARTS) for edition in errand["editions"]}


def named(keys):
    return {f"{edition}.{part}": key[i] for edition, key in keys.items() for i, part in enumerate(PARTS)}


def works(errand, key, seconds):
    """Whether a key opens the bucket; a new one may take a while to be known everywhere."""
    s3, deadline = client(errand, "s3", key), time.monotonic() + seconds
    while True:
        try:
            s3.list_objects_v2(Bucket=errand["bucket"], MaxKeys=1)
            return True
        except ClientError as error:
            if status_of(error) >= 500:
                raise Trouble(f"{errand.server}: {error.operation_name}: {said_by(error)}") from None
        except BotoCoreError as error:
            raise Trouble(f"{errand.server} cannot be reached: {reason_of(error)}") from None
        if time.monotonic() > deadline:
            return False
        time.sleep(1)


def check_key(errand, key, seconds):
    if not works(errand, key, seconds):
        raise Trouble(f"{errand.server} does not let the new key into bucket {errand['bucket']} yet")


def remove_user(errand, iam):
    """Whoever has a key is shut out before anything is removed."""
    user, gone = errand["bucket"], {"NoSuchEntity"}
    try:
        if not check_users(errand, iam):
            return
    except NoUsers as error:
        if error.denied:
            raise
        return  # the claim was refused for it: there never was one
    for key_id in key_ids(errand, iam):
        ask(errand, iam.delete_access_key, UserName=user, AccessKeyId=key_id, fine=gone)
    ask(errand, iam.delete_user_policy, UserName=user, PolicyName=POLICY, fine=gone)
    ask(errand, iam.delete_user, UserName=user, fine=gone)


# --- emptying ----------------------------------------------------------------------------------------------------


def empty(errand, s3):
    """Uploads that were begun, then every version of every object; our own mark last of all."""
    bucket = errand["bucket"]
    while uploads := (ask(errand, s3.list_multipart_uploads, Bucket=bucket, fine=HAS_NOT) or {}).get("Uploads"):
        for upload in uploads:
            which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            ask(errand, s3.abort_multipart_upload, Bucket=bucket, fine={"NoSuchUpload"}, **which)
    before = None
    while found := [each for each in some_objects(errand, s3) if each["Key"] != MARK_OBJECT]:
        if found == before:
            raise Trouble(f"{errand.server} said that it removed what is in bucket {bucket}, and did not")
        delete(errand, s3, found)
        before = found
    delete(errand, s3, some_objects(errand, s3))


def some_objects(errand, s3):
    """Some of what there is, as long as there is anything."""
    found = ask(errand, s3.list_object_versions, Bucket=errand["bucket"], MaxKeys=BATCH, fine=HAS_NOT)
    if found is None:
        found = ask(errand, s3.list_objects_v2, Bucket=errand["bucket"], MaxKeys=BATCH)
        return [{"Key": each["Key"]} for each in found.get("Contents", ())]
    both = (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))
    return [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in both]


def delete(errand, s3, found):
    """Many at once, or one by one where the server cannot."""
    if not found:
        return
    bucket, fine = errand["bucket"], HAS_NOT | {"MissingContentMD5", "InvalidRequest", "MalformedXML"}
    answer = ask(errand, s3.delete_objects, Bucket=bucket, Delete={"Objects": found, "Quiet": True}, fine=fine)
    if answer is None:
        for each in found:
            ask(errand, s3.delete_object, Bucket=bucket, **each)
        return
    for error in answer.get("Errors", ()):
        raise Refused(
            f"{errand.server} does not remove what is in bucket {bucket}: {error.get('Code')}; take away what protects "
            f"it, or keep the bucket"
        )
