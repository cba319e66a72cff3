"""The part of a Crossplane Composition that is understood: what it says, not what it means.

Names and defaults are those of Crossplane's documentation (docs.crossplane.io v1.20: concepts/compositions,
guides/function-patch-and-transform; the types of function-patch-and-transform, input/v1beta1). A field that is not here
is refused where a composition is read.
"""

from typing import Any, Literal

import msgspec


class Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A part of a composition."""


# --- transforms --------------------------------------------------------------------------------------------------


class MathTransform(Part):
    """A whole number put to a number."""

    type: Literal["Multiply", "ClampMin", "ClampMax"] = "Multiply"
    multiply: int | None = None
    clamp_min: int | None = None
    clamp_max: int | None = None


class Pattern(Part):
    """One of the patterns of a match, and what becomes of what matches."""

    type: Literal["literal", "regexp"] = "literal"
    literal: str | None = None
    regexp: str | None = None
    result: Any = None


class MatchTransform(Part):
    """The result of the first pattern that matches."""

    patterns: list[Pattern] = []
    fallback_value: Any = None
    fallback_to: Literal["Value", "Input"] = "Value"


class RegexpTransform(Part):
    """What matches, or one group of it."""

    match: str
    group: int = 0


class JoinTransform(Part):
    """A list as one text."""

    separator: str


class ReplaceTransform(Part):
    """A text with all of something replaced."""

    search: str
    replace: str


Conversion = Literal[
    "ToUpper",
    "ToLower",
    "ToBase64",
    "FromBase64",
    "ToJson",
    "ToSha1",
    "ToSha256",
    "ToSha512",
    "ToAdler32",
]


class StringTransform(Part):
    """Anything as a text, or a text as another."""

    type: Literal["Format", "Convert", "TrimPrefix", "TrimSuffix", "Regexp", "Join", "Replace"] = "Format"
    fmt: str | None = None
    convert: Conversion | None = None
    trim: str | None = None
    regexp: RegexpTransform | None = None
    join: JoinTransform | None = None
    replace: ReplaceTransform | None = None


class ConvertTransform(Part):
    """A value as another type."""

    to_type: Literal["string", "int", "int64", "bool", "float64", "object", "array"]
    format: Literal["none", "quantity", "json"] = "none"


class Transform(Part):
    """What becomes of a value on its way."""

    type: Literal["map", "match", "math", "string", "convert"]
    map: dict[str, Any] | None = None
    match: MatchTransform | None = None
    math: MathTransform | None = None
    string: StringTransform | None = None
    convert: ConvertTransform | None = None


# --- patches -----------------------------------------------------------------------------------------------------


class MergeOptions(Part):
    """The older spelling of how a value joins what is there."""

    keep_map_values: bool = False
    append_slice: bool = False


class Policy(Part):
    """What is done where the source is absent, and how the value joins what is there."""

    from_field_path: Literal["Optional", "Required"] = "Optional"
    to_field_path: Literal[
        "Replace",
        "MergeObjects",
        "MergeObjectsAppendArrays",
        "ForceMergeObjects",
        "ForceMergeObjectsAppendArrays",
        "MergeObject",
        "AppendArray",
    ] = "Replace"
    merge_options: MergeOptions | None = None


class Variable(Part):
    """One of the values of a combination."""

    from_field_path: str


class Format(Part):
    """Go's format of a combination."""

    fmt: str


class Combine(Part):
    """Several values as one text."""

    variables: list[Variable]
    strategy: Literal["string"]
    string: Format


class Patch(Part):
    """One value carried from one object to another."""

    type: str = "FromCompositeFieldPath"
    from_field_path: str | None = None
    to_field_path: str | None = None
    combine: Combine | None = None
    patch_set_name: str | None = None
    transforms: list[Transform] = []
    policy: Policy = msgspec.field(default_factory=Policy)

    @property
    def to_composed(self) -> bool:
        return self.type in ("FromCompositeFieldPath", "CombineFromComposite")

    @property
    def sources(self) -> list[str]:
        """The paths it reads."""
        if self.combine is not None:
            return [variable.from_field_path for variable in self.combine.variables]
        return [self.from_field_path] if self.from_field_path else []

    @property
    def target(self) -> str:
        """The path it writes."""
        return self.to_field_path or self.from_field_path or ""


class PatchSet(Part):
    """Patches that several resources share."""

    name: str
    patches: list[Patch]


# --- resources ---------------------------------------------------------------------------------------------------


class MatchCondition(Part):
    """A condition a resource must have."""

    type: str = "Ready"
    status: str = "True"


class ReadinessCheck(Part):
    """One thing that must be so before a resource is ready."""

    type: Literal["None", "NonEmpty", "MatchString", "MatchInteger", "MatchTrue", "MatchFalse", "MatchCondition"]
    field_path: str | None = None
    match_string: str | None = None
    match_integer: int | None = None
    match_condition: MatchCondition = msgspec.field(default_factory=MatchCondition)


class ConnectionDetail(Part):
    """One key of the connection secret."""

    name: str | None = None
    type: Literal["FromConnectionSecretKey", "FromFieldPath", "FromValue"] | None = None
    from_connection_secret_key: str | None = None
    from_field_path: str | None = None
    value: str | None = None

    @property
    def key(self) -> str:
        """The key it gives. Without a name: the one it is taken from."""
        return self.name or self.from_connection_secret_key or ""

    @property
    def kind(self) -> str:
        """Where its value comes from; where it does not say so, as what is there says."""
        if self.type:
            return self.type
        if self.from_connection_secret_key:
            return "FromConnectionSecretKey"
        return "FromFieldPath" if self.from_field_path else "FromValue"


class Resource(Part):
    """One object of another operator, and how it is made from a claim."""

    base: dict[str, Any]
    name: str = ""
    patches: list[Patch] = []
    connection_details: list[ConnectionDetail] = []
    readiness_checks: list[ReadinessCheck] = []


class Composition(Part):
    """The objects that stand behind one claim."""

    resources: list[Resource]
    patch_sets: list[PatchSet] = []

    def patches_of(self, resource: Resource) -> list[Patch]:
        """The patches of a resource, those of its sets where they are named."""
        sets = {each.name: each.patches for each in self.patch_sets}
        found: list[Patch] = []
        for patch in resource.patches:
            found += sets.get(patch.patch_set_name or "", []) if patch.type == "PatchSet" else [patch]
        return found
