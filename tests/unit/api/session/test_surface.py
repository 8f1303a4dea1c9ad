"""Every public callable of the official client is here, and can be called as it is called there.

Each line of the table is a signature of the official client. Ours may take more, as long as nobody has to
give it.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ftrackd.api import alias

_SIGNATURES = """
mixin(instance, mixin_class, name=None)
session.SessionAuthentication(api_key, api_user)
session.Session(server_url=None, api_key=None, api_user=None, auto_populate=True, plugin_paths=None, cache=None, cache_key_maker=None, auto_connect_event_hub=False, schema_cache_path=None, plugin_arguments=None, timeout=60, cookies=None, headers=None, strict_api=False)
session.Session.check_server_compatibility()
session.Session.close()
session.Session.reset()
session.Session.auto_populating(auto_populate)
session.Session.operation_recording(record_operations)
session.Session.create(entity_type, data=None, reconstructing=False)
session.Session.ensure(entity_type, data, identifying_keys=None)
session.Session.delete(entity)
session.Session.get(entity_type, entity_key)
session.Session.query(expression, page_size=500)
session.Session.merge(value, merged=None)
session.Session.populate(entities, projections)
session.Session.commit()
session.Session.rollback()
session.Session.call(data)
session.Session.encode(data, entity_attribute_strategy='set_only')
session.Session.decode(string)
session.Session.entity_reference(entity)
session.Session.reset_remote(reset_type, entity=None)
session.Session.pick_location(component=None)
session.Session.pick_locations(components)
session.Session.create_component(path, data=None, location='auto')
session.Session.get_component_availability(component, locations=None)
session.Session.get_component_availabilities(components, locations=None)
session.Session.get_widget_url(name, entity=None, theme=None)
session.Session.encode_media(media, version_id=None, keep_original='auto')
session.Session.get_upload_metadata(component_id, file_name, file_size, checksum=None)
session.Session.send_user_invite(user)
session.Session.send_user_invites(users)
session.Session.send_review_session_invite(invitee)
session.Session.send_review_session_invites(invitees)
session.Session._fetch_server_information()
session.Session._discover_plugins(plugin_arguments=None)
session.Session._load_schemas(schema_cache_path)
session.Session._build_entity_type_classes(schemas)
session.Session._configure_locations()
session.AutoPopulatingContext(session, auto_populate)
session.OperationRecordingContext(session, record_operations)
query.QueryResult(session, expression, page_size=500)
query.QueryResult.all()
query.QueryResult.one()
query.QueryResult.first()
entity.base.Entity(session, data=None, reconstructing=False)
entity.base.Entity.clear()
entity.base.Entity.merge(entity, merged=None)
entity.factory.Factory.create(schema, bases=None)
entity.factory.Factory.create_scalar_attribute(class_name, name, mutable, computed, default, data_type)
entity.factory.Factory.create_reference_attribute(class_name, name, mutable, reference)
entity.factory.Factory.create_collection_attribute(class_name, name, mutable)
entity.factory.Factory.create_mapped_collection_attribute(class_name, name, mutable, reference)
entity.factory.StandardFactory()
entity.component.CreateThumbnailMixin.create_thumbnail(path, data=None)
entity.component.Component.get_availability(locations=None)
entity.note.CreateNoteMixin.create_note(content, author, recipients=None, category=None, labels=None)
entity.note.Note.create_reply(content, author)
entity.project_schema.ProjectSchema.get_statuses(schema, type_id=None)
entity.project_schema.ProjectSchema.get_types(schema)
entity.asset_version.AssetVersion.create_component(path, data=None, location=None)
entity.asset_version.AssetVersion.encode_media(media, keep_original='auto')
entity.user.User.start_timer(context=None, comment='', name=None, force=False)
entity.user.User.stop_timer()
entity.user.User.send_invite()
entity.user.User.reset_api_key()
entity.location.Location.add_component(component, source, recursive=True)
entity.location.Location.add_components(components, sources, recursive=True, _depth=0)
entity.location.Location.remove_component(component, recursive=True)
entity.location.Location.remove_components(components, recursive=True)
entity.location.Location.get_component_availability(component)
entity.location.Location.get_component_availabilities(components)
entity.location.Location.get_resource_identifier(component)
entity.location.Location.get_resource_identifiers(components)
entity.location.Location.get_filesystem_path(component)
entity.location.Location.get_filesystem_paths(components)
entity.location.Location.get_url(component)
entity.location.Location._get_context(component, source)
entity.location.Location._add_data(component, resource_identifier, source)
entity.location.Location._remove_data(component)
entity.location.Location._register_component_in_location(component, resource_identifier)
entity.location.Location._register_components_in_location(components, resource_identifiers)
entity.location.Location._deregister_component_in_location(component)
entity.location.Location._get_resource_identifiers(components)
entity.location.ServerLocationMixin.get_thumbnail_url(component, size=None)
attribute.Attributes(attributes=None)
attribute.Attributes.add(attribute)
attribute.Attributes.remove(attribute)
attribute.Attributes.get(name)
attribute.Attributes.keys()
attribute.Attribute(name, default_value=NOT_SET, mutable=True, computed=False)
attribute.Attribute.get_value(entity)
attribute.Attribute.get_local_value(entity)
attribute.Attribute.get_remote_value(entity)
attribute.Attribute.set_local_value(entity, value)
attribute.Attribute.set_remote_value(entity, value)
attribute.Attribute.populate_remote_value(entity)
attribute.Attribute.is_modified(entity)
attribute.Attribute.is_set(entity)
attribute.Attribute.get_entity_storage(entity)
attribute.ScalarAttribute(name, data_type)
attribute.ReferenceAttribute(name, entity_type)
attribute.KeyValueMappedCollectionAttribute(name, creator, key_attribute, value_attribute)
collection.Collection(entity, attribute, mutable=True, data=None)
collection.MappedCollectionProxy(collection)
collection.KeyValueMappedCollectionProxy(collection, creator, key_attribute, value_attribute)
collection.CustomAttributeCollectionProxy(collection)
collection.CustomAttributeCollectionProxy.get_configuration_id_from_key(key)
cache.Cache.get(key)
cache.Cache.set(key, value)
cache.Cache.remove(key)
cache.Cache.keys()
cache.Cache.values()
cache.Cache.clear(pattern=None)
cache.ProxyCache(proxied)
cache.LayeredCache(caches)
cache.MemoryCache()
cache.FileCache(path)
cache.SerialisedCache(proxied, encode=None, decode=None)
cache.KeyMaker()
cache.KeyMaker.key(*items)
cache.StringKeyMaker()
cache.ObjectKeyMaker()
cache.Memoiser(cache=None, key_maker=None, return_copies=True)
cache.Memoiser.call(function, args=None, kw=None)
cache.memoise_decorator(memoiser)
event.base.Event(topic, id=None, data=None, sent=None, source=None, target='', in_reply_to_event=None)
event.base.Event.stop()
event.base.Event.is_stopped()
event.subscription.Subscription(subscription)
event.subscription.Subscription.includes(event)
event.subscriber.Subscriber(subscription, callback, metadata, priority)
event.subscriber.Subscriber.interested_in(event)
event.expression.Parser()
event.expression.Parser.parse(expression)
event.expression.All(expressions=None)
event.expression.Any(expressions=None)
event.expression.Not(expression)
event.expression.Condition(key, operator, value)
event.expression.Expression.match(candidate)
event.hub.EventHub(server_url, api_user, api_key, headers=None, cookies=None)
event.hub.EventHub.get_server_url()
event.hub.EventHub.get_network_location()
event.hub.EventHub.init_connection()
event.hub.EventHub.connect()
event.hub.EventHub.disconnect(unsubscribe=True, reconnect=False)
event.hub.EventHub.reconnect(attempts=10, delay=5)
event.hub.EventHub.wait(duration=None)
event.hub.EventHub.get_subscriber_by_identifier(identifier)
event.hub.EventHub.subscribe(subscription, callback, subscriber=None, priority=100)
event.hub.EventHub.unsubscribe(subscriber_identifier)
event.hub.EventHub.subscription(subscription, callback, subscriber=None, priority=100)
event.hub.EventHub.publish(event, synchronous=False, on_reply=None, on_error='raise')
event.hub.EventHub.publish_reply(source_event, data, source=None)
event.hub.EventHub._handle_packet(code, packet_identifier, path, data)
event.hub.EventHub._handle(event, synchronous=False)
symbol.Symbol(name, value=True)
inspection.identity(entity)
inspection.primary_key(entity)
inspection.state(entity)
inspection.states(entities)
operation.Operations()
operation.Operations.push(operation)
operation.Operations.pop()
operation.Operations.clear()
operation.CreateEntityOperation(entity_type, entity_key, entity_data)
operation.UpdateEntityOperation(entity_type, entity_key, attribute_name, old_value, new_value)
operation.DeleteEntityOperation(entity_type, entity_key)
logging.LazyLogMessage(message, *args, **kwargs)
logging.deprecation_warning(message)
formatter.format(entity, formatters=None, attribute_filter=None, recursive=False, indent=0, indent_first_line=True)
data.Data.read(limit=None)
data.Data.write(content)
data.Data.flush()
data.Data.seek(offset, whence=0)
data.Data.tell()
data.Data.close()
data.FileWrapper(wrapped_file)
data.File(path, mode='rb')
data.String(content=None)
accessor.base.Accessor()
accessor.base.Accessor.list(resource_identifier)
accessor.base.Accessor.exists(resource_identifier)
accessor.base.Accessor.is_file(resource_identifier)
accessor.base.Accessor.is_container(resource_identifier)
accessor.base.Accessor.is_sequence(resource_identifier)
accessor.base.Accessor.open(resource_identifier, mode='rb')
accessor.base.Accessor.remove(resource_identifier)
accessor.base.Accessor.make_container(resource_identifier, recursive=True)
accessor.base.Accessor.get_container(resource_identifier)
accessor.base.Accessor.remove_container(resource_identifier)
accessor.base.Accessor.get_filesystem_path(resource_identifier)
accessor.base.Accessor.get_url(resource_identifier)
accessor.disk.DiskAccessor(prefix)
accessor.disk.error_handler(**kw)
accessor.server.ServerFile(resource_identifier, session, mode='rb')
accessor.server._ServerAccessor(session)
accessor.server._ServerAccessor.get_thumbnail_url(resource_identifier, size=None)
structure.base.Structure(prefix='')
structure.base.Structure.get_resource_identifier(entity, context=None)
structure.base.Structure._get_sequence_expression(sequence)
structure.origin.OriginStructure(prefix='')
structure.entity_id.EntityIdStructure(prefix='')
structure.id.IdStructure(prefix='')
structure.standard.StandardStructure(project_versions_prefix=None, illegal_character_substitute='_')
structure.standard.StandardStructure.sanitise_for_filesystem(value)
structure.standard.StandardStructure._get_parts(entity)
structure.standard.StandardStructure._format_version(number)
resource_identifier_transformer.base.ResourceIdentifierTransformer(session)
resource_identifier_transformer.base.ResourceIdentifierTransformer.encode(resource_identifier, context=None)
resource_identifier_transformer.base.ResourceIdentifierTransformer.decode(resource_identifier, context=None)
plugin.load_source(modname, filename)
plugin.discover(paths, positional_arguments=None, keyword_arguments=None)
_centralized_storage_scenario.register(session)
_centralized_storage_scenario.register_configuration(session)
exception.Error(message=None, details=None)
exception.ServerError(message=None, details=None)
exception.UnrecognisedEntityTypeError(entity_type)
exception.InvalidStateTransitionError(current_state, target_state, entity)
exception.ImmutableAttributeError(attribute)
exception.CollectionError(collection)
exception.DuplicateItemInCollectionError(item, collection)
exception.ComponentNotInLocationError(components, location)
exception.ComponentInLocationError(components, location)
exception.AccessorOperationFailedError(operation='', resource_identifier=None, error=None)
exception.AccessorResourceIdentifierError(resource_identifier)
exception.AccessorResourceError(operation='', resource_identifier=None, error=None)
"""  # noqa: E501

#: Each error with the one it derives from.
_ERRORS = """
AuthenticationError Error
ServerError Error
ServerCompatibilityError ServerError
NotFoundError Error
NotUniqueError Error
IncorrectResultError Error
NoResultFoundError IncorrectResultError
MultipleResultsFoundError IncorrectResultError
EntityTypeError Error
UnrecognisedEntityTypeError EntityTypeError
OperationError Error
InvalidStateError Error
InvalidStateTransitionError InvalidStateError
AttributeError Error
ImmutableAttributeError AttributeError
CollectionError Error
ImmutableCollectionError CollectionError
DuplicateItemInCollectionError CollectionError
ParseError Error
EventHubError Error
EventHubConnectionError EventHubError
EventHubPacketError EventHubError
PermissionDeniedError Error
LocationError Error
ComponentNotInAnyLocationError LocationError
ComponentNotInLocationError LocationError
ComponentInLocationError LocationError
AccessorError Error
AccessorOperationFailedError AccessorError
AccessorUnsupportedOperationError AccessorOperationFailedError
AccessorPermissionDeniedError AccessorOperationFailedError
AccessorResourceIdentifierError AccessorError
AccessorFilesystemPathError AccessorResourceIdentifierError
AccessorResourceError AccessorError
AccessorResourceNotFoundError AccessorResourceError
AccessorParentResourceNotFoundError AccessorResourceError
AccessorResourceInvalidError AccessorResourceError
AccessorContainerNotEmptyError AccessorResourceError
StructureError Error
ConnectionClosedError Error
"""

#: What subclasses with a constructor of their own, and older code, take from a session or a hub.
_PRIVATE = {
    "session": """_server_url _api_key _api_user _closed recorded_operations
        cache cache_key_maker _thread_lock _managed_request _request request_timeout
        _server_information _event_hub _auto_connect_event_hub_thread _plugin_paths schemas types
        _local_cache logger closed created modified deleted server_url api_key api_user event_hub
        server_information auto_populate record_operations""",
    "session.event_hub": """id server secure connected _code_name_mapping _event_queue _handle
        _send_packet _handle_packet""",
}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Iterator[None]:
    alias.install()
    yield
    alias.uninstall()


def _resolve(path: str) -> tuple[Any, bool]:
    """Return what `path` under ``ftrack_api`` names, and whether it is called on an instance."""
    names = path.split(".")
    found: Any = importlib.import_module("ftrack_api")
    owner: Any = None
    for position, name in enumerate(names):
        if not hasattr(found, name) and inspect.ismodule(found):
            importlib.import_module(".".join(["ftrack_api", *names[: position + 1]]))
        owner, found = found, getattr(found, name)
    return found, inspect.isclass(owner) and inspect.isfunction(found)


def _described(text: str) -> tuple[str, ast.arguments]:
    path, _, parameters = text.partition("(")
    function = ast.parse(f"def f({parameters}: pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    return path, function.args


def _default(parameter: inspect.Parameter) -> str | None:
    if parameter.default is inspect.Parameter.empty:
        return None
    return re.sub(r"Symbol\((\w+)\)", r"\1", repr(parameter.default))


@pytest.mark.parametrize("line", _SIGNATURES.strip().splitlines())
def test_when_it_is_called_as_ever_then_it_takes_the_same_arguments(line: str) -> None:
    path, described = _described(line)
    function, is_method = _resolve(path)
    parameters = list(inspect.signature(function).parameters.values())[int(is_method) :]
    by_place = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    defaults = [None] * (len(described.args) - len(described.defaults))
    wanted = [
        (argument.arg, default and ast.unparse(default))
        for argument, default in zip(described.args, [*defaults, *described.defaults], strict=True)
    ]
    assert [(p.name, _default(p)) for p in by_place[: len(wanted)]] == wanted
    kinds = {p.kind for p in parameters}
    assert described.vararg is None or inspect.Parameter.VAR_POSITIONAL in kinds
    more = [p for p in parameters if p not in by_place[: len(wanted)]]
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    assert [p.name for p in more if p.default is p.empty and p.kind not in variable] == []


@pytest.mark.parametrize("line", _ERRORS.strip().splitlines())
def test_when_an_error_is_caught_by_its_family_then_the_family_is_the_official_one(line: str) -> None:
    name, base = line.split()
    exception = importlib.import_module("ftrack_api.exception")
    assert issubclass(getattr(exception, name), getattr(exception, base))


@pytest.mark.parametrize(("owner", "names"), _PRIVATE.items())
def test_when_code_reaches_behind_the_surface_then_what_it_uses_is_there(
    owner: str, names: str, session: Any
) -> None:
    found = session if owner == "session" else session.event_hub
    assert [name for name in names.split() if not hasattr(found, name)] == []
