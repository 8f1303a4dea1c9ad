"""Identifiers as the field knows them."""

import types
from typing import Any

import pytest

from ftrackd.api import exception
from ftrackd.api.resource_identifier_transformer.base import ResourceIdentifierTransformer
from ftrackd.api.structure.entity_id import EntityIdStructure
from ftrackd.api.structure.id import IdStructure
from ftrackd.api.structure.origin import OriginStructure
from ftrackd.api.structure.standard import StandardStructure

ID = "12345678-9abc-def0-1234-56789abcdef0"


class Described(dict[str, Any]):
    """As much of an entity as a structure reads."""

    def __init__(self, entity_type: str, **values: Any) -> None:
        super().__init__(
            {"id": ID, "name": "main", "file_type": ".exr", "container": None, "version": None, **values}
        )
        self.entity_type = entity_type
        project = {"name": "My Project"}
        self.session = types.SimpleNamespace(get=lambda entity_type, key: project if key == "p" else None)


def make_version(*folders: str, project: str = "p") -> Described:
    link = [{"id": project, "name": "My Project"}, *({"id": name, "name": name} for name in folders)]
    link.append({"id": "v", "name": "comp - v3"})
    return Described("AssetVersion", link=link, asset={"name": "Comp Asset"}, version=3)


def make_sequence(**values: Any) -> Described:
    return Described("SequenceComponent", **{"padding": 4, **values})


class TestIdStructure:
    @pytest.mark.parametrize(
        ("component", "expected"),
        [
            (Described("FileComponent"), "p/1/2/3/4/5678-9abc-def0-1234-56789abcdef0.exr"),
            (Described("FileComponent", file_type=None), "p/1/2/3/4/5678-9abc-def0-1234-56789abcdef0"),
            (make_sequence(), "p/1/2/3/4/5678-9abc-def0-1234-56789abcdef0/file.%04d.exr"),
            (Described("ContainerComponent"), "p/1/2/3/4/5678-9abc-def0-1234-56789abcdef0"),
            (
                Described("FileComponent", id="x", name="0042", container=make_sequence()),
                "p/1/2/3/4/5678-9abc-def0-1234-56789abcdef0/file.0042.exr",
            ),
            (
                Described("FileComponent", id="member", container=Described("ContainerComponent")),
                "p/1/2/3/4/5678-9abc-def0-1234-56789abcdef0/member.exr",
            ),
        ],
    )
    def test_when_component_is_known_then_its_id_is_its_place(self, component, expected) -> None:
        assert IdStructure(prefix="p").get_resource_identifier(component) == expected
        assert IdStructure().get_resource_identifier(component) == expected.removeprefix("p/")

    def test_when_entity_is_no_component_then_it_says_so(self) -> None:
        with pytest.raises(NotImplementedError, match=r"IdStructure.*Task"):
            IdStructure().get_resource_identifier(Described("Task"))


class TestStandardStructure:
    @pytest.mark.parametrize(
        ("component", "expected"),
        [
            (Described("FileComponent", version=make_version("sc 010", "SH_020")), "main.exr"),
            (make_sequence(version=make_version("sc 010", "SH_020")), "main.%04d.exr"),
            (
                make_sequence(version=make_version("sc 010", "SH_020"), name="A b", padding=0),
                "a_b.%d.exr",
            ),
            (
                Described(
                    "FileComponent",
                    name="0042",
                    container=make_sequence(name="beauty", version=make_version("sc 010", "SH_020")),
                ),
                "beauty.0042.exr",
            ),
            (
                Described("ContainerComponent", name="Extra s", version=make_version("sc 010", "SH_020")),
                "extra_s",
            ),
            (
                Described(
                    "FileComponent",
                    name="Größe",
                    file_type=".pdf",
                    container=Described(
                        "ContainerComponent", name="extras", version=make_version("sc 010", "SH_020")
                    ),
                ),
                "extras/groe.pdf",
            ),
            (
                make_sequence(
                    name="ref",
                    container=Described(
                        "ContainerComponent",
                        name="inner",
                        container=Described(
                            "ContainerComponent", name="outer", version=make_version("sc 010", "SH_020")
                        ),
                    ),
                ),
                "outer/inner/ref.%04d.exr",
            ),
            (
                make_sequence(
                    version=make_version("sc 010", "SH_020"),
                    container=Described("ContainerComponent", name="outer"),
                ),
                "main.%04d.exr",
            ),
        ],
    )
    def test_when_component_has_a_version_then_its_place_follows(self, component, expected) -> None:
        identifier = StandardStructure().get_resource_identifier(component)
        assert identifier == f"my_project/sc_010/sh_020/comp_asset/v003/{expected}"

    def test_when_published_on_the_project_then_the_prefix_comes_between(self) -> None:
        component = Described("FileComponent", version=make_version())
        on_project = StandardStructure(project_versions_prefix="Versions").get_resource_identifier(component)
        assert on_project == "my_project/versions/comp_asset/v003/main.exr"
        plain = StandardStructure().get_resource_identifier(component)
        assert plain == "my_project/comp_asset/v003/main.exr"
        below = Described("FileComponent", version=make_version("shot"))
        identifier = StandardStructure(project_versions_prefix="Versions").get_resource_identifier(below)
        assert identifier == "my_project/shot/comp_asset/v003/main.exr"

    @pytest.mark.parametrize(
        ("value", "substitute", "expected"),
        [
            ("foo", "_", "foo"),
            ("Foo Bar", "_", "foo_bar"),
            ("Åland_Ööö", "_", "aland_ooo"),
            ("a/b\\c:d", "-", "a-b-c-d"),
            ("name.with-dots", "_", "name.with-dots"),
            ('it\'s "quoted"', "_", "it_s__quoted_"),
            ("日本", "_", "__"),
            ("..", "_", "__"),
            ("", "_", "_"),
            ("Foo Bar/é", None, "Foo Bar/é"),
        ],
    )
    def test_when_name_has_odd_characters_then_they_are_replaced(self, value, substitute, expected) -> None:
        structure = StandardStructure(illegal_character_substitute=substitute)
        assert structure.sanitise_for_filesystem(value) == expected

    def test_when_subclass_overrides_a_part_then_it_is_used(self) -> None:
        class Studio(StandardStructure):
            def _get_parts(self, entity: Any) -> list[str]:
                return ["studio", *super()._get_parts(entity)]

            def _format_version(self, number: int) -> str:
                return f"version_{number}"

            def sanitise_for_filesystem(self, value: str) -> str:
                return value.upper()

        component = Described("FileComponent", version=make_version("shot"))
        identifier = Studio().get_resource_identifier(component)
        assert identifier == "studio/MY PROJECT/SHOT/COMP ASSET/VERSION_3/MAIN.exr"

    def test_when_version_is_missing_or_not_committed_then_it_says_so(self) -> None:
        for component, text in (
            (Described("FileComponent"), "belongs to no version"),
            (Described("FileComponent", container=make_sequence()), "belongs to no version"),
            (Described("FileComponent", version=Described("AssetVersion", link=None)), "Commit the version"),
            (Described("FileComponent", version=make_version("s", project="gone")), "project gone"),
        ):
            with pytest.raises(exception.StructureError, match=text):
                StandardStructure().get_resource_identifier(component)

    def test_when_entity_is_no_component_then_it_says_so(self) -> None:
        with pytest.raises(NotImplementedError, match=r"StandardStructure.*Task"):
            StandardStructure().get_resource_identifier(Described("Task"))


def test_when_origin_then_the_source_is_the_identifier() -> None:
    structure = OriginStructure()
    context = {"source_resource_identifier": "/a/b"}
    assert structure.get_resource_identifier(Described("FileComponent"), context) == "/a/b"
    with pytest.raises(ValueError, match="source_resource_identifier"):
        structure.get_resource_identifier(Described("FileComponent"))


def test_when_entity_id_then_the_id_is_the_identifier() -> None:
    assert EntityIdStructure().get_resource_identifier(Described("Task")) == ID


def test_when_transformer_is_plain_then_identifiers_stay() -> None:
    transformer = ResourceIdentifierTransformer(session=None)
    assert transformer.encode("a", context={}) == transformer.decode("a") == "a"
