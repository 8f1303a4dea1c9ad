import subprocess
import sys
from pathlib import Path

#: What is there after a bare ``import ftrack_api``, because existing code uses it without importing it.
_SUBMODULES = [
    "accessor",
    "accessor.base",
    "accessor.disk",
    "accessor.server",
    "attribute",
    "cache",
    "collection",
    "data",
    "entity",
    "entity.asset_version",
    "entity.base",
    "entity.component",
    "entity.factory",
    "entity.job",
    "entity.location",
    "entity.note",
    "entity.project_schema",
    "entity.user",
    "event",
    "event.base",
    "event.expression",
    "event.hub",
    "event.subscriber",
    "event.subscription",
    "exception",
    "inspection",
    "logging",
    "operation",
    "plugin",
    "query",
    "session",
    "structure",
    "structure.base",
    "structure.entity_id",
    "structure.origin",
    "structure.standard",
    "symbol",
    "_centralized_storage_scenario",
]

#: Names that real code takes from a submodule.
_NAMES = {
    "": ["Session", "mixin", "__version__"],
    "session": [
        "Session",
        "SessionAuthentication",
        "AutoPopulatingContext",
        "OperationRecordingContext",
        "OperationPayload",
    ],
    "query": ["QueryResult"],
    "entity.base": ["Entity", "_EntityBase", "DynamicEntityTypeMetaclass"],
    "entity.factory": [
        "Factory",
        "StandardFactory",
        "memoise_defaults",
        "memoise_session",
        "PerSessionDefaultKeyMaker",
    ],
    "entity.asset_version": ["AssetVersion"],
    "entity.component": ["Component", "CreateThumbnailMixin"],
    "entity.job": ["Job"],
    "entity.location": [
        "Location",
        "MemoryLocationMixin",
        "UnmanagedLocationMixin",
        "OriginLocationMixin",
        "ServerLocationMixin",
    ],
    "entity.note": ["Note", "CreateNoteMixin"],
    "entity.project_schema": ["ProjectSchema"],
    "entity.user": ["User"],
    "attribute": [
        "Attributes",
        "Attribute",
        "ScalarAttribute",
        "ReferenceAttribute",
        "CollectionAttribute",
        "AbstractCollectionAttribute",
        "KeyValueMappedCollectionAttribute",
        "CustomAttributeCollectionAttribute",
        "merge_references",
    ],
    "collection": [
        "Collection",
        "MappedCollectionProxy",
        "KeyValueMappedCollectionProxy",
        "CustomAttributeCollectionProxy",
        "memoise_session",
        "PerSessionDefaultKeyMaker",
    ],
    "cache": [
        "Cache",
        "ProxyCache",
        "LayeredCache",
        "MemoryCache",
        "FileCache",
        "SerialisedCache",
        "KeyMaker",
        "StringKeyMaker",
        "ObjectKeyMaker",
        "Memoiser",
        "memoise_decorator",
        "memoiser",
        "memoise",
    ],
    "event.base": ["Event"],
    "event.subscription": ["Subscription"],
    "event.subscriber": ["Subscriber"],
    "event.expression": ["Parser", "Expression", "All", "Any", "Not", "Condition"],
    "event.hub": ["EventHub", "SocketIoSession", "ServerDetails"],
    "inspection": ["identity", "primary_key", "state", "states"],
    "operation": [
        "Operations",
        "Operation",
        "CreateEntityOperation",
        "UpdateEntityOperation",
        "DeleteEntityOperation",
    ],
    "logging": ["LazyLogMessage", "deprecation_warning"],
    "formatter": ["format", "FILTER"],
    "data": ["Data", "FileWrapper", "File", "String"],
    "accessor.base": ["Accessor"],
    "accessor.disk": ["DiskAccessor"],
    "accessor.server": ["ServerFile", "_ServerAccessor"],
    "structure.base": ["Structure"],
    "structure.origin": ["OriginStructure"],
    "structure.entity_id": ["EntityIdStructure"],
    "structure.id": ["IdStructure"],
    "structure.standard": ["StandardStructure"],
    "resource_identifier_transformer.base": ["ResourceIdentifierTransformer"],
    "plugin": ["discover", "load_source"],
    "symbol": [
        "Symbol",
        "NOT_SET",
        "CREATED",
        "MODIFIED",
        "DELETED",
        "ORIGIN_LOCATION_ID",
        "CHUNK_SIZE",
        "UNMANAGED_LOCATION_ID",
        "REVIEW_LOCATION_ID",
        "CONNECT_LOCATION_ID",
        "SERVER_LOCATION_ID",
        "COMPONENT_ADDED_TO_LOCATION_TOPIC",
        "COMPONENT_REMOVED_FROM_LOCATION_TOPIC",
        "JOB_SYNC_USERS_LDAP",
    ],
    "_centralized_storage_scenario": ["register", "register_configuration", "scenario_name"],
}


def _run(code: str, *path: Path) -> str:
    """Run `code` in its own process, with `path` in front of `sys.path`; return what it prints."""
    before = f"import sys; sys.path[:0] = {[str(folder) for folder in path]!r}\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", before + code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_when_only_the_package_is_imported_then_its_submodules_are_there() -> None:
    code = f"""
import ftrackd.api.alias; ftrackd.api.alias.install()
import importlib, operator
import ftrack_api
print([name for name in {_SUBMODULES!r} if not hasattr(ftrack_api, name.split(".")[0])])
print([name for name in {_SUBMODULES!r} if operator.attrgetter(name)(ftrack_api) is not
       importlib.import_module("ftrackd.api." + name)])
"""
    assert _run(code).split("\n") == ["[]", "[]"]


def test_when_a_name_of_the_official_client_is_imported_then_it_is_there() -> None:
    code = f"""
import ftrackd.api.alias; ftrackd.api.alias.install()
import importlib
print([(module, name) for module, names in {_NAMES!r}.items() for name in names
       if not hasattr(importlib.import_module("ftrack_api" + ("." + module if module else "")), name)])
"""
    assert _run(code) == "[]"


def test_when_a_plugin_bundles_the_official_client_then_ours_is_imported(tmp_path: Path) -> None:
    """A second Session class would make every isinstance guard fail in silence."""
    bundled = tmp_path / "ftrack_api"
    (bundled / "accessor").mkdir(parents=True)
    for file in ("__init__.py", "session.py", "extra.py", "accessor/__init__.py", "accessor/disk.py"):
        (bundled / file).write_text("raise SystemExit('the bundled copy was imported')")
    code = """
import ftrackd.api.alias; ftrackd.api.alias.install(); ftrackd.api.alias.install()
import ftrack_api, ftrackd.api
import ftrack_api.session
import ftrack_api.accessor.disk as _disk
from ftrack_api.entity.location import Location
assert ftrack_api is ftrackd.api and ftrack_api.session.Session is ftrackd.api.Session
assert _disk is ftrackd.api.accessor.disk
assert ftrackd.api.session.__spec__.name == "ftrackd.api.session"
try:
    import ftrack_api.extra
except ModuleNotFoundError as error:
    print(error)
"""
    assert _run(code, tmp_path) == "No module named 'ftrack_api.extra'"


def test_when_another_client_was_imported_first_then_it_is_replaced_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "ftrack_api.py").write_text("Session = None")
    code = """
import logging; logging.basicConfig(stream=sys.stdout, format="%(message)s")
import ftrack_api
import ftrackd.api.alias; ftrackd.api.alias.install()
import ftrack_api
print(ftrack_api.Session.__name__)
ftrackd.api.alias.uninstall()
import ftrack_api
print(ftrack_api.Session)
"""
    lines = _run(code, tmp_path).split("\n")
    assert "imported earlier from" in lines[0]
    assert lines[1:] == ["Session", "None"]


def test_when_the_library_is_imported_then_heavy_packages_are_not() -> None:
    """What the daemon's commands and plugin processes wait for at every start."""
    code = """
import ftrackd.api
print([name for name in ("requests", "arrow", "pydantic", "structlog", "sqlalchemy") if name in sys.modules])
"""
    assert _run(code) == "[]"
