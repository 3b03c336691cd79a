// @ts-check
/**
 * `client.js` with node's own WebSocket, driven from outside: a JSON object on each line of standard input says what to do,
 * each line of standard output tells what was heard. Waiting is sped up, so that what takes 30 s in a browser is tested.
 *
 *     node --experimental-websocket tests/js/drive_client.js ADDRESS SPEED
 */

import { createInterface } from "node:readline";

import { Client } from "../../static/client.js";

const [url, speed] = process.argv.slice(2);
const tell = (heard, detail) => process.stdout.write(`${JSON.stringify({ heard, detail })}\n`);

const client = new Client({
  url,
  hello: () => ({ token: "secret" }),
  storage: null,
  storageKey: "chatd",
  environment: {
    WebSocket,
    Date,
    setTimeout: (run, ms) => setTimeout(run, ms / Number(speed)),
    clearTimeout,
    Math: { random: () => Math.random() / 10 }, // the delays grow as they do in a browser, only not as far
  },
});
for (const name of ["welcome", "event", "signal", "refused"]) {
  client.addEventListener(name, (event) => tell(name, /** @type {CustomEvent} */ (event).detail));
}
client.addEventListener("pending", () => tell("pending", client.pending));
client.addEventListener("status", () => {
  const { status, endedCode, retryAt } = client;
  tell("status", { status, endedCode, wait: retryAt - Date.now() });
});

for await (const line of createInterface({ input: process.stdin })) {
  const { call, type, fields } = JSON.parse(line);
  const answer = client[call](type, fields);
  if (call === "send" || call === "ask") {
    answer.then(
      (result) => tell("answer", { type, result }),
      (error) => tell("answer", { type, code: error.code }),
    );
  }
}
process.exit();
