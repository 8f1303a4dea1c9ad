// Uploads in one and in several parts, downloads, thumbnails.
import { randomBytes, randomUUID } from "node:crypto";
import "./browser.mjs";
import { assert, connect } from "./connect.mjs";

const session = connect();
await session.initializing;

async function upload(name, content) {
  const file = new File([content], name);
  let progress = 0;
  const results = await session.createComponent(file, { onProgress: (value) => (progress = value) });
  const component = results[0].data;
  assert.equal(results[0].action, "create");
  const answer = await fetch(session.getComponentUrl(component.id));
  assert.equal(answer.status, 200);
  assert.ok(Buffer.from(await answer.arrayBuffer()).equals(content));
  const row = (
    await session.query(
      `select name, file_type, size, component_locations.location.name from FileComponent where id is "${component.id}"`,
    )
  ).data[0];
  assert.equal(row.size, content.length);
  assert.deepEqual(row.component_locations.map((each) => each.location.name), ["ftrack.server"]);
  return row;
}

const small = await upload("note.txt", Buffer.from("hello"));
assert.equal(small.name, "note");
assert.equal(small.file_type, ".txt");
// More than two chunks of 8 MiB: uploaded in parts.
await upload("large.bin", randomBytes(20 * 1024 * 1024));

const picture = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAkCAIAAAC2bqvFAAAARklEQVR4nO3PMQ0AIADAMEAI/qUgCxEcDcmqYJtn7/GzpQNeNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oF19NwFMds8sdwAAAABJRU5ErkJggg==",
  "base64",
);
const component = await upload("picture.png", picture);
for (const url of [session.thumbnailUrl(component.id), session.thumbnailUrl(component.id, { size: 20 }), session.thumbnailUrl(null)]) {
  const answer = await fetch(url);
  assert.equal(answer.status, 200, url);
  assert.match(answer.headers.get("content-type"), /^image\//);
}
assert.ok((await fetch(session.getComponentUrl(randomUUID()))).status >= 400);
await session.delete("FileComponent", [component.id]);
