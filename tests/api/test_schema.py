"""From types to structural schemas: what comes out, and what is refused."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from msgspec import Meta

from libresh.api.crds import crd_for
from libresh.api.meta import FORBIDDEN, BaseStatus, Column, Kind, Resource, Rule, Struct
from libresh.api.schema import Place, Schema, Unrepresentable, schema_for

Short = Annotated[str, Meta(max_length=9)]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct):
    """The inner part."""

    size: Annotated[Short, Meta(description="How big.")] = "1Gi"


class Plain(Struct):
    """A part that fills nothing in."""

    note: Annotated[Short | None, Meta(description="A note.")] = None


class Named(Struct, kw_only=True):
    """One of many."""

    name: Annotated[Short, Meta(description="Its name.")]


class Loop(Struct):
    """Contains itself."""

    again: Annotated["Loop | None", Meta(description="Once more.")] = None


class Tagged(Struct, tag=True):
    """One of several shapes."""


class Undocumented(Struct):
    size: Annotated[Short, Meta(description="How big.")] = "1Gi"


class Bare(Struct):
    """Has a field that says nothing."""

    size: Short = "1Gi"


class Made(Struct):
    """Has a default that is made by a function."""

    size: Annotated[Short, Meta(description="How big.")] = msgspec.field(default_factory=lambda: "1Gi")


CASES: dict[str, tuple[Any, Schema]] = {
    "a string": (Short, {"type": "string", "maxLength": 9}),
    "an optional string is a string": (Short | None, {"type": "string", "maxLength": 9}),
    "a boolean": (bool, {"type": "boolean"}),
    "a number with bounds": (
        Annotated[int, Meta(ge=1, lt=10)],
        {"type": "integer", "format": "int64", "minimum": 1, "maximum": 10, "exclusiveMaximum": True},
    ),
    "a fraction above a bound": (
        Annotated[float, Meta(gt=0)],
        {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    ),
    "a time": (datetime, {"type": "string", "format": "date-time"}),
    "a choice": (Literal["A", "B"], {"type": "string", "enum": ["A", "B"]}),
    "an enumeration": (Colour, {"type": "string", "enum": ["red", "blue"]}),
    "anything": (Any, {"x-kubernetes-preserve-unknown-fields": True}),
    "a free object": (dict[str, Any], {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    "a map of strings": (
        Annotated[dict[str, Short], Meta(max_length=4)],
        {"type": "object", "additionalProperties": {"type": "string", "maxLength": 9}, "maxProperties": 4},
    ),
    "a set": (
        Annotated[list[Short], Meta(max_length=3, extra_json_schema={"x-kubernetes-list-type": "set"})],
        {
            "type": "array",
            "items": {"type": "string", "maxLength": 9},
            "maxItems": 3,
            "x-kubernetes-list-type": "set",
        },
    ),
    "a pattern with a message is a rule": (
        Annotated[str, Meta(max_length=9, pattern=r"^\d+$", extra={"message": "digits only"})],
        {
            "type": "string",
            "maxLength": 9,
            "x-kubernetes-validations": [{"rule": r"self.matches(r'^\d+$')", "message": "digits only"}],
        },
    ),
    "a pattern without a message stays one": (
        Annotated[str, Meta(max_length=9, pattern="^a$")],
        {"type": "string", "maxLength": 9, "pattern": "^a$"},
    ),
    "a struct": (
        Named,
        {
            "type": "object",
            "description": "One of many.",
            "properties": {"name": {"description": "Its name.", "type": "string", "maxLength": 9}},
            "required": ["name"],
        },
    ),
}


@pytest.mark.parametrize(("type", "schema"), CASES.values(), ids=CASES)
def test_converts(type: Any, schema: Schema) -> None:
    assert schema_for(type, Place("spec")) == schema


REFUSED: dict[str, tuple[Any, str]] = {
    "a union of shapes": (int | str, "a union has no structural form"),
    "a tuple": (tuple[int, int], "Tuple has no structural form"),
    "bytes": (bytes, "Bytes has no structural form"),
    "a unique list": (set[Short], "Set has no structural form"),
    "a choice of numbers": (Literal[1, 2], "a choice must be among strings"),
    "a map from numbers": (dict[int, Short], "the keys of a map must be strings"),
    "a tagged struct": (Tagged, "tagged"),
    "a struct that contains itself": (Loop, "Loop contains itself"),
    "a struct that says nothing of itself": (Undocumented, "Undocumented has no docstring"),
    "a field that says nothing of itself": (Bare, r"size: a field without a description"),
    "a default the server cannot make": (Made, r"size: a default made by a function"),
    "a string without a bound": (str, "a string without max_length"),
    "a list without a bound": (list[Short], "a list without max_length"),
    "a list of named things without keys": (
        Annotated[list[Named], Meta(max_length=3, extra_json_schema={"x-kubernetes-list-type": "map"})],
        "needs x-kubernetes-list-map-keys",
    ),
    "a list whose key may be absent": (
        Annotated[
            list[Plain],
            Meta(
                max_length=3,
                extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["note"]},
            ),
        ],
        "each a required field",
    ),
    "words of JSON Schema that structural schemas lack": (
        Annotated[Short, Meta(examples=["a"])],
        "examples cannot be part of a structural schema",
    ),
    "a message without a pattern": (Annotated[Short, Meta(extra={"message": "no"})], "a message needs a pattern"),
}


@pytest.mark.parametrize(("type", "why"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_has_no_structural_form(type: Any, why: str) -> None:
    with pytest.raises(Unrepresentable, match=f"^spec.*{why}"):
        schema_for(type, Place("spec"))


class Outer(Struct, kw_only=True):
    """Holds the others."""

    RULES = (Rule("self.inner.size != '0'", "size is never 0", field=".inner.size", reason=FORBIDDEN),)

    inner: Annotated[Inner, Meta(description="The inner part of this.")] = msgspec.field(default_factory=Inner)
    plain: Plain = msgspec.field(default_factory=Plain)
    flag: Annotated[bool, Meta(description="Whether.")] = False
    names: Annotated[list[Short], Meta(max_length=2, description="Some.")] = []
    must_be: Annotated[Short, Meta(description="Needed.")]


def test_defaults_are_filled_in_where_they_say_something() -> None:
    properties = schema_for(Outer, Place("spec"))["properties"]
    assert properties["inner"]["default"] == {}, "the object is made so that its own defaults apply"
    assert properties["inner"]["properties"]["size"]["default"] == "1Gi"
    assert properties["flag"]["default"] is False
    assert not any("default" in properties[name] for name in ("plain", "names", "mustBe"))


def test_defaults_are_only_told_where_a_profile_may_give_others() -> None:
    properties = schema_for(Outer, Place("spec", defaults="told"))["properties"]
    assert "default" not in str(properties)
    assert properties["flag"]["description"] == "Whether. Absent: as the profile says, otherwise false."
    assert properties["inner"]["description"] == "The inner part of this."
    assert properties["inner"]["properties"]["size"]["description"].endswith("otherwise 1Gi.")


def test_a_status_has_no_defaults_at_all() -> None:
    assert "default" not in str(schema_for(Outer, Place("status", defaults="left out")))


def test_descriptions_come_from_the_field_else_from_the_type() -> None:
    properties = schema_for(Outer, Place("spec"))["properties"]
    assert properties["inner"]["description"] == "The inner part of this."
    assert properties["plain"]["description"] == "A part that fills nothing in."


def test_rules_say_where_and_why() -> None:
    assert schema_for(Outer, Place("spec"))["x-kubernetes-validations"] == [
        {
            "rule": "self.inner.size != '0'",
            "message": "size is never 0",
            "fieldPath": ".inner.size",
            "reason": "FieldValueForbidden",
        }
    ]


class Box(Resource, kw_only=True):
    """A box that scales."""

    KIND: ClassVar[Kind] = Kind(
        group="test.libre.sh",
        kind="Box",
        plural="boxes",
        short=("bx",),
        namespaced=False,
        columns=(Column("Size", ".spec.inner.size", priority=1),),
        scale=(".spec.replicas", ".status.replicas", ".status.selector"),
        rules=(Rule("self.metadata.name != 'no'", "not no"),),
    )

    spec: Outer
    status: BaseStatus = msgspec.field(default_factory=BaseStatus)


def test_a_kind_becomes_a_definition() -> None:
    crd = crd_for(Box)
    assert crd["metadata"]["name"] == "boxes.test.libre.sh"
    assert crd["spec"]["scope"] == "Cluster"
    assert crd["spec"]["names"] == {
        "kind": "Box",
        "listKind": "BoxList",
        "plural": "boxes",
        "singular": "box",
        "shortNames": ["bx"],
        "categories": ["libresh"],
    }
    (version,) = crd["spec"]["versions"]
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    assert version["additionalPrinterColumns"] == [
        {"name": "Size", "type": "string", "jsonPath": ".spec.inner.size", "priority": 1}
    ]
    schema = version["schema"]["openAPIV3Schema"]
    assert schema["required"] == ["spec"]
    assert schema["description"] == "A box that scales."
    assert schema["x-kubernetes-validations"][0]["message"] == "not no"
