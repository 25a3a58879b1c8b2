import { createServer } from "../../lib/server/index.js";

/** The server without a model: multipart bodies are answered, but never by its own fault. */
export async function openServer() {
  const pipeline = {
    className: "StableDiffusionInstructPix2PixPipeline",
    run: async ({ image }: { image: unknown }) => ({ images: [image], seed: 0 }),
    dispose: () => {},
  };
  const { app, close } = await createServer({ models: { none: pipeline as never }, logLevel: "silent" });
  return {
    feed: async (input: Buffer) => {
      const headers = { host: "127.0.0.1:8080", "content-type": "multipart/form-data; boundary=B" };
      const answer = await app.inject({ method: "POST", url: "/edit", headers, payload: input });
      if (answer.statusCode === 500) throw new Error(`answered 500: ${answer.body}`);
      if (answer.statusCode !== 200 && typeof answer.json().error.code !== "string")
        throw new Error(`answered ${answer.statusCode} without a code: ${answer.body}`);
    },
    close,
  };
}
