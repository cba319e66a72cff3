"""What is wrong with a composition, said before any claim meets it: every refusal names its path. Pure."""

import re
from collections.abc import Sequence

from libresh.drivers.composition import connection, gotext, paths, patterns, shape
from libresh.drivers.composition.model import (
    Composition,
    ConnectionDetail,
    MathTransform,
    Patch,
    Pattern,
    ReadinessCheck,
    Resource,
    StringTransform,
    Transform,
)
from libresh.drivers.composition.paths import BadPath, Path
from libresh.drivers.composition.shape import Unfit
from libresh.drivers.connection import missing_keys
from libresh.plan.actions import Object

MOST = 16
"""Resources behind one claim."""
API_VERSION = re.compile(r"(?P<group>[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+)/v[0-9][a-z0-9]*")
KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
PATCHES = ("FromCompositeFieldPath", "ToCompositeFieldPath", "CombineFromComposite", "CombineToComposite", "PatchSet")
METADATA = ("name", "namespace", "labels", "annotations")
RESERVED = ("libre.sh", "kubernetes.io", "k8s.io")
"""Labels and annotations of these domains are not a composition's to set,"""
OPEN = ("app.kubernetes.io/component", "app.kubernetes.io/version")
"""but for these."""
WRAPPER_SPEC = ("providerConfigRef", "forProvider", "connectionDetails", "writeConnectionSecretToRef", "readiness")
POLICIES = ("SuccessfulCreate", "DeriveFromObject", "AllTrue")
SETTINGS = {"Format": "fmt", "Convert": "convert", "TrimPrefix": "trim", "TrimSuffix": "trim"}
MATH = {"Multiply": "multiply", "ClampMin": "clamp_min", "ClampMax": "clamp_max"}
CONDITIONS = ("Ready", "Synced")


def check(composition: Composition, claim_kind: str) -> None:
    """Raises Unfit for the first thing that cannot be used."""
    if not 1 <= len(composition.resources) <= MOST:
        raise Unfit("resources", f"there must be one resource at least and {MOST} at most")
    names = [resource.name for resource in composition.resources]
    if len(names) > 1 and (len(set(names)) < len(names) or "" in names):
        raise Unfit("resources", "where there are several, each needs a name of its own")
    for at, each in enumerate(composition.patch_sets):
        for number, patch in enumerate(each.patches):
            if patch.type == "PatchSet":
                raise Unfit(f"patchSets[{at}].patches[{number}].type", "a patch set cannot have another one in it")
    sets = {each.name for each in composition.patch_sets}
    for at, resource in enumerate(composition.resources):
        with shape.within(f"resources[{at}]"):
            check_resource(composition, resource, sets, claim_kind)
    if missing := missing_keys(claim_kind, connection.static_keys(composition, claim_kind)):
        raise Unfit(
            "resources",
            f"nothing says what the connection's {', '.join(missing)} {'are' if len(missing) > 1 else 'is'}: every "
            f"{claim_kind} needs them; add connectionDetails with these names",
        )


def check_resource(composition: Composition, resource: Resource, sets: set[str], claim_kind: str) -> None:
    if resource.name and not shape.LABEL.fullmatch(resource.name):
        raise Unfit("name", "must be lower-case letters, digits and hyphens: objects may be named after it")
    check_base(resource.base)
    for at, patch in enumerate(resource.patches):
        if patch.type == "PatchSet" and patch.patch_set_name not in sets:
            raise Unfit(f"patches[{at}].patchSetName", f"there is no patch set {patch.patch_set_name}")
        with shape.within(f"patches[{at}]"):
            check_patch(patch, resource.base)
    for patch in composition.patches_of(resource):
        try:
            check_patch(patch, resource.base)
        except Unfit as error:
            raise Unfit("patches", f"in a patch set: {error}") from None
    for at, detail in enumerate(resource.connection_details):
        with shape.within(f"connectionDetails[{at}]"):
            check_detail(detail, resource, claim_kind)
    for at, wish in enumerate(resource.readiness_checks):
        with shape.within(f"readinessChecks[{at}]"):
            check_readiness(wish, resource.base)


# --- base ----------------------------------------------------------------------------------------------------------


def check_base(base: Object) -> None:
    """Whether the base is an object that a composition may make."""
    where = "base"
    manifest = base
    if shape.is_wrapper(base):
        check_wrapper(base)
        where = "base." + paths.show(shape.MANIFEST)
        manifest = shape.manifest_of(base)
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if not isinstance(kind, str) or not KIND.fullmatch(kind):
        raise Unfit(f"{where}.kind", "the kind of the object is missing")
    check_group(f"{where}.apiVersion", api_version, kind)
    metadata = manifest.get("metadata", {})
    if not isinstance(metadata, dict) or not set(metadata) <= set(METADATA):
        raise Unfit(f"{where}.metadata", f"may only have {', '.join(METADATA)}")
    for field in ("labels", "annotations"):
        if not shape.text_map(metadata.get(field, {})):
            raise Unfit(f"{where}.metadata.{field}", "must be texts by name")
        for name in metadata.get(field, {}):
            check_reserved(f"{where}.metadata.{field}", name)
    if "status" in manifest:
        raise Unfit(f"{where}.status", "a status is the other operator's to write")


def check_group(where: str, api_version: object, kind: str) -> None:
    """Kubernetes' own kinds and libre.sh's are not for classes to make: who may edit classes would hold the operator's
    rights in every namespace."""
    found = API_VERSION.fullmatch(api_version) if isinstance(api_version, str) else None
    if found is None:
        raise Unfit(
            where,
            f"{api_version} {kind} is none of another operator's kinds (group/version, such as acid.zalan.do/v1): a "
            "composition hands a claim to another operator, and makes no object of Kubernetes itself",
        )
    group = found["group"]
    if group == "libre.sh" or group.endswith(".libre.sh"):
        raise Unfit(where, f"{api_version} {kind} is one of libre.sh's own kinds: a claim cannot stand behind a claim")
    if group.endswith(".k8s.io") and group != "objectstorage.k8s.io":
        raise Unfit(
            where,
            f"{api_version} {kind} is one of Kubernetes' own kinds: a composition hands a claim to another operator",
        )


def check_wrapper(base: Object) -> None:
    """Whether only such fields of the wrapper are set as mean something here."""
    spec = base.get("spec")
    if not isinstance(spec, dict) or not isinstance(paths.find(base, shape.MANIFEST), dict):
        raise Unfit("base.spec.forProvider.manifest", "the object to make is missing")
    for field in spec:
        if field not in WRAPPER_SPEC:
            raise Unfit(f"base.spec.{field}", f"is not supported; supported are {', '.join(WRAPPER_SPEC)}")
    for field in spec["forProvider"]:
        if field != "manifest":
            raise Unfit(f"base.spec.forProvider.{field}", "is not supported; only manifest is")
    policy = paths.find(base, ("spec", "readiness", "policy"))
    if "readiness" in spec and policy not in POLICIES:
        raise Unfit("base.spec.readiness.policy", f"must be one of {', '.join(POLICIES)}")
    details = spec.get("connectionDetails", [])
    if not isinstance(details, list):
        raise Unfit("base.spec.connectionDetails", "must be a list")
    for at, detail in enumerate(details):
        where = f"base.spec.connectionDetails[{at}]"
        if not isinstance(detail, dict) or (detail.get("apiVersion"), detail.get("kind")) != ("v1", "Secret"):
            raise Unfit(where, "must name a Secret (apiVersion: v1, kind: Secret)")
        if connection.data_key(detail.get("fieldPath")) is None:
            raise Unfit(f"{where}.fieldPath", "must be one key of the Secret, such as data.password")
        if not isinstance(detail.get("toConnectionSecretKey"), str):
            raise Unfit(f"{where}.toConnectionSecretKey", "is missing")


def check_reserved(where: str, name: str) -> None:
    domain = name.rpartition("/")[0]
    if name not in OPEN and any(domain == each or domain.endswith(f".{each}") for each in RESERVED):
        raise Unfit(where, f"{name} is not a composition's to set")


# --- patches -------------------------------------------------------------------------------------------------------


def check_patch(patch: Patch, base: Object) -> None:
    """Whether a patch is understood, and writes nothing that is not its own to write."""
    if "Environment" in patch.type:
        raise Unfit("type", f"{patch.type}: patches of an environment are not supported; put the value into the base")
    if patch.type not in PATCHES:
        raise Unfit("type", f"{patch.type} is not supported; supported are {', '.join(PATCHES)}")
    if patch.type == "PatchSet":
        return
    check_sources(patch)
    target = parse("toFieldPath", patch.target)
    if paths.EVERY in target and patch.type != "FromCompositeFieldPath":
        raise Unfit("toFieldPath", "[*] can only stand in patches of type FromCompositeFieldPath")
    if patch.to_composed:
        check_target(patch, target, base)
    elif target[0] != "status":
        raise Unfit("toFieldPath", "only fields of the composite's status can be written: all else is its author's")
    else:
        check_observed("fromFieldPath", [parse("fromFieldPath", source) for source in patch.sources], base)
    for at, transform in enumerate(patch.transforms):
        with shape.within(f"transforms[{at}]"):
            check_transform(transform)


def check_sources(patch: Patch) -> None:
    """Whether a patch says what it reads."""
    if patch.type.startswith("Combine") != (patch.combine is not None):
        raise Unfit("combine", "must be there for patches that combine, and for them only")
    if patch.combine is not None:
        if not patch.combine.variables:
            raise Unfit("combine.variables", "there must be one at least")
        if wrong := gotext.check(patch.combine.string.fmt, len(patch.combine.variables)):
            raise Unfit("combine.string.fmt", wrong)
        if not patch.to_field_path:
            raise Unfit("toFieldPath", "must be there for patches that combine")
    elif not patch.from_field_path:
        raise Unfit("fromFieldPath", f"must be there for a patch of type {patch.type}")
    for source in patch.sources:
        if paths.EVERY in parse("fromFieldPath", source):
            raise Unfit("fromFieldPath", "[*] can only stand in toFieldPath")


def parse(where: str, text: str) -> Path:
    try:
        return paths.parse(text)
    except BadPath as error:
        raise Unfit(where, str(error)) from None


def check_target(patch: Patch, target: Path, base: Object) -> None:
    """Whether a patch may write there. What an object is and where it is must not follow a claim's parameters."""
    root = shape.manifest_path(base)
    identity = shape.is_identity(patch)
    fixed = ", ".join(sorted(paths.show(path) for path in shape.IDENTITY))
    if root and target[: len(root)] != root:
        if target[0] == "metadata":
            return  # the wrapper's own: there is no wrapper
        if target[:2] == shape.DETAILS and len(target) > 3 and target[3] in ("name", "namespace"):
            if not identity:
                raise Unfit("fromFieldPath", f"which Secret is read can only follow {fixed}")
            return
        raise Unfit("toFieldPath", f"must be below {paths.show(root)}, or a Secret's name in spec.connectionDetails")
    inner = target[len(root) :]
    if not inner or inner[0] in ("apiVersion", "kind", "status", paths.EVERY):
        raise Unfit("toFieldPath", f"{patch.target} cannot be patched: a class says which kind it makes")
    if inner[0] == "metadata":
        if len(inner) < 2 or inner[1] not in METADATA:
            raise Unfit("toFieldPath", f"of metadata only {', '.join(METADATA)} can be patched")
        if inner[1] in ("labels", "annotations"):
            if len(inner) != 3:
                raise Unfit("toFieldPath", f"{inner[1]} are patched one by one")
            check_reserved("toFieldPath", str(inner[2]))
        elif len(inner) != 2 or not identity:
            raise Unfit("fromFieldPath", f"what an object is called and where it is can only follow {fixed}")
    if inner[:2] == shape.SECRET_REF and not identity:
        raise Unfit("fromFieldPath", f"which Secret is read can only follow {fixed}")


def check_observed(where: str, read: Sequence[Path], base: Object) -> None:
    """Whether what is read of a resource can be seen."""
    if not shape.is_wrapper(base):
        return
    for path in read:
        if path[:3] not in (shape.LIVE, shape.MANIFEST):
            raise Unfit(
                where,
                f"{paths.show(path)} cannot be read: of an Object there are {paths.show(shape.LIVE)} and "
                f"{paths.show(shape.MANIFEST)}, both the object as it is",
            )


# --- transforms ----------------------------------------------------------------------------------------------------


def check_transform(transform: Transform) -> None:
    if getattr(transform, transform.type) is None:
        raise Unfit(transform.type, f"must be there for a transform of type {transform.type}")
    if transform.map is not None and not transform.map:
        raise Unfit("map", "there must be one pair at least")
    if transform.match is not None:
        for at, pattern in enumerate(transform.match.patterns):
            check_pattern(f"match.patterns[{at}]", pattern)
        if transform.match.fallback_to == "Input" and transform.match.fallback_value is not None:
            raise Unfit("match.fallbackTo", "cannot be Input where there is a fallbackValue")
    if transform.math is not None:
        check_math(transform.math)
    if transform.string is not None:
        check_string(transform.string)


def check_pattern(where: str, pattern: Pattern) -> None:
    if getattr(pattern, pattern.type) is None:
        raise Unfit(f"{where}.{pattern.type}", f"must be there for a pattern of type {pattern.type}")
    if pattern.regexp is not None:
        check_regexp(f"{where}.regexp", pattern.regexp)


def check_regexp(where: str, pattern: str, group: int = 0) -> None:
    try:
        found = patterns.compiled(pattern)
    except patterns.BadPattern as error:
        raise Unfit(where, str(error)) from None
    if not 0 <= group <= found.groups:
        raise Unfit(where, f"{pattern!r} has no group {group}")


def check_math(wish: MathTransform) -> None:
    if getattr(wish, MATH[wish.type]) is None:
        name = MATH[wish.type].replace("_m", "M")
        raise Unfit(f"math.{name}", f"must be there for math of type {wish.type}")


def check_string(wish: StringTransform) -> None:
    setting = SETTINGS.get(wish.type, wish.type.lower())
    if getattr(wish, setting) is None:
        raise Unfit(f"string.{setting}", f"must be there for a string transform of type {wish.type}")
    if wish.fmt is not None and (wrong := gotext.check(wish.fmt, 1)):
        raise Unfit("string.fmt", wrong)
    if wish.regexp is not None:
        check_regexp("string.regexp.match", wish.regexp.match, wish.regexp.group)
    if wish.replace is not None and not wish.replace.search:
        raise Unfit("string.replace.search", "is empty")


# --- connection and readiness --------------------------------------------------------------------------------------


def check_detail(detail: ConnectionDetail, resource: Resource, claim_kind: str) -> None:
    if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", detail.key):
        raise Unfit("name", "must be there: letters, digits, hyphens, dots and underscores")
    given = {
        "FromConnectionSecretKey": ("fromConnectionSecretKey", detail.from_connection_secret_key),
        "FromFieldPath": ("fromFieldPath", detail.from_field_path),
        "FromValue": ("value", detail.value),
    }
    field, value = given[detail.kind]
    if value is None:
        raise Unfit(field, f"must be there for a detail of type {detail.kind}")
    if detail.key == "type":
        raise Unfit("name", "the type of a connection follows from its kind of claim")
    if detail.kind != "FromConnectionSecretKey" and detail.key in connection.SECRETS:
        raise Unfit(
            field,
            f"{detail.key} is a secret and must come from one (fromConnectionSecretKey): what stands in a class or in "
            "another object's fields, many may read",
        )
    if detail.kind == "FromFieldPath":
        check_observed(field, [parse(field, value)], resource.base)
    if detail.kind == "FromConnectionSecretKey" and not connection.names_source(resource, value, claim_kind):
        way = (
            "add one to base.spec.connectionDetails with toConnectionSecretKey: " + value
            if shape.is_wrapper(resource.base)
            else "name it in base.spec.writeConnectionSecretToRef"
        )
        raise Unfit(field, f"nothing says which Secret has the key {value}: {way}")


def check_readiness(wish: ReadinessCheck, base: Object) -> None:
    if wish.type == "None":
        return
    if wish.type == "MatchCondition":
        if shape.is_wrapper(base) and wish.match_condition.type not in CONDITIONS:
            raise Unfit("matchCondition.type", f"an Object has the conditions {' and '.join(CONDITIONS)}")
        return
    if not wish.field_path:
        raise Unfit("fieldPath", f"must be there for a check of type {wish.type}")
    check_observed("fieldPath", [parse("fieldPath", wish.field_path)], base)
    if wish.type == "MatchString" and wish.match_string is None:
        raise Unfit("matchString", "must be there for a check of type MatchString")
    if wish.type == "MatchInteger" and wish.match_integer is None:
        raise Unfit("matchInteger", "must be there for a check of type MatchInteger")


__all__ = ["Unfit", "check"]
