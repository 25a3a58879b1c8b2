import { defineCommand } from "./command.js";
import { checkServeValues } from "./serve/models.js";
import { serveOptions } from "./serve/options.js";

/** `ip2p serve`: serves images over HTTP. */
export const serveCommand = defineCommand({
  name: "serve",
  summary: "serve images over HTTP, by OpenAI's API",
  description: [
    "Its routes are those of OpenAI's API for images (/v1/images/edits, /v1/images/generations, /v1/models), /edit, which answers with the image itself, /health/live, /health/ready, and /metrics. It needs fastify, @fastify/multipart and prom-client, which are installed beside this package.",
  ],
  options: serveOptions,
  check: checkServeValues,
  examples: [
    "ip2p serve",
    "ip2p serve --model edit=timbrooks/instruct-pix2pix --model paint=./base --dtype auto",
    "ip2p serve --model timbrooks/instruct-pix2pix --host 0.0.0.0 --api_keys_file keys.txt",
  ],
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./serve/run.js")).runServe(values, io),
});
