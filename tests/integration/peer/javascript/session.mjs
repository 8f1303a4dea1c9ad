// Sessions, queries, changes and errors.
import { randomUUID } from "node:crypto";
import { assert, connect, error, operation } from "./connect.mjs";

const session = connect({ serverInformationValues: ["version", "schema_hash"] });
await session.initializing;
assert.ok(session.serverVersion);
assert.ok(session.schemas.length >= 130);
assert.deepEqual(session.getPrimaryKeyAttributes("Metadata"), ["parent_id", "key"]);

const name = `peer_${randomUUID()}`;
const schema = (await session.query("select id from ProjectSchema limit 1")).data[0];
const project = { id: randomUUID(), name, full_name: name, project_schema_id: schema.id };
assert.equal((await session.create("Project", project)).data.name, name);

// A batch: later operations see earlier ones.
const folderId = randomUUID();
const taskIds = [randomUUID(), randomUUID()];
const taskNames = ["task alpha", "task omega"];
const results = await session.call([
  operation.create("Folder", { id: folderId, name: "folder", parent_id: project.id }),
  ...taskIds.map((id, index) => operation.create("Task", { id, name: taskNames[index], parent_id: folderId })),
  operation.query(`select name, parent.name, status.state.short from Task where parent_id is "${folderId}" order by name`),
]);
assert.deepEqual(results.map((result) => result.action), ["create", "create", "create", "query"]);
assert.deepEqual(results[3].data.map((task) => task.name), taskNames);
assert.equal(results[3].data[1].parent.name, "folder");
assert.equal(results[3].data[1].status.state.short, results[3].data[0].status.state.short);

// Bare text keys, dates in text, decoding.
const updated = await session.update("Task", taskIds[0], {
  start_date: "2022-10-10T10:12:09.123Z",
  description: "2022-10-10T10:12:09Z",
});
assert.equal(updated.action, "update");
const task = (await session.query(`select start_date, description from Task where id is "${taskIds[0]}"`)).data[0];
assert.equal(task.start_date.toISOString(), "2022-10-10T10:12:09.000Z");
assert.match(task.description, /^2022-10-10T10:12:09/);
const plain = (
  await session.query(`select start_date from Task where id is "${taskIds[0]}"`, { decodeDatesAsIso: true })
).data[0];
assert.equal(new Date(plain.start_date).toISOString(), "2022-10-10T10:12:09.000Z");

// The serialisable form repeats entities instead of referring to them.
const repeated = await session.query(`select parent.name from Task where parent_id is "${folderId}"`, {
  ensureSerializableResponse: true,
});
assert.deepEqual(repeated.data.map((each) => each.parent.name), ["folder", "folder"]);

// Paging.
const page = await session.query(`select id from Task where parent_id is "${folderId}" order by name limit 1`);
assert.equal(page.metadata.next.offset, 1);

const found = await session.search({
  expression: "select name from Task",
  entityType: "Task",
  terms: ["Task omega"],
  contextId: project.id,
});
assert.deepEqual(found.data.map((each) => each.id), [taskIds[1]]);

const ensured = await session.ensure("Type", { name: `type ${name}` }, ["name"]);
assert.equal((await session.ensure("Type", { name: `type ${name}` }, ["name"])).id, ensured.id);

// Errors.
await assert.rejects(session.query("select nonsense from Task"), (problem) => problem.message.includes("nonsense"));
await assert.rejects(session.create("Task", { name: "x", parent_id: "no such parent" }), error.ServerError);
for (const strictApi of [false, true]) {
  await assert.rejects(connect({ apiKey: "wrong", strictApi }).initializing, (problem) => {
    assert.equal(problem.errorCode, "api_credentials_invalid");
    return true;
  });
}
await assert.rejects(
  connect({ strictApi: true }).create("Task", { id: 5, name: ["no", "name"] }),
  (problem) => problem instanceof error.ServerValidationError,
);

assert.deepEqual((await session.delete("Task", [taskIds[1]])).data, true);
assert.deepEqual((await session.delete("Project", project.id)).data, true);
assert.equal((await session.query(`select id from Task where id is "${taskIds[0]}"`)).data.length, 0);
