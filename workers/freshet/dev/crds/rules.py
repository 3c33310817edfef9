"""CEL rules of the CRDs: what `kubectl apply` refuses at once. The rest is said by the operator in a condition.

A field's own rule comes from its type (`freshet.spec.rules.Hint`); rules between fields stand here and use the same
words and tables as `freshet.spec`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from freshet.spec.durations import UNITS_MS, duration_text
from freshet.spec.experiment import VALUE_METRICS
from freshet.spec.features import OF_VALUES, SESSIONS, WINDOWED, WITH_UNIT
from freshet.spec.problems import any_of, quoted
from freshet.spec.rules import not_implemented
from freshet.spec.windows import LIFETIME, LONGEST_MS, SHORTEST_MS

_DURATION = "^(0|[1-9][0-9]{0,9})(ms|s|m|h|d)$"

FREE_DEFAULTS = frozenset({"spec.processor.maxReplicas"})
"""Defaults that the schema must not write out: a maximum that was written is held against `partitions`."""

LIST_KEYS = {"spec.features": "name", "spec.variants": "name", "spec.metrics": "name"}
"""Lists whose entries are told apart by a field, so that two appliers can own one each."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of x-kubernetes-validations."""

    rule: str
    message: str
    """A CEL expression that gives the sentence."""
    field: str = ""
    """Where the error is shown, from the rule's own place: `.of`."""
    reason: Literal["", "FieldValueRequired", "FieldValueForbidden"] = ""

    def schema(self) -> dict[str, Any]:
        """As the CRD has it."""
        fixed = _literal(self.message)
        found = {"rule": self.rule, **({"messageExpression": self.message} if fixed is None else {"message": fixed})}
        if self.reason:
            found["reason"] = self.reason
        if self.field:
            found["fieldPath"] = self.field
        return found


def _literal(expression: str) -> str | None:
    """The text of an expression that is one literal without escapes; None: it is computed."""
    found = re.fullmatch(r"'([^'\\]*)'", expression)
    return found[1] if found else None


def text(value: str) -> str:
    """A CEL literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def texts(values: Iterable[str]) -> str:
    """A CEL list of literals."""
    return "[" + ", ".join(text(value) for value in values) + "]"


def own_rules(source: dict[str, Any]) -> Iterator[Rule]:
    """The rules that the words of one field's JSON schema mean."""
    given = """'"' + self + '" '"""
    if "x-duration" in source:
        yield _duration_rule(*source["x-duration"])
    elif "x-window" in source:
        yield _window_rule()
    elif "x-only" in source:
        value, reason = source["x-only"]
        shown = given if isinstance(value, str) else "(self ? 'true ' : 'false ')"
        literal = text(value) if isinstance(value, str) else str(value).lower()
        yield Rule(f"self == {literal}", f"{shown} + {text(f'is {not_implemented(reason)}; use {quoted(value)}')}")
    elif "pattern" in source:
        sentence = text(f"is not allowed: {source['x-sentence']}")
        yield Rule(f"self.matches({text(source['pattern'])})", f"{given} + {sentence}")
    names = source.get("propertyNames", {})
    values = source.get("patternProperties", {})
    if values and not any("x-scalar" in one for one in values.values()):  # without types there is no map to see
        [pattern] = values
        match = f"name.matches({text(pattern)})"
        sentence = text(f'has the name "%s", which is not allowed: {names["x-sentence"]}')
        yield Rule(f"self.all(name, {match})", f"{sentence}.format([self.filter(name, !{match})[0]])")
    if "x-planned" in source:
        # Not an enum: its message would call planned values supported.
        planned = source["x-planned"]
        known = [word for word in source["enum"] if word not in planned]
        sentence = text(f"is not implemented by this version of Freshet; it has {any_of(known, 'and')}")
        yield Rule(f"!(self in {texts(planned)})", f"{given} + {sentence}")
        yield Rule(f"self in {texts(source['enum'])}", f"{given} + {text(f'is unknown; use {any_of(known)}')}")


def _milliseconds() -> str:
    """The milliseconds of `self`, which is known to be a duration."""
    units = "".join(f"self.endsWith('{unit}') ? {ms} : " for unit, ms in list(UNITS_MS.items())[:-1])
    return f"int(self.find('^[0-9]+')) * ({units}{UNITS_MS['d']})"


def _duration_rule(low: int, high: int) -> Rule:
    ms = _milliseconds()
    bounds = f"from {duration_text(low)} to {duration_text(high)}"
    return Rule(
        f"self.matches('{_DURATION}') && {ms} >= {low} && {ms} <= {high}",
        f"""'must be a duration {bounds}, for example 500ms, 30s, 5m, 24h or 7d; got "' + self + '"'""",
    )


def _window_rule() -> Rule:
    ms = _milliseconds()
    bounds = f"{ms} >= {SHORTEST_MS} && {ms} <= {LONGEST_MS} && {ms} % 1000 == 0"
    allowed = f"a duration from {duration_text(SHORTEST_MS)} to {duration_text(LONGEST_MS)} in whole seconds"
    return Rule(
        f"self == '{LIFETIME}' || (self.matches('{_DURATION}') && {bounds})",
        f"""'must be "{LIFETIME}" or {allowed}, for example 24h; got "' + self + '"'""",
    )


def _fixed(message: str) -> Rule:
    return Rule("self == oldSelf", message, reason="FieldValueForbidden")


_OTHER = "; make a FeatureSet of another name"


def _needs(field: str, aggregates: Iterable[str], sentence: str) -> Rule:
    return Rule(
        f"!has(self.aggregate) || !(self.aggregate in {texts(sorted(aggregates))}) || has(self.{field})",
        f"'is required by ' + self.aggregate + {text(sentence)}",
        f".{field}",
        "FieldValueRequired",
    )


def _only_for(field: str, aggregates: Iterable[str], message: str) -> Rule:
    return Rule(
        f"!has(self.aggregate) || self.aggregate in {texts(sorted(aggregates))} || !has(self.{field})",
        message,
        f".{field}",
        "FieldValueForbidden",
    )


_OF_AGGREGATES = ("of", "where", "windows", "granularity", "unit", "gap", "halfLife", "size", "percentile")

_FEATURE = [
    Rule(
        "has(self.aggregate) != has(self.expression)",
        "'feature \"' + self.name + '\" needs either aggregate or expression, and not both'",
    ),
    Rule(
        "!has(self.expression) || has(self.aggregate) || !("
        + " || ".join(f"has(self.{field})" for field in _OF_AGGREGATES)
        + ")",
        f"'feature \"' + self.name + '\" is an expression: {', '.join(_OF_AGGREGATES[:-1])} and {_OF_AGGREGATES[-1]}"
        " are for aggregates'",
    ),
    _needs("of", OF_VALUES, ": the value that is aggregated, for example of: amount"),
    _needs("windows", ["rate"], ", which is events a unit of the window"),
    _needs("gap", SESSIONS, ": how long a pause ends a session, for example 30m"),
    _needs("halfLife", ["ewma"], ": after how long a value counts half, for example 1h"),
    _needs("size", ["last_n"], ": how many values, for example 5"),
    _needs("percentile", ["percentile"], ": how many percent of the values lie at or below it, for example 95"),
    _only_for("of", OF_VALUES, "self.aggregate + ' is of events and takes no value; write a condition into where'"),
    _only_for("windows", WINDOWED, 'self.aggregate + " has no windows: it is of the entity\'s whole life"'),
    _only_for("unit", WITH_UNIT, "self.aggregate + ' has no unit'"),
    _only_for("gap", SESSIONS, "'is only for session_active, session_count and session_duration'"),
    _only_for("halfLife", ["ewma"], "'is only for ewma'"),
    _only_for("size", ["last_n"], "'is only for last_n'"),
    _only_for("percentile", ["percentile"], "'is only for percentile'"),
    Rule(
        "!has(self.granularity) || has(self.expression) || (has(self.windows) && "
        f"self.windows.exists(w, w != '{LIFETIME}'))",
        "'has no window to cut'",
        ".granularity",
        "FieldValueForbidden",
    ),
    Rule(
        f"!has(self.aggregate) || self.aggregate != 'rate' || !has(self.windows) || !('{LIFETIME}' in self.windows)",
        "'rate has no lifetime form: a life has no fixed length'",
        ".windows",
    ),
    Rule(
        "!has(self.windows) || self.windows.all(w, size(self.name) + 1 + size(w) <= 63)",
        "'with \"' + self.name + '_\" before it a window gives a name of more than 63 characters'",
        ".name",
    ),
]

MODEL_RULES: dict[str, list[Rule]] = {
    "FeatureModel": _FEATURE,
    "FieldModel": [
        Rule(
            "!(self.type in ['string', 'boolean']) || !(has(self.minimum) || has(self.maximum))",
            "'minimum and maximum are for numbers, the type is ' + self.type",
        ),
        Rule(
            "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            "'minimum %s is above maximum %s: no event could pass'.format([self.minimum, self.maximum])",
        ),
    ],
    "ProcessorModel": [
        Rule(
            "self.minReplicas <= (has(self.maxReplicas) ? self.maxReplicas : 12)",
            "'%d is above maxReplicas (%d)'.format([self.minReplicas, has(self.maxReplicas) ? self.maxReplicas : 12])",
            ".minReplicas",
        )
    ],
    "VariantModel": [
        Rule(
            "has(self.version) != has(self.parameters)",
            "'variant \"' + self.name + '\" needs either version or parameters, and not both'",
        )
    ],
    "MetricModel": [
        Rule(
            f"!(self.aggregate in {texts(VALUE_METRICS)}) || has(self.of)",
            "'is required by ' + self.aggregate + ': the value that is aggregated, for example of: amount'",
            ".of",
            "FieldValueRequired",
        ),
        Rule(
            f"self.aggregate in {texts(VALUE_METRICS)} || !has(self.of)",
            "self.aggregate + ' is of events and takes no value; write a condition into where'",
            ".of",
            "FieldValueForbidden",
        ),
    ],
}
"""Rules between the fields of one mapping, by the model's name."""

_SAME_SOURCE = " && ".join(
    f"self.source.{field} == oldSelf.source.{field}"
    for field in ("timestamp", "eventId", "deduplicate", "maxFutureSkew", "partitioner")
)

FIELD_RULES: dict[str, dict[str, list[Rule]]] = {
    "Manifest": {
        "spec.entity": [
            _fixed(
                "'is fixed: it was ' + oldSelf.name + ' with the key ' + oldSelf.key"
                f" + ', and states are of this entity{_OTHER}'"
            )
        ],
        "spec.source.topic": [
            _fixed(f"""'is fixed: it was "' + oldSelf + '", and states were made from this topic{_OTHER}'""")
        ],
        "spec.source.rekey": [
            _fixed(f"""'is fixed: it was %s, and states were made from another topic{_OTHER}'.format([oldSelf])""")
        ],
        "spec.source.partitions": [
            _fixed(
                f"'is fixed: it was %d, got %d, and with another number keys live elsewhere{_OTHER}'"
                ".format([oldSelf, self])"
            )
        ],
        "spec": [
            Rule(
                "self.version != oldSelf.version || (self.timezone == oldSelf.timezone"
                " && self.features == oldSelf.features"
                " && self.features.map(f, f.name) == oldSelf.features.map(f, f.name)"
                " && has(self.source.fields) == has(oldSelf.source.fields)"
                " && (!has(self.source.fields) || self.source.fields == oldSelf.source.fields)"
                f" && {_SAME_SOURCE})",
                """'the definition has changed and the version is still "' + self.version + '": a changed definition"""
                """ (timezone, features, or how source is read) needs a new version'""",
                ".version",
            ),
            Rule(
                "!has(self.processor.maxReplicas) || self.processor.maxReplicas <= self.source.partitions",
                "'must be at most partitions (%d), got %d: more processors would have nothing to read'"
                ".format([self.source.partitions, self.processor.maxReplicas])",
                ".processor.maxReplicas",
            ),
            Rule(
                "!has(self.output) || self.output.topic != self.source.topic && (!self.source.rekey"
                " || self.output.topic != self.source.topic + '.by.' + self.entity.name)",
                """'"' + self.output.topic + '" is the topic that is read; vectors need their own'""",
                ".output.topic",
            ),
            Rule(
                "!self.source.rekey || self.processor.minReplicas > 0",
                "'must be at least 1 with source.rekey: what copies the events runs beside the processors'",
                ".processor.minReplicas",
            ),
            Rule(
                "!self.source.rekey || size(self.source.topic) + size(self.entity.name) <= 245",
                "'with rekey the topic ' + self.source.topic + '.by.' + self.entity.name + ' is made; at most 249"
                " characters are allowed: use a shorter topic or entity'",
                ".source.topic",
            ),
            Rule(
                "self.entity.key != self.source.timestamp && self.entity.key != self.source.eventId"
                " && self.source.timestamp != self.source.eventId",
                "'entity.key (' + self.entity.key + '), timestamp (' + self.source.timestamp + ') and eventId ('"
                " + self.source.eventId + ') must be three different fields'",
                ".source",
            ),
        ],
    },
    "Experiment": {
        "spec": [
            Rule(
                "self.variants.exists_one(v, v.control)",
                "'exactly one variant must have control: true, %d have'"
                ".format([self.variants.filter(v, v.control).size()])",
                ".variants",
            ),
            Rule(
                "!has(self.overrides) || self.overrides.all(unit, self.variants.exists(v, v.name =="
                " self.overrides[unit]))",
                "'\"%s\" is not a variant'.format([self.overrides.filter(unit, !self.variants.exists(v, v.name =="
                " self.overrides[unit])).map(unit, self.overrides[unit])[0]])",
                ".overrides",
            ),
        ]
    },
}
"""Rules of one place."""

ROOT_RULES = [
    Rule(
        "self.metadata.name.matches('^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$')",
        "'metadata.name \"' + self.metadata.name + '\" is not allowed: use at most 40 lower-case letters, digits and"
        " hyphens, with a letter or digit first and last'",
    )
]
"""Rules of the whole object. Names of revisions and components are made from its name."""
