"""From two folders to a `Draft`: every entry that reads, under its name, with the place of everything that was written.

Each named entry is validated by itself, so one bad trunk hides nothing else: what reads is checked further, what does not is
known by name, and no second finding complains that it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from sipctl.dialplan.number_files import beside
from sipctl.dialplan.regression import Row, read_test_file
from sipctl.dialplan.report import Mark, Report, did_you_mean
from sipctl.dialplan.source import (
    EDGE_FOLDER,
    MAX_FILES_BYTES,
    PLAN_FOLDER,
    Fields,
    Items,
    Node,
    Scalar,
    locate,
    plain,
    read_folder,
)
from sipctl.model.base import Plain
from sipctl.model.edge import EdgeDocument, LimitsModel, ListenModel, PairModel, SiteModel, TenantModel, TrunkModel
from sipctl.model.plan import EntryPointModel, GroupModel, NumberFileModel, PlanDocument, TestModel
from sipctl.model.scalars import Name
from sipctl.model.treatments import ExitModel, OverlayModel, ScheduleModel, SwitchModel

Model = TypeVar("Model", bound=Plain)

IMPLIED_SITE: Final = "default"
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)
_DOCUMENTS: Final[Mapping[str, type[Plain]]] = {EDGE_FOLDER: EdgeDocument, PLAN_FOLDER: PlanDocument}


@dataclass(slots=True)
class Draft:
    """A plan that reads, before its names and numbers were checked."""

    files: Mapping[str, bytes]
    edge: Fields  # all of sbc_configs, as written
    plan: Fields  # all of dialplans
    listen: dict[str, ListenModel] = field(default_factory=dict)
    sites: dict[str, SiteModel] = field(default_factory=dict)
    trunks: dict[str, TrunkModel] = field(default_factory=dict)
    sbc_pairs: dict[str, PairModel] = field(default_factory=dict)
    tenants: dict[str, TenantModel] = field(default_factory=dict)
    limits: LimitsModel = field(default_factory=LimitsModel)
    continuity_groups: dict[str, GroupModel] = field(default_factory=dict)
    entry_points: dict[str, EntryPointModel] = field(default_factory=dict)
    number_files: list[tuple[int, NumberFileModel]] = field(default_factory=list)  # (place in the list, item)
    tests: list[tuple[int, TestModel]] = field(default_factory=list)
    schedules: dict[str, ScheduleModel] = field(default_factory=dict)
    exits: dict[str, ExitModel] = field(default_factory=dict)
    overlays: dict[str, OverlayModel] = field(default_factory=dict)
    switches: dict[str, SwitchModel] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)  # tests of files
    test_files: list[str] = field(default_factory=list)  # paths, also of those that are not there

    def names(self, section: str) -> tuple[str, ...]:
        """All names of a section, also of entries that did not read."""
        node = self._document(section).fields.get(section)
        return tuple(node.fields) if isinstance(node, Fields) else ()

    def mark(self, *keys: str | int, at_key: bool = False) -> Mark:
        """The place of what a path of keys leads to, sections of both folders alike."""
        return locate(self._document(str(keys[0])), keys, at_key)

    def _document(self, section: str) -> Fields:
        return self.plan if section in PlanDocument.model_fields else self.edge


def load(files: Mapping[str, bytes], report: Report) -> Draft:
    """Read all files; what is wrong is in the report.

    Args:
        files: path relative to DIR, with "/" → content.
    """
    total = sum(len(data) for data in files.values())
    if total > MAX_FILES_BYTES:
        report.add("file.too-large", Mark("."), f"the files have {total:,} bytes, the most is {MAX_FILES_BYTES:,}")
        return Draft(files, Fields(Mark("sbc_configs")), Fields(Mark("dialplans")))
    draft = Draft(files, read_folder(EDGE_FOLDER, files, report), read_folder(PLAN_FOLDER, files, report))
    for folder, document in ((EDGE_FOLDER, draft.edge), (PLAN_FOLDER, draft.plan)):
        if not any(path.startswith(folder) for path in files):
            report.add(
                "plan.empty",
                Mark(folder.rstrip("/")),
                f"there is no file in {folder}",
                "see the example in FORMATS, or `sipctl demo`",
            )
        _report_empty(document, report)
        _report_unknown_sections(folder, document, report)
    edge, plan = draft.edge, draft.plan
    draft.listen = _entries(edge, "listen", ListenModel, report)
    draft.sites = _entries(edge, "sites", SiteModel, report)
    draft.trunks = _entries(edge, "trunks", TrunkModel, report)
    draft.sbc_pairs = _entries(edge, "sbc_pairs", PairModel, report)
    draft.tenants = _entries(edge, "tenants", TenantModel, report)
    if "limits" in edge.fields:
        draft.limits = _one(edge, ("limits",), LimitsModel, report) or LimitsModel()
    draft.continuity_groups = _entries(plan, "continuity_groups", GroupModel, report)
    draft.entry_points = _entries(plan, "entry_points", EntryPointModel, report)
    draft.number_files = _listed(plan, "number_files", NumberFileModel, report)
    draft.tests = _listed(plan, "tests", TestModel, report)
    draft.schedules = _entries(plan, "schedules", ScheduleModel, report)
    draft.exits = _entries(plan, "exits", ExitModel, report)
    draft.overlays = _entries(plan, "overlays", OverlayModel, report)
    draft.switches = _entries(plan, "switches", SwitchModel, report)
    _read_test_files(draft, report)
    return draft


def _read_test_files(draft: Draft, report: Report) -> None:
    """Every file of tests the plan names; paths are relative to the file that names them."""
    node = draft.plan.fields.get("tests_file")
    items = node.items if isinstance(node, Items) else [node] if isinstance(node, Scalar) and node.text else []
    if isinstance(node, Fields):
        report.add(
            "plan.bad-value", node.mark, "tests_file is a path or a list of paths", "e.g. tests_file: tests/regression.csv"
        )
    for item in items:
        if not isinstance(item, Scalar):
            report.add("plan.bad-value", item.mark, "a path is expected here", "e.g. tests_file: [tests/regression.csv]")
            continue
        path = beside(item.mark.path, item.text)
        data = draft.files.get(path)
        report.name_file(path, item.mark)
        draft.test_files.append(path)
        if data is None:
            known = [name for name in draft.files if name.endswith((".csv", ".txt", ".tsv"))]
            report.add("file.missing", item.mark, f"there is no file {path}", did_you_mean(path, known))
        else:
            draft.rows += read_test_file(path, data, report)


def _entries(document: Fields, section: str, model: type[Model], report: Report) -> dict[str, Model]:
    """The entries of a section that read."""
    node = document.fields.get(section)
    if node is None or _is_empty(node):
        return {}
    if not isinstance(node, Fields):
        report.add("yaml.not-a-map", node.mark, f"{section} is a map of names", "e.g. " + section + ": {NAME: {…}}")
        return {}
    found = {}
    for name in node.fields:
        _check(document, (section,), _NAME, name, report, at_key=name)
        entry = _one(document, (section, name), model, report)
        if entry is not None:
            found[name] = entry
    return found


def _listed(document: Fields, section: str, model: type[Model], report: Report) -> list[tuple[int, Model]]:
    node = document.fields.get(section)
    if node is None or _is_empty(node):
        return []
    if not isinstance(node, Items):
        report.add("plan.bad-value", node.mark, f"{section} is a list", f"e.g. {section}:\n  - {{…}}")
        return []
    read = ((at, _one(document, (section, at), model, report)) for at in range(len(node.items)))
    return [(at, entry) for at, entry in read if entry is not None]


def _one(document: Fields, keys: tuple[str | int, ...], model: type[Model], report: Report) -> Model | None:
    node = _node_at(document, keys)
    if node is None or _is_empty(node):
        return None
    read: Model | None = _check(document, keys, TypeAdapter(model), plain(node), report)
    return read


def _check(
    document: Fields,
    keys: tuple[str | int, ...],
    adapter: TypeAdapter[Any],
    value: Any,
    report: Report,
    at_key: str | None = None,
) -> Any:
    """The value validated, or None and a finding for each thing wrong with it."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            if at_key is not None:
                _report_fault(document, (*keys, at_key), one, report, True)
            else:
                _report_fault(document, (*keys, *one["loc"]), one, report, False)
    return None


def _report_fault(document: Fields, keys: tuple[str | int, ...], error: Any, report: Report, at_key: bool) -> None:
    kind, context = error["type"], error.get("ctx", {})
    at_key = at_key or keys[-1] == "[key]" or kind == "extra_forbidden"
    keys = tuple(key for key in keys if key != "[key]")
    mark = locate(document, keys, at_key)
    if kind == "plan":
        code, message, hint = context["code"], context["message"], context["hint"]
        if code == "plan.not-built-yet" and isinstance(keys[-1], str):
            mark, message = locate(document, keys, True), f"{keys[-1]}: {message}"
        node = _node_at(document, keys)
        if not (node is not None and _is_empty(node)):
            report.add(code, mark, message, hint)
    elif kind == "extra_forbidden":
        report.add("plan.unknown-key", mark, f"no such key here: {keys[-1]}", _known_keys(keys))
    elif kind == "missing":
        report.add(
            "plan.missing-key", locate(document, keys[:-1], True), f"{_path(keys[:-1])} lacks {keys[-1]}", f"add {keys[-1]}: …"
        )
    elif kind == "too_short" and plain(_node_at(document, keys) or Items(mark)):
        pass  # its items did not read, and each said so
    elif kind in ("too_short", "too_long"):
        report.add("plan.bad-value", mark, f"{_path(keys)}: {error['msg'][0].lower()}{error['msg'][1:]}")
    else:
        expected = {"model_type": "a map of keys", "dict_type": "a map", "tuple_type": "a list"}.get(
            kind, "another kind of value"
        )
        report.add("plan.bad-value", mark, f"{_path(keys)}: {expected} is expected here")


def _known_keys(keys: tuple[str | int, ...]) -> str:
    """A hint with the key meant, looked up in the model the path leads to."""
    model = _model_at(keys[:-1])
    if model is None:
        return ""
    known = [info.alias or name for name, info in model.model_fields.items()]
    return did_you_mean(str(keys[-1]), known)


def _model_at(keys: tuple[str | int, ...]) -> type[Plain] | None:
    for document in _DOCUMENTS.values():
        model: Any = document
        for key in keys:
            if not (isinstance(model, type) and issubclass(model, Plain)):
                model = model if isinstance(key, int) else None
            else:
                fields = {info.alias or name: info for name, info in model.model_fields.items()}
                model = _model_in(fields[str(key)].annotation) if str(key) in fields else model if _is_name(model, key) else None
            if model is None:
                break
        if isinstance(model, type) and issubclass(model, Plain):
            return model
    return None


def _is_name(model: type[Plain], key: str | int) -> bool:
    return model not in _DOCUMENTS.values()


def _model_in(annotation: Any) -> type[Plain] | None:
    """The model inside dict[Name, Model], tuple[Model, ...], Model | None."""
    if isinstance(annotation, type) and issubclass(annotation, Plain):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found is not None:
            return found
    return None


def _report_unknown_sections(folder: str, document: Fields, report: Report) -> None:
    known, others = (
        _DOCUMENTS[folder].model_fields,
        _DOCUMENTS[PLAN_FOLDER if folder == EDGE_FOLDER else EDGE_FOLDER].model_fields,
    )
    for name, node in document.fields.items():
        if name in known:
            kind = str(known[name].metadata)
            if "not built yet" in kind and not (isinstance(node, Fields | Items) and not plain(node)):
                report.add(
                    "plan.not-built-yet", document.keys[name], f"{name}: this is planned, but not built yet", "leave it out"
                )
        elif name in others:
            other = PLAN_FOLDER if folder == EDGE_FOLDER else EDGE_FOLDER
            report.add("plan.unknown-key", document.keys[name], f"{name} does not belong in {folder}", f"move it to {other}")
        else:
            report.add("plan.unknown-key", document.keys[name], f"no such section: {name}", did_you_mean(name, known))


def _report_empty(node: Node, report: Report) -> None:
    if isinstance(node, Fields):
        for name, value in node.fields.items():
            if _is_empty(value):
                report.add(
                    "plan.empty-value", node.keys[name], f"{name} has no value", "give it one, write {} or [], or remove the key"
                )
            _report_empty(value, report)
    elif isinstance(node, Items):
        for item in node.items:
            if _is_empty(item):
                report.add("plan.empty-value", item.mark, "an item of the list is empty", "remove it")
            _report_empty(item, report)


def _is_empty(node: Node | None) -> bool:
    return isinstance(node, Scalar) and not node.text


def _node_at(document: Fields, keys: tuple[str | int, ...]) -> Node | None:
    node: Node | None = document
    for key in keys:
        if isinstance(node, Fields):
            node = node.fields.get(str(key))
        elif isinstance(node, Items) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
        else:
            return None
    return node


def _path(keys: tuple[str | int, ...]) -> str:
    """Keys as people say them: trunks.carrier-one.sources."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
