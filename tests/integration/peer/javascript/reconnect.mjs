// The hub finds its connection again, with its subscriptions, after the server has dropped it.
import { randomUUID } from "node:crypto";
import { Event, assert, connect, until } from "./connect.mjs";

const mark = randomUUID();
const { FTRACK_SERVER, FTRACK_API_USER, FTRACK_API_KEY } = process.env;
const headers = { "ftrack-user": FTRACK_API_USER, "ftrack-api-key": FTRACK_API_KEY };
const ask = async (options = {}) => (await fetch(`${FTRACK_SERVER}/sandbox/faults`, { headers, ...options })).json();

const session = connect({ autoConnectEventHub: true });
await session.initializing;
await until(() => session.eventHub.isConnected(), "the hub to connect");
const received = [];
session.eventHub.subscribe(`topic=${mark}`, (event) => {
  received.push(event.data.number);
});
const subscriptions = async () => (await ask()).subscriptions;
await until(async () => (await subscriptions()) === 2, "the subscriptions");

for (const fault of ["drop_sockets", "restart_hub"]) {
  await ask({ method: "POST", body: JSON.stringify({ fault }) });
  await until(async () => (await subscriptions()) === 0, "the connection to be lost");
  await until(async () => (await subscriptions()) === 2, "the subscriptions to come back");
  await session.eventHub.publish(new Event(mark, { number: received.length }));
  const before = received.length;
  await until(() => received.length > before, "an event");
}
assert.deepEqual(received, [0, 1]);
process.exit(0);
