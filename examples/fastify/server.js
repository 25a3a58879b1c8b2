// Edits images over HTTP with fastify:
//
//   npm start
//   curl --data-binary @photo.jpg --header "content-type: image/jpeg" \
//     --output winter.png "http://127.0.0.1:8080/edit?prompt=make+it+winter"
//
// MODEL names the model, PORT the port. For limits per client, metrics and a graceful stop see examples/server.

import fastify from "fastify";
import { builtInModel, InstructPix2PixPipeline, isInstructPix2PixError } from "instruct-pix2pix";

/** Requests that may wait or be computed at a time. A device computes one step at a time, so more would only wait longer. */
const PLACES = 8;
/** The longest that a request may take, in milliseconds. */
const TIMEOUT = 120_000;

/** The client's faults by the package's codes. All other errors are the server's. */
const STATUSES = new Map([
  ["ERR_INVALID_ARGUMENT", 400],
  ["ERR_IMAGE", 422],
  ["ERR_ABORTED", 504],
]);

const pipe = await InstructPix2PixPipeline.fromPretrained(process.env.MODEL ?? builtInModel);
let taken = 0;

const app = fastify({ bodyLimit: 10 * 1024 * 1024 });
app.addContentTypeParser(/^image\//, { parseAs: "buffer" }, (_request, body, done) => done(null, body));

app.get("/health", async () => ({ status: "ok" }));

app.post(
  "/edit",
  {
    schema: {
      querystring: {
        type: "object",
        required: ["prompt"],
        properties: { prompt: { type: "string", minLength: 1, maxLength: 1000 } },
      },
    },
  },
  async (request, reply) => {
    const { prompt } = /** @type {{ prompt: string }} */ (request.query);
    if (!Buffer.isBuffer(request.body)) return reply.code(415).send({ message: "send an image as the body" });
    if (taken >= PLACES) return reply.code(503).header("retry-after", "10").send({ message: "no place is free" });
    taken++;
    // The run stops within a step when the client goes away, and when the time is over.
    const gone = new AbortController();
    reply.raw.on("close", () => gone.abort());
    try {
      const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(TIMEOUT)]);
      const { images } = await pipe.run({ image: request.body, prompt, numInferenceSteps: 20, signal });
      return reply.type("image/png").send(await images[0]?.encode("png"));
    } finally {
      taken--;
    }
  },
);

app.setErrorHandler((error, _request, reply) => {
  const known = isInstructPix2PixError(error) ? error : undefined;
  const { statusCode, message } = /** @type {import("fastify").FastifyError} */ (error);
  const status = STATUSES.get(known?.code ?? "") ?? (statusCode !== undefined && statusCode < 500 ? statusCode : 500);
  if (status === 500) console.error(error);
  // Messages about the server may name its files; they are for its log.
  reply
    .code(status)
    .send({ code: known?.code ?? "ERR_REQUEST", message: status === 500 ? "the edit failed" : message });
});

const address = await app.listen({ port: Number(process.env.PORT ?? 8080), host: "127.0.0.1" });
console.log(`listening on ${new URL(address).port}`);
