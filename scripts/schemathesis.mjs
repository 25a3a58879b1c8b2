// Has schemathesis (https://schemathesis.io) send what the server's OpenAPI document allows, and what it does not:
//
//   IP2P_SCHEMATHESIS=venv/bin/schemathesis node scripts/schemathesis.mjs [--examples 50] [--seed 1] [--seconds 600]
//
// The server runs in a process of its own with the built-in model, jobs and a folder of data sets. Exits with schemathesis's
// status: it fails for answers of 5xx, and those that the document does not have. /metrics is left out, whose format is
// not JSON, and the streams of events, which may last.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ServerProcess } from "../test/examples/server-process.mjs";

const { values } = parseArgs({
  options: {
    examples: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    seconds: { type: "string", default: "600" },
  },
});
const program = process.env.IP2P_SCHEMATHESIS ?? "schemathesis";
const folder = mkdtempSync(join(tmpdir(), "ip2p-schemathesis-"));
const server = await ServerProcess.start({
  ...{ places: 1000, places_per_client: 1000, max_steps: 2, max_images: 2, max_pixels: 10_000 },
  ...{ jobs_dir: folder, train_dir: fileURLToPath(new URL("../test/fixtures/script-full", import.meta.url)) },
});
try {
  const options = ["--max-examples", values.examples, "--seed", values.seed, "--no-color"];
  const limits = ["--request-timeout", "60", "--max-time", values.seconds, "--continue-on-failure"];
  const checks = ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"];
  const excluded = ["--exclude-path", "/metrics", "--exclude-path-regex", "/events$"];
  const child = spawn(program, ["run", `${server.url}/openapi.json`, ...options, ...limits, ...checks, ...excluded], {
    stdio: "inherit",
    cwd: folder,
  });
  const [status] = await once(child, "close");
  process.exitCode = status ?? 1;
  const errors = server.log.split("\n").filter((line) => /"level":(5|6)0/.test(line));
  for (const line of errors.slice(0, 20)) console.error(line);
  if (errors.length > 0) process.exitCode = 1;
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
