// What is left of the surface: schemas, workflows, unsubscribing, timeouts, replies by hand.
import { randomUUID } from "node:crypto";
import { Event, assert, connect, error, expression, operation, projectSchema, until } from "./connect.mjs";

const session = connect({ autoConnectEventHub: true });
await session.initializing;
const name = `peer_${randomUUID()}`;

// Server information and schemas.
const information = await session.getServerInformation();
assert.equal(await session.getServerVersion(), information.version);
const schemas = await session.getSchemas();
assert.equal(schemas.length, session.schemas.length);
assert.equal(session.getSchema("Task").id, "Task");
const status = (await session.query("select name from Status where name is 'In progress'")).data[0];
assert.ok(session.getIdentifyingKey(status).includes(status.id));

// The workflow of a project.
const schema = (await session.query("select id from ProjectSchema where name is_not '' limit 1")).data[0];
const project = { id: randomUUID(), name, full_name: name, project_schema_id: schema.id };
await session.create("Project", project);
const task = { id: randomUUID(), name: "t", parent_id: project.id };
await session.create("Task", task);
const statuses = await projectSchema.getStatuses(session, schema.id, "Task");
assert.ok(statuses.length > 1 && statuses.every((each) => each.name), JSON.stringify(statuses));
for (const kind of ["Shot", "AssetVersion"]) assert.ok((await projectSchema.getStatuses(session, schema.id, kind)).length);

// Values are quoted and escaped by the client's own tag.
const odd = `it's "odd" \\ %`;
await session.update("Task", [task.id], { description: odd });
const found = await session.query(expression`select description from Task where description is "${odd}"`);
assert.equal(found.data[0]?.description, odd);

// Raw calls: results in the order of the operations, one failing operation takes the others back.
await assert.rejects(
  session.call([operation.update("Task", [task.id], { name: "kept?" }), operation.delete("Task", [randomUUID()])]),
  error.ServerError,
);
assert.equal((await session.query(`select name from Task where id is "${task.id}"`)).data[0].name, "t");
const [deleted, searched] = await session.call([
  operation.delete("Task", [task.id]),
  operation.search({ expression: "select name from Project", entityType: "Project", terms: [name] }),
]);
assert.equal(deleted.data, true);
assert.deepEqual(searched.data.map((each) => each.id), [project.id]);

// A request that is given up.
const controller = new AbortController();
const pending = session.query("select name from Task", { abortController: controller });
controller.abort();
await assert.rejects(pending, /aborted/);

// Subscriptions that end, replies by hand and the one that never comes.
const hub = session.eventHub;
await until(() => hub.isConnected(), "the hub to connect");
const topic = `peer.${name}`;
const seen = [];
const subscriber = hub.subscribe(`topic=${topic}`, (event) => { seen.push(event.data.number); });
assert.equal(hub.getSubscriberByIdentifier(subscriber).metadata.id, subscriber);
await hub.publish(new Event(topic, { number: 1 }));
await until(() => seen.length === 1, "the first event");
hub.unsubscribe(subscriber);
hub.subscribe(`topic=${topic}.second`, (event) => { hub.publishReply(event, { by: "hand" }, {}); });
await hub.publish(new Event(topic, { number: 2 }));
const reply = await hub.publishAndWaitForReply(new Event(`${topic}.second`, {}), { timeout: 5 });
assert.deepEqual(reply.data, { by: "hand" });
assert.deepEqual(seen, [1]);
await assert.rejects(hub.publishAndWaitForReply(new Event(`${topic}.nobody`, {}), { timeout: 0.2 }), error.EventServerReplyTimeoutError);
assert.throws(() => { hub.subscribe(`topic=${topic}`, () => {}, { id: "twice" }); hub.subscribe(`topic=${topic}`, () => {}, { id: "twice" }); }, error.NotUniqueError);

await session.delete("Project", [project.id]);
hub.disconnect();
process.exit(0);
