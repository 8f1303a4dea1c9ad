// The event hub: subscriptions, actions, replies, updates.
import { randomUUID } from "node:crypto";
import { Event, assert, connect, until } from "./connect.mjs";

const mark = randomUUID();
const [listener, asker] = [connect({ autoConnectEventHub: true }), connect({ autoConnectEventHub: true })];
await Promise.all([listener.initializing, asker.initializing]);
await until(() => listener.eventHub.isConnected() && asker.eventHub.isConnected(), "the hubs to connect");

const received = [];
const updates = [];
listener.eventHub.subscribe(`topic=peer.${mark}`, (event) => {
  received.push(event.data.number);
});
listener.eventHub.subscribe("topic=ftrack.update", (event) => {
  updates.push(event);
});
listener.eventHub.subscribe("topic=ftrack.action.launch", (event) =>
  event.data.actionIdentifier === mark ? { success: true, message: event.source.user.id } : null,
);
// An event to itself comes back only after the subscriptions before it are in force.
let ready = false;
listener.eventHub.subscribe(`topic=ready.${mark}`, () => {
  ready = true;
});
await listener.eventHub.publish(new Event(`ready.${mark}`, {}));
await until(() => ready, "the subscriptions");

for (let number = 0; number < 20; number += 1) {
  await asker.eventHub.publish(new Event(`peer.${mark}`, { number, text: "ü\u{1f600}" }));
}
await until(() => received.length >= 20, "twenty events");
assert.deepEqual(received, [...Array(20).keys()]);

const reply = await asker.eventHub.publishAndWaitForReply(
  new Event("ftrack.action.launch", { actionIdentifier: mark, selection: [] }),
  { timeout: 5 },
);
const user = (await asker.query(`select id from User where username is "${asker.apiUser}"`)).data[0];
assert.deepEqual(reply.data, { success: true, message: user.id });

const schema = (await asker.query("select id from ProjectSchema limit 1")).data[0];
const project = { id: randomUUID(), name: mark, full_name: mark, project_schema_id: schema.id };
await asker.create("Project", project, { pushToken: "push-1" });
const announced = () => updates.find((event) => event.data.entities.some((entity) => entity.entityId === project.id));
await until(announced, "the update");
const update = announced();
assert.equal(update.data.clientToken, asker.clientToken);
assert.equal(update.data.pushToken, "push-1");
assert.equal(update.data.entities[0].entityType, "show");
assert.equal(update.data.user.userid, user.id);
await asker.delete("Project", [project.id]);

listener.eventHub.disconnect();
asker.eventHub.disconnect();
process.exit(0);
