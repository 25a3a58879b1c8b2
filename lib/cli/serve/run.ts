import { once } from "node:events";
import { InstructPix2PixError } from "../../core/errors.js";
import { camelCase } from "../../options/names.js";
import { native } from "../../runtime/native.js";
import type { ServerOptions } from "../../server/options.js";
import { serverOptions } from "../../server/options.js";
import type { CommandIo } from "../command.js";
import { servedLoras, servedModels } from "./models.js";
import type { ServeValues } from "./options.js";

/** Runs `ip2p serve` until a signal: then requests in progress are finished. */
export async function runServe(values: ServeValues, { stderr, signal }: CommandIo): Promise<number> {
  const { createServer } = await importServer();
  if (values.numThreads !== undefined) await native().setThreads(values.numThreads);
  if (values.model === undefined)
    stderr.write(
      "ip2p: no --model is given: the small built-in ones are served, photos, and world for drawings of shapes\n",
    );
  const names = Object.keys(serverOptions).map(camelCase) as (keyof ServeValues)[];
  const options = Object.fromEntries(names.map((name) => [name, values[name]])) as ServerOptions;
  await using server = await createServer({ ...options, models: servedModels(values), loras: servedLoras(values) });
  if (signal?.aborted) return 0;
  const url = await server.listen();
  stderr.write(`ip2p: serving at ${url}\n`);
  if (signal && !signal.aborted) {
    await once(signal, "abort");
    stderr.write("ip2p: stopping when the requests in progress have ended; a second signal stops at once\n");
  }
  if (!signal) await once(server.app.server, "close");
  return 0;
}

/** The server's libraries are optional: a program that only computes does not need them. */
async function importServer(): Promise<typeof import("../../server/index.js")> {
  try {
    return await import("../../server/index.js");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new InstructPix2PixError(
      "ERR_CONFIG",
      "ip2p serve needs libraries that are not installed: run `npm install fastify @fastify/multipart prom-client`",
      { cause },
    );
  }
}
