"""Uses the storage half of ``ftrack_api`` as plugins do and writes down what happens, as JSON.

    python storage_behaviour.py ours|official RESULT.json

Run by both clients, so it names nothing that only one of them has.
"""

import json
import logging
import os
import sys
import tempfile
import uuid

if sys.argv[1] == "ours":
    from ftrackd.api import alias

    alias.install()

import ftrack_api
import ftrack_api.structure.id

logging.disable(logging.CRITICAL)

observed = {}


def observe(name, function):
    """Write down what `function` returns, or which error it raises."""
    try:
        observed[name] = function()
    except Exception as error:
        observed[name] = f"raised {type(error).__name__}"


def record_events(session):
    events = []
    publish = session.event_hub.publish

    def record(event, synchronous=False, **options):
        if not synchronous:
            events.append([event["topic"], event["data"]["component_id"], event["data"]["location_id"]])
        return publish(event, synchronous=synchronous, **options)

    session.event_hub.publish = record
    return events


class World:
    """A version of a new project, files to make components of, and a location."""

    def __init__(self, session):
        self.session = session
        self.folder = tempfile.mkdtemp()
        self.events = record_events(session)
        self.names = {}
        name = f"p_{uuid.uuid4().hex[:8]}"
        schema = session.query("ProjectSchema").first()
        project = session.create("Project", {"name": name, "full_name": name, "project_schema": schema})
        self.names[name] = "PROJECT"
        folder = session.create("Folder", {"name": "Seq A", "parent": project})
        self.version = self.make_version(folder, "My Asset")
        self.on_project = self.make_version(project, "Direct")
        self.location = self.make_location(ftrack_api.accessor.disk.DiskAccessor)
        self.origin = session.get("Location", ftrack_api.symbol.ORIGIN_LOCATION_ID)
        self.server = session.get("Location", ftrack_api.symbol.SERVER_LOCATION_ID)
        for number in (1, 2, 3):
            self.write(f"f.{number:04d}.exr", "x" * number)
        self.write("a.mov", "hello")

    def make_version(self, parent, name):
        asset_type = self.session.query("AssetType").first()
        asset = self.session.create("Asset", {"name": name, "parent": parent, "type": asset_type})
        version = self.session.create("AssetVersion", {"asset": asset})
        self.session.commit()
        return version

    def make_location(self, accessor_class):
        location = self.session.create("Location", {"name": f"l.{uuid.uuid4().hex}"})
        self.session.commit()
        location.accessor = accessor_class(prefix=os.path.join(self.folder, location["id"]))
        location.structure = ftrack_api.structure.id.IdStructure()
        self.names[location["id"]] = f"LOCATION{len(self.names)}"
        return location

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(text)

    def make(self, source, label, location=None, **data):
        data.setdefault("version", self.version)
        component = self.session.create_component(os.path.join(self.folder, source), data, location=location)
        self.names[component["id"]] = label
        for member in self.members(component):
            self.names[member["id"]] = f"{label}.{member['name']}"
        return component

    def members(self, component):
        if "members" not in component.keys():  # noqa: SIM118 - "in" would load them
            return []
        return sorted(component["members"], key=lambda member: member["name"])

    def hide_ids(self, value):
        text = json.dumps(value)
        for identifier, name in self.names.items():
            text = text.replace(identifier, name)
        return json.loads(text.replace(self.folder, "FOLDER"))

    def take_events(self):
        """Return the events since the last call; the order of members is the server's."""
        events = self.hide_ids(sorted(self.events))
        self.events.clear()
        return sorted(events)


def observe_adding(world):
    single = world.make("a.mov", "SINGLE", name="main")
    observe("events of creating", world.take_events)
    observe("add", lambda: world.location.add_component(single, world.origin))
    observe("events of adding", world.take_events)
    observe("add again", lambda: world.location.add_component(single, world.origin))
    observe("add to origin again", lambda: world.origin.add_component(single, "/x"))
    sequence = world.make("f.%04d.exr [1-3]", "SEQUENCE", name="seq")
    world.take_events()
    observe("add sequence", lambda: world.location.add_component(sequence, world.origin))
    observe("events of the sequence", world.take_events)
    observe("availability", lambda: world.location.get_component_availabilities([single, sequence]))
    unmanaged = world.session.get("Location", ftrack_api.symbol.UNMANAGED_LOCATION_ID)
    observe("add sequence unmanaged", lambda: unmanaged.add_component(sequence, world.origin))
    observe("sequence unmanaged", lambda: world.hide_ids(unmanaged.get_filesystem_path(sequence)))
    world.take_events()
    for name in ("size", "padding", "file_type"):
        observe(f"sequence {name}", lambda name=name: sequence[name])
    observe("frames", lambda: [[m["name"], m["size"], m["file_type"]] for m in world.members(sequence)])
    observe("sources", lambda: world.location.add_components([single], [world.origin, world.origin]))
    observe("nothing", lambda: world.location.add_components([], world.origin))
    observe("remove sequence", lambda: world.location.remove_component(sequence))
    observe("events of removing", world.take_events)
    observe("remove again", lambda: world.location.remove_component(sequence))
    observe("path of what is not there", lambda: world.location.get_filesystem_path(sequence))
    return single, sequence


def observe_structures(world, single, sequence):
    standard = ftrack_api.structure.standard.StandardStructure()
    on_project = world.make("a.mov", "ONPROJECT", name="Ma in é", version=world.on_project)
    container = world.session.create("ContainerComponent", {"name": "Cont", "version": world.version})
    member = world.make("a.mov", "MEMBER", name="memb", version=None)
    container["members"].append(member)
    member["container"] = container
    world.names[container["id"]] = "CONTAINER"
    components = {
        "single": single,
        "sequence": sequence,
        "frame": world.members(sequence)[1],
        "container": container,
        "member": member,
    }
    for name, component in components.items():
        observe(f"standard {name}", lambda c=component: world.hide_ids(standard.get_resource_identifier(c)))
        for prefix in ("", "pre", "a/b", "/abs/"):
            structure = ftrack_api.structure.id.IdStructure(prefix=prefix)
            identifier = structure.get_resource_identifier(component)
            identifier = identifier.replace("/", "", len(prefix.strip("/").split("/")) + 2 if prefix else 3)
            observe(f"id {prefix!r} {name}", lambda i=identifier: [i[0] == "/", i.count("/")])
    observe("standard on project", lambda: world.hide_ids(standard.get_resource_identifier(on_project)))
    prefixed = ftrack_api.structure.standard.StandardStructure(project_versions_prefix="pub")
    observe("prefixed", lambda: world.hide_ids(prefixed.get_resource_identifier(on_project)))
    for value in ("foo", "Foo Bar", "åäö", "a/b", "x.y-z", "tab\tq", " lead"):
        observe(f"sanitised {value!r}", lambda value=value: standard.sanitise_for_filesystem(value))
    observe("structure of a task", lambda: standard.get_resource_identifier(world.version["asset"]))
    uncommitted = world.session.create("AssetVersion", {"asset": world.version["asset"]})
    orphan = world.make("a.mov", "ORPHAN", version=uncommitted)
    observe("standard uncommitted", lambda: standard.get_resource_identifier(orphan))
    world.session.rollback()


def observe_failure(world):
    class Failing(ftrack_api.accessor.disk.DiskAccessor):
        def open(self, resource_identifier, mode="rb"):
            if resource_identifier.endswith("0002.exr"):
                raise ftrack_api.exception.AccessorOperationFailedError("no")
            return super().open(resource_identifier, mode)

    first = world.make("a.mov", "FIRST", name="first")
    failing = world.make("f.%04d.exr [1-3]", "FAILING", name="failing")
    world.session.commit()
    location = world.make_location(Failing)
    try:
        location.add_components([first, failing], world.origin)
    except ftrack_api.exception.LocationError as error:
        component, identifier = error.details["transferred"][0]
        observed["transferred"] = [component == first, location.accessor.exists(identifier)]
    observe("availability after failing", lambda: location.get_component_availabilities([first]))
    observe("missing file", lambda: world.make("missing.mov", "MISSING", location=world.location))
    world.session.rollback()


def observe_disk(world):
    prefix = os.path.join(world.folder, "disk")
    accessor = ftrack_api.accessor.disk.DiskAccessor(prefix=prefix)
    accessor.make_container("x")
    data = accessor.open("x/f", "wb")
    data.write(b"1")
    data.close()
    for operation, *arguments in (
        ("list", "x"),
        ("list", ""),
        ("list", os.path.join(prefix, "x")),
        ("list", "x/f"),
        ("list", "missing"),
        ("get_container", "x/f"),
        ("get_container", "x"),
        ("get_container", ""),
        ("get_container", os.path.join(prefix, "x", "f")),
        ("get_filesystem_path", ""),
        ("get_filesystem_path", "../y"),
        ("get_filesystem_path", os.path.join(prefix, "q")),
        ("open", "missing"),
        ("open", "x"),
        ("open", "missing/f", "wb"),
        ("remove", "missing"),
        ("remove", "x"),
        ("make_container", "x"),
        ("make_container", "x", False),
        ("make_container", "q/w", False),
        ("is_file", "x/f"),
        ("is_container", "x/f"),
        ("is_sequence", "x"),
        ("get_url", "x"),
        ("exists", "missing"),
    ):
        name = world.hide_ids([operation, *arguments])
        observe(f"disk {name}", lambda o=operation, a=arguments: world.hide_ids(getattr(accessor, o)(*a)))
    anywhere = ftrack_api.accessor.disk.DiskAccessor("")
    for path in ("a/../b", "/a/b", "b"):
        observe(f"anywhere {path}", lambda path=path: anywhere.get_filesystem_path(path))
        observe(f"container anywhere {path}", lambda path=path: anywhere.get_container(path))


def observe_server(world, single):
    world.take_events()
    observe("upload", lambda: world.server.add_component(single, world.origin))
    observe("events of uploading", world.take_events)
    observe("download", lambda: world.server.accessor.open(single["id"], "rb").read().decode())
    observe("url", lambda: sorted(world.server.get_url(single).partition("?")[2].split("&")[1:2]))
    observe("server path", lambda: world.server.get_filesystem_path(single))
    observe("server exists", lambda: world.server.accessor.exists("x"))
    observe("metadata", lambda: {"url", "headers"} <= set(_metadata(world, single)))
    observe("removal", lambda: world.server.remove_component(single))
    observe("removal again", lambda: world.server.remove_component(single))
    observe("thumbnail", lambda: world.version.create_thumbnail(f"{world.folder}/a.mov")["name"])
    observe("encode a number", lambda: world.session.encode_media(5))


def _metadata(world, single):
    return world.session.get_upload_metadata(single["id"], "a.mov", 5)


def observe_session(world):
    session = world.session
    for identifier in ("ORIGIN", "UNMANAGED", "REVIEW", "SERVER", "CONNECT"):
        location = session.get("Location", getattr(ftrack_api.symbol, f"{identifier}_LOCATION_ID"))
        facts = [location.priority, type(location).__name__, type(location.structure).__name__]
        observe(f"location {identifier}", lambda f=facts, a=bool(location.accessor): [*f, a])
    observe("picked", lambda: session.pick_location()["name"])
    lone = world.make("a.mov", "LONE")
    session.commit()
    observe("picked for one", lambda: session.pick_location(lone))
    observe("picked for many", lambda: session.pick_locations([lone, lone]))
    review = world.make("a.mov", "REVIEW", location="auto", name="ftrackreview-mp4")
    observe("review", lambda: [k for k, v in review.get_availability().items() if v])
    sized = world.make("x.%03d.exr [1-3]", "SIZED", size=10)
    observe("sized", lambda: [sized["size"], sized["padding"], [m["size"] for m in world.members(sized)]])
    observe("named by default", lambda: lone["name"])
    session.rollback()


def main():
    session = ftrack_api.Session(plugin_paths=[], schema_cache_path=False)
    world = World(session)
    single, sequence = observe_adding(world)
    observe_structures(world, single, sequence)
    observe_failure(world)
    observe_disk(world)
    observe_server(world, single)
    observe_session(world)
    session.close()
    with open(sys.argv[2], "w") as file:
        json.dump(observed, file, indent=1, sort_keys=True)


main()
