"""Text as Go writes it: the verbs of package fmt, and JSON as encoding/json makes it.

Supported verbs: %s %d %v %q %t %f %x %%, with the flags - + 0 and space, width and precision. Where Go would write an
error into the text (`%!d(string=5G)`), NotFitting is raised instead.
(Go 1.24: pkg.go.dev/fmt, pkg.go.dev/strconv, pkg.go.dev/encoding/json.)
"""

import json
import math
import re
from typing import Any

VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>[0-9]*)(?:(?P<dot>\.)(?P<precision>[0-9]*))?(?P<verb>.)?", re.DOTALL)
VERBS = "sdvqtfx"
LONGEST = 512
"""The most a width or a precision may be."""
ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


class NotFitting(ValueError):
    """A value that cannot be written as asked."""


def check(text: str, values: int) -> str:
    """Why a format cannot be used with so many values; "" if it can."""
    count = 0
    for found in VERB.finditer(text):
        verb = found["verb"]
        if verb == "%" and found[0] == "%%":
            continue
        if verb is None or verb not in VERBS:
            return f"{found[0]!r} is not supported: the verbs are %s %d %v %q %t %f %x and %% for a percent sign"
        if "#" in found["flags"]:
            return f"{found[0]!r}: the flag # is not supported"
        if max(int(found["width"] or 0), int(found["precision"] or 0)) > LONGEST:
            return f"{found[0]!r} is too wide: {LONGEST} is the most"
        count += 1
    if count != values:
        return f"{text!r} has {count} places for {values} value{'s' if values != 1 else ''}"
    return ""


def sprintf(text: str, *values: Any) -> str:
    """The text with its verbs replaced. `check` was asked before."""
    rest = list(values)

    def fill(found: re.Match[str]) -> str:
        return "%" if found["verb"] == "%" else place(found, rest.pop(0))

    return VERB.sub(fill, text)


def place(found: re.Match[str], value: Any) -> str:
    """One value as its verb has it, with sign and padding."""
    flags, width = found["flags"], int(found["width"] or 0)
    precision = int(found["precision"] or 0) if found["dot"] else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = written(found, value, precision)
    if number and not text.startswith("-"):
        text = ("+" if "+" in flags else " " if " " in flags else "") + text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and number and (precision is None or isinstance(value, float)):
        sign = text[0] if text[0] in "-+ " else ""
        return sign + text.removeprefix(sign).rjust(width - len(sign), "0")
    return text.rjust(width)


def written(found: re.Match[str], value: Any, precision: int | None) -> str:
    """One value as its verb has it."""
    verb = found["verb"]
    if verb == "v":
        verb = {bool: "t", int: "d", str: "s"}.get(type(value), "v")
    match verb, value:
        case "s", str():
            return str(value[:precision])
        case "q", str():
            return quote(value[:precision])
        case "x", str():
            return str(value).encode()[:precision].hex()
        case "t", bool():
            return str(value).lower()
        case (("d" | "x"), int()) if not isinstance(value, bool):
            digits = format(abs(value), verb).rjust(precision or 0, "0")
            return f"-{digits}" if value < 0 else digits
        case "f", float():
            return f"{value:.{6 if precision is None else precision}f}"
        case "v", _ if precision is None:
            return plain(value)
    raise NotFitting(f"{type_name(value)} cannot be written by {found[0]}")


def plain(value: Any) -> str:
    """A value as %v has it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case float():
            return shortest(value)
        case list():
            return f"[{' '.join(map(plain, value))}]"
        case dict():
            return f"map[{' '.join(f'{key}:{plain(value[key])}' for key in sorted(value))}]"
    raise NotFitting(f"{type_name(value)} cannot be written as text")


def digits_of(value: float) -> tuple[str, int]:
    """The fewest digits that say just this number (positive), and the power of ten of the first."""
    mantissa, _, power = repr(float(f"{value!r}")).partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    leading = len(whole.lstrip("0")) or -(len(part) - len(part.lstrip("0")))
    return digits.rstrip("0") or "0", leading - 1 + int(power or 0)


def shortest(value: float) -> str:
    """%v of a float: %g with as few digits as say it, so that a million is 1e+06."""
    if math.isnan(value) or math.isinf(value):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[str(value)]
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits, power = digits_of(abs(value))
    sign = "-" if value < 0 else ""
    # strconv: in the shortest form the exponent is written below -4 and, whatever the number of digits, from 6 on.
    if power < -4 or power >= 6:
        return f"{sign}{exponential(digits, power)}"
    return f"{sign}{decimal(digits, power)}"


def exponential(digits: str, power: int) -> str:
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def decimal(digits: str, power: int) -> str:
    """Digits and the power of the first one as a plain number."""
    if power < 0:
        return f"0.{'0' * (-power - 1)}{digits}"
    whole = digits[: power + 1].ljust(power + 1, "0")
    return whole + (f".{digits[power + 1 :]}" if len(digits) > power + 1 else "")


def quote(text: str) -> str:
    """%q: in double quotes, with Go's escapes."""
    return f'"{"".join(map(escape, text))}"'


def escape(char: str) -> str:
    if char in ESCAPES:
        return ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def to_json(value: Any) -> str:
    """JSON as Go's json.Marshal writes it: keys sorted, nothing between, and < > & escaped."""
    match value:
        case float():
            return json_number(value)
        case str():
            text = json.dumps(value, ensure_ascii=False)
            for char in "<>&\u2028\u2029":
                text = text.replace(char, f"\\u{ord(char):04x}")
            return text
        case list():
            return f"[{','.join(map(to_json, value))}]"
        case dict():
            return "{" + ",".join(f"{to_json(key)}:{to_json(value[key])}" for key in sorted(value)) + "}"
    return json.dumps(value)


def json_number(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        raise NotFitting("a number without a value cannot be JSON")
    if value == 0:
        return shortest(value)
    digits, power = digits_of(abs(value))
    sign = "-" if value < 0 else ""
    if power < -6 or power >= 21:
        return sign + exponential(digits, power).replace("e-0", "e-")
    return sign + decimal(digits, power)


def type_name(value: Any) -> str:
    """What a value is, in words; never the value itself, which may be anything."""
    return NAMES.get(type(value).__name__, "nothing")


NAMES = {
    "str": "a text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number with a fraction",
    "list": "a list",
    "dict": "an object",
}
