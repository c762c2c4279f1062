"""The objects and fields that a mapping needs, as metadata that Salesforce's tools deploy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

import attrs

from journeykit_salesforce.mapping import FieldType, ObjectMapping, Value

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE: Final = "http://soap.sforce.com/2006/04/metadata"

#: The name of the set of permissions that is written beside the objects.
PERMISSIONS: Final = "Journeykit"

#: From this length on a text is one that cannot be searched by.
_LONG: Final = 256

#: A tag and what is in it: a text, or more tags.
_Tag = tuple[str, Any]


@attrs.define
class _Object:
    """
    An object, and the fields that it must have.

    Args:
        fields: API name → its definition.
    """

    name: str
    fields: dict[str, list[_Tag]] = attrs.field(factory=dict)
    named: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is made, and not only extended."""
        return self.name.endswith("__c")


def describe(mappings: Sequence[ObjectMapping], api_version: str) -> dict[str, str]:
    """Return path → contents of the files that make what *mappings* write to."""
    objects: dict[str, _Object] = {}
    for mapping in mappings:
        _add(objects, mapping)
    files = {f"objects/{each.name}.object": _object(each) for each in objects.values()}
    files[f"permissionsets/{PERMISSIONS}.permissionset"] = _permissions(objects.values())
    files["package.xml"] = _package(objects.values(), api_version)
    return files


def _add(objects: dict[str, _Object], mapping: ObjectMapping) -> None:
    target = objects.setdefault(mapping.object, _Object(mapping.object))
    _key(target, mapping.key_field)
    for name, value in mapping.fields.items():
        link, _, key = name.partition(".")
        if not key:
            target.named |= name == "Name"
            _field(target, name, value)
        elif value.to is not None and link.endswith("__r"):
            _key(objects.setdefault(value.to, _Object(value.to)), key)
            _lookup(target, f"{link[:-3]}__c", value.to)
        elif "__" not in link:
            # A link that Salesforce has already, such as Contact; it is called like its object.
            _key(objects.setdefault(link, _Object(link)), key)
    for field in mapping.stages.values():
        _field(target, field, Value(type=FieldType.DATETIME))


def _key(target: _Object, name: str) -> None:
    if name.endswith("__c"):
        target.fields[name] = [
            ("fullName", name),
            ("caseSensitive", "true"),
            ("externalId", "true"),
            ("label", _label(name)),
            ("length", "255"),
            ("required", "false"),
            ("type", "Text"),
            ("unique", "true"),
        ]


def _lookup(target: _Object, name: str, to: str) -> None:
    plural = f"{_label(target.name)}s".replace(" ", "_")
    target.fields[name] = [
        ("fullName", name),
        ("deleteConstraint", "SetNull"),
        ("label", _label(name)),
        ("referenceTo", to),
        ("relationshipLabel", f"{_label(target.name)}s"),
        ("relationshipName", f"Journeykit_{plural}"),
        ("required", "false"),
        ("type", "Lookup"),
    ]


def _field(target: _Object, name: str, value: Value) -> None:
    if not name.endswith("__c") or name in target.fields:
        return
    head: list[_Tag] = [("fullName", name)]
    label: _Tag = ("label", _label(name))
    optional: _Tag = ("required", "false")
    if value.type in (FieldType.TEXT, FieldType.LONG_TEXT) and value.length >= _LONG:
        tags = [
            label,
            ("length", str(value.length)),
            ("type", "LongTextArea"),
            ("visibleLines", "5"),
        ]
    elif value.type in (FieldType.TEXT, FieldType.LONG_TEXT):
        tags = [label, ("length", str(value.length)), optional, ("type", "Text")]
    elif value.type is FieldType.CHECKBOX:
        tags = [("defaultValue", "false"), label, ("type", "Checkbox")]
    elif value.type in (FieldType.NUMBER, FieldType.CURRENCY):
        kind = "Number" if value.type is FieldType.NUMBER else "Currency"
        tags = [label, ("precision", "18"), optional, ("scale", "2"), ("type", kind)]
    else:
        kind = "Date" if value.type is FieldType.DATE else "DateTime"
        tags = [label, optional, ("type", kind)]
    target.fields[name] = head + tags


def _object(target: _Object) -> str:
    tags: list[_Tag] = []
    if target.is_ours:
        label = _label(target.name)
        name: list[_Tag] = [("label", "Name"), ("type", "Text")]
        if not target.named:
            name = [
                ("displayFormat", f"{label[0].upper()}-{{00000000}}"),
                ("label", "Number"),
                ("type", "AutoNumber"),
            ]
        tags = [
            ("deploymentStatus", "Deployed"),
            ("label", label),
            ("nameField", name),
            ("pluralLabel", f"{label}s"),
            ("sharingModel", "ReadWrite"),
        ]
    fields = [("fields", target.fields[field]) for field in sorted(target.fields)]
    return _document("CustomObject", sorted([*tags, *fields], key=lambda tag: tag[0]))


def _permissions(objects: Iterable[_Object]) -> str:
    fields: list[_Tag] = []
    rights: list[_Tag] = []
    for each in objects:
        for field in sorted(each.fields):
            rule = [("editable", "true"), ("field", f"{each.name}.{field}"), ("readable", "true")]
            fields.append(("fieldPermissions", rule))
        if each.is_ours:
            allowed = ("allowCreate", "allowDelete", "allowEdit", "allowRead")
            rule = [(name, "true") for name in allowed]
            rule += [
                ("modifyAllRecords", "true"),
                ("object", each.name),
                ("viewAllRecords", "true"),
            ]
            rights.append(("objectPermissions", rule))
    label: list[_Tag] = [("hasActivationRequired", "false"), ("label", PERMISSIONS)]
    return _document("PermissionSet", [*fields, *label, *rights])


def _package(objects: Iterable[_Object], api_version: str) -> str:
    ours = [each.name for each in objects if each.is_ours]
    fields = [f"{each.name}.{field}" for each in objects for field in sorted(each.fields)]
    types = [
        ("CustomField", fields),
        ("CustomObject", ours),
        ("PermissionSet", [PERMISSIONS]),
    ]
    tags: list[_Tag] = [
        ("types", [*(("members", member) for member in sorted(members)), ("name", name)])
        for name, members in types
        if members
    ]
    return _document("Package", [*tags, ("version", api_version)])


def _label(name: str) -> str:
    return name.removesuffix("__c").replace("_", " ")[:40]


def _document(root: str, tags: Sequence[_Tag]) -> str:
    inner = "".join(_tag(tag, 1) for tag in tags)
    return f'{_HEAD}<{root} xmlns="{_NAMESPACE}">\n{inner}</{root}>\n'


def _tag(tag: _Tag, depth: int) -> str:
    name, value = tag
    indent = "    " * depth
    if isinstance(value, str):
        return f"{indent}<{name}>{escape(value)}</{name}>\n"
    inner = "".join(_tag(each, depth + 1) for each in value)
    return f"{indent}<{name}>\n{inner}{indent}</{name}>\n"
