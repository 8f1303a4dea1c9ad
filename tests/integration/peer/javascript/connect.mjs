import assert from "node:assert/strict";

const { FTRACK_SERVER, FTRACK_API_USER, FTRACK_API_KEY, PEER_MODULE } = process.env;

export const { Session, Event, EventHub, operation, error, expression, projectSchema } = await import(PEER_MODULE);

export function connect(options = {}) {
  return new Session(FTRACK_SERVER, FTRACK_API_USER, options.apiKey ?? FTRACK_API_KEY, {
    autoConnectEventHub: false,
    ...options,
  });
}

export async function until(condition, what, seconds = 10) {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `Waited in vain for ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export { assert };
