// Verifies a message with the package standardwebhooks of npm, and prints "verified" or why not.
// Reads a line of JSON: {"secret", "headers", "body"}.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { Webhook } = createRequire(process.argv[2] + "/")("standardwebhooks");
const { secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
try {
  new Webhook(secret).verify(body, headers);
  console.log("verified");
} catch (error) {
  console.log(String(error));
}
