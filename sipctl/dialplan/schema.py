"""What the models say of a plan's keys, for editors (JSON Schema) and for people (docs/plan-keys.md, docs/findings.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sipctl.dialplan.report import CODES
from sipctl.model.base import Plain
from sipctl.model.edge import EdgeDocument
from sipctl.model.plan import PlanDocument
from sipctl.model.scalars import Kind, show_s

DOCUMENTS: Final[dict[str, type[Plain]]] = {"sbc_configs": EdgeDocument, "dialplans": PlanDocument}
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TABLE_HEAD: Final = "| Key | Type | Unit | Required | Default | Range | Meaning |\n|---|---|---|---|---|---|---|\n"


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of each folder's documents, by folder name."""
    return {name: _schema(name, model) for name, model in DOCUMENTS.items()}


def plan_keys() -> str:
    """Every key as a Markdown document."""
    parts = [
        "# Every key of a plan\n\nMade from the models by `sipctl schema --markdown`; ○ marks what is not built yet: using it is "
        "a finding, never ignored. Every value is text: quote numbers that begin with + or 0.\n\n"
    ]
    for folder, document in DOCUMENTS.items():
        merging = "Sections of several files merge. `defaults: {SECTION: {KEY: VALUE}}` fills in what entries leave out."
        parts.append(f"# `{folder}/`\n\n{merging}\n\n")
        parts += [_table(path, model) for path, model in _models(document, "")]
    return "".join(parts).rstrip() + "\n"


def finding_codes() -> str:
    """Every finding's code as a Markdown document."""
    lines = "".join(f"| `{code}` | {severity} | {text} |\n" for code, (severity, text) in CODES.items())
    return (
        "# Findings of `sipctl check`\n\nMade from the code by `sipctl schema --findings`. Codes are added, never reworded. An "
        f"error stops a plan, a warning does not.\n\n| Code | Severity | Meaning |\n|---|---|---|\n{lines}"
    )


def _models(model: type[Plain], path: str) -> Iterator[tuple[str, type[Plain]]]:
    """(path as written, model) of a document and all below it, in order."""
    yield path, model
    for name, info in model.model_fields.items():
        inner, is_map, is_list = _inner(info.annotation)
        if inner is not None:
            key = info.alias or name
            step = f"{key}.NAME" if is_map else f"{key}[]" if is_list else key
            yield from _models(inner, f"{path}.{step}" if path else step)


def _inner(annotation: Any) -> tuple[type[Plain] | None, bool, bool]:
    """(model, is in a map, is in a list) of a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, Plain):
        return annotation, False, False
    origin = getattr(annotation, "__origin__", None)
    for part in getattr(annotation, "__args__", ()):
        found, _, _ = _inner(part)
        if found is not None:
            return found, origin is dict, origin is tuple
    return None, False, False


def _table(path: str, model: type[Plain]) -> str:
    rows = "".join(_row(info.alias or name, info) for name, info in model.model_fields.items())
    title = f"## `{path}`" if path else "## Sections"
    note = (model.__doc__ or "").strip().splitlines()[0]
    return f"{title}\n\n{note}\n\n{_TABLE_HEAD}{rows}\n"


def _row(key: str, info: FieldInfo) -> str:
    kind = _kind(info)
    default = "" if info.is_required() else _written(_default(info), kind)
    cells = (f"`{key}`", kind.name, kind.unit, "yes" if info.is_required() else "", default, kind.range, info.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _kind(info: FieldInfo) -> Kind:
    """The kind of a field, looked for in its annotations; maps and lists say what they hold."""
    for entry in info.metadata:
        if isinstance(entry, Kind):
            return entry
    return _kind_of(info.annotation) or Kind("text")


def _kind_of(annotation: Any) -> Kind | None:
    origin = getattr(annotation, "__origin__", None)
    arguments: list[Any] = list(getattr(annotation, "__args__", ()))
    for entry in getattr(annotation, "__metadata__", ()):
        if isinstance(entry, Kind):
            return entry
    if isinstance(annotation, type) and issubclass(annotation, Plain):
        return Kind("map")
    if origin is dict:
        held = _kind_of(arguments[1]) or Kind("text")
        return Kind("map of names" if held.name == "map" else f"map of {held.name}", held.unit, held.range)
    if origin is tuple:
        held = _kind_of(arguments[0]) or Kind("text")
        return Kind("list of maps" if held.name == "map" else f"{held.name} or a list", held.unit, held.range)
    for part in arguments:
        found = _kind_of(part)
        if found is not None:
            return found
    return None


def _default(info: FieldInfo) -> Any:
    if info.default is not PydanticUndefined:
        return info.default
    return info.default_factory() if info.default_factory is not None else None  # type: ignore[call-arg]


def _plain_default(value: Any, kind: Kind) -> Any:
    """A default as a plan would write it; None if there is nothing to write."""
    if value is None or isinstance(value, Plain) or value in ((), {}):
        return None
    if isinstance(value, bool):
        return value
    if kind.name.startswith("duration"):
        return show_s(value)
    if kind.name.startswith("share"):
        return [f"{share}%" for share in value] if isinstance(value, tuple) else f"{value}%"
    if isinstance(value, frozenset):
        return sorted(value, key=lambda item: (isinstance(item, int), item))
    return list(value) if isinstance(value, tuple) else value


def _written(value: Any, kind: Kind) -> str:
    plain = _plain_default(value, kind)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return f"`{str(plain).lower()}`"
    return f"`[{', '.join(map(str, plain))}]`" if isinstance(plain, list) else f"`{plain}`"


def _schema(folder: str, document: type[Plain]) -> dict[str, Any]:
    schema: dict[str, Any] = document.model_json_schema()
    by_title = {model.__name__: model for _, model in _models(document, "")}
    for title, part in ((document.__name__, schema), *schema.get("$defs", {}).items()):
        model = by_title[title]
        for name, info in model.model_fields.items():
            written = part["properties"][info.alias or name]
            written.pop("default", None)
            written.pop("title", None)
            default = None if info.is_required() else _plain_default(_default(info), _kind(info))
            if default is not None:
                written["default"] = default
    schema["properties"]["defaults"] = {"type": "object", "description": "by section: keys that entries leave out"}
    return {"$schema": _DIALECT, "$id": f"sipctl:{folder}.schema.json", **schema, "title": f"sipctl {folder}"}
