"""Any sequence of creates, moves, conversions and deletions leaves a tree that agrees with itself."""

import json
import tempfile

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ftrackd.sandbox.errors import RequestError, ValidationError
from ftrackd.sandbox.seeds.client_suites import USER
from ftrackd.sandbox.store import Actor

from ..prepared_database import prepared_store

ACTOR = Actor(USER, "demo", "Demo User")
TYPES = st.sampled_from(["Folder", "Sequence", "Shot", "Task"])


class TreeMachine(RuleBasedStateMachine):
    """Compares the store with a plain model: id -> (type, parent id)."""

    contexts = Bundle("contexts")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = prepared_store(self.folder.name)
        with self.store.transaction(ACTOR) as transaction:
            for (project,) in self._rows("SELECT id FROM context WHERE context_type = 'show'"):
                transaction.delete("Project", project)
        self.model = {}
        self.logged = self._rows("SELECT max(id) FROM event")[0][0]
        self.announced = []

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    def _rows(self, text):
        with self.store.reader() as connection:
            return [tuple(row) for row in connection.execute(sa.text(text))]

    def _below(self, context_id):
        found = {context_id}
        while True:
            more = {child for child, (_, parent) in self.model.items() if parent in found} - found
            if not more:
                return found
            found |= more

    def _do(self, act):
        with self.store.transaction(ACTOR) as transaction:
            result = act(transaction)
        self.announced.extend(change.to_payload() for change in transaction.changes)
        return result

    @rule(target=contexts)
    def create_project(self):
        (made,) = self._do(
            lambda transaction: transaction.create("Project", {"name": f"p{len(self.announced)}"})
        )
        self.model[made] = ("Project", None)
        return made

    @rule(target=contexts, parent=contexts, kind=TYPES)
    def create_context(self, parent, kind):
        if parent not in self.model:
            return parent
        (made,) = self._do(lambda transaction: transaction.create(kind, {"name": "c", "parent_id": parent}))
        self.model[made] = (kind, parent)
        return made

    @rule(moved=contexts, parent=contexts)
    def move(self, moved, parent):
        if moved not in self.model or parent not in self.model:
            return
        kind, _ = self.model[moved]
        try:
            self._do(lambda transaction: transaction.update(kind, moved, {"parent_id": parent}))
        except ValidationError:
            assert kind == "Project" or parent in self._below(moved)
        else:
            assert kind != "Project" and parent not in self._below(moved)
            self.model[moved] = (kind, parent)

    @rule(converted=contexts, kind=TYPES)
    def convert(self, converted, kind):
        if converted not in self.model or self.model[converted][0] == "Project":
            return
        old, parent = self.model[converted]
        self._do(lambda transaction: transaction.convert(old, converted, kind))
        self.model[converted] = (kind, parent)

    @rule(deleted=consumes(contexts))
    def delete(self, deleted):
        if deleted not in self.model:
            return
        kind, _ = self.model[deleted]
        self._do(lambda transaction: transaction.delete(kind, deleted))
        for gone in self._below(deleted):
            del self.model[gone]

    @rule(parent=contexts, kind=TYPES)
    def fail_in_the_middle(self, parent, kind):
        if parent not in self.model:
            return
        try:
            with self.store.transaction(ACTOR) as transaction:
                transaction.create(kind, {"name": "c", "parent_id": parent})
                if self.model[parent][0] != "Project":
                    transaction.delete(self.model[parent][0], parent)
                transaction.create(kind, {"name": "c", "parent_id": "nowhere"})
        except RequestError:
            return
        raise AssertionError("A parent that does not exist was taken.")

    @invariant()
    def rows_are_those_of_the_model(self):
        kinds = {}
        for context_id, context_type, object_type_id, parent_id in self._rows(
            "SELECT id, context_type, object_type_id, parent_id FROM context"
        ):
            root = self.store.schema["Context"]
            kinds[context_id] = (
                self.store.schema.concrete_type(root, (context_type, object_type_id)),
                parent_id,
            )
        assert kinds == self.model

    @invariant()
    def lineage_and_projects_follow_the_parents(self):
        expected, projects = set(), {}
        for context_id in self.model:
            current, depth = context_id, 0
            while current is not None:
                expected.add((context_id, current, "ancestor" if depth else "self", depth))
                projects[context_id] = current
                current, depth = self.model[current][1], depth + 1
        found = self._rows("SELECT context_id, ancestor_id, relation, depth FROM lineage")
        assert set(found) == expected and len(found) == len(expected)
        assert dict(self._rows("SELECT id, project_id FROM context")) == projects

    @invariant()
    def what_was_announced_is_what_was_logged(self):
        rows = self._rows(f"SELECT data FROM event WHERE id > {self.logged} ORDER BY id")
        assert [json.loads(data)["entity"] for (data,) in rows] == self.announced


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=10, stateful_step_count=15)
