// Edits images over HTTP with express:
//
//   npm start
//   curl --data-binary @photo.jpg --header "content-type: image/jpeg" \
//     --output winter.png "http://127.0.0.1:8080/edit?prompt=make+it+winter"
//
// MODEL names the model, PORT the port. For limits per client, metrics and a graceful stop see examples/server.

import express from "express";
import { builtInModel, InstructPix2PixPipeline, isInstructPix2PixError } from "instruct-pix2pix";

/** Requests that may wait or be computed at a time. A device computes one step at a time, so more would only wait longer. */
const PLACES = 8;
/** The longest that a request may take, in milliseconds. */
const TIMEOUT = 120_000;

/** The client's faults by the package's codes. All other errors are the server's. */
const STATUSES = new Map([
  ["ERR_INVALID_ARGUMENT", 400],
  ["ERR_IMAGE", 422],
]);

const pipe = await InstructPix2PixPipeline.fromPretrained(process.env.MODEL ?? builtInModel);
let taken = 0;

const app = express();
app.get("/health", (_request, response) => {
  response.json({ status: "ok" });
});

app.post("/edit", express.raw({ type: "image/*", limit: "10mb" }), async (request, response) => {
  const { prompt } = request.query;
  if (typeof prompt !== "string" || prompt === "" || !Buffer.isBuffer(request.body)) {
    response.status(400).json({ code: "ERR_REQUEST", message: "send an image as the body, and ?prompt=" });
    return;
  }
  if (taken >= PLACES) {
    response.status(503).set("retry-after", "10").json({ code: "ERR_BUSY", message: "no place is free" });
    return;
  }
  taken++;
  // The run stops within a step when the client goes away, and when the time is over.
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  try {
    const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(TIMEOUT)]);
    const { images } = await pipe.run({ image: request.body, prompt, numInferenceSteps: 20, signal });
    response.type("png").send(await images[0]?.encode("png"));
  } finally {
    taken--;
  }
});

/** @type {import("express").ErrorRequestHandler} */
const answerError = (error, _request, response, next) => {
  if (response.headersSent || response.destroyed) {
    next(error);
    return;
  }
  const known = isInstructPix2PixError(error) ? error : undefined;
  if (known?.code === "ERR_ABORTED") {
    // The client is gone, and reads nothing, or the time is over.
    response.status(504).json({ code: "ERR_TIMEOUT", message: "the edit took too long" });
    return;
  }
  const status = STATUSES.get(known?.code ?? "") ?? Math.min(error.status, 500);
  if (status === 500) console.error(error);
  // Messages about the server may name its files; they are for its log.
  const message = status === 500 ? "the edit failed" : error.message;
  response.status(status).json({ code: known?.code ?? "ERR_REQUEST", message });
};
app.use(answerError);

const server = app.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  const address = server.address();
  console.log(`listening on ${typeof address === "object" ? address?.port : address}`);
});
