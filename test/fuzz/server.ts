import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { installExample } from "../examples/server-process.mjs";

/** The example server without a model: multipart bodies are answered, but never by its own fault. */
export async function openServer() {
  const folder = await mkdtemp(join(tmpdir(), "ip2p-fuzz-server-"));
  installExample(folder);
  process.env.LOG_LEVEL = "silent";
  const load = (name: string) => import(/* @vite-ignore */ pathToFileURL(join(folder, name)).href);
  const [{ createApp }, { createAccess }, { readSettings }] = await Promise.all(
    ["app.js", "access.js", "settings.js"].map(load),
  );
  const settings = readSettings([], {});
  const run = async ({ image }: { image: unknown }) => ({ images: [image], seed: 0 });
  const { app, stop } = createApp({ run }, settings, createAccess(settings));
  return {
    feed: async (input: Buffer) => {
      const headers = { host: "127.0.0.1:8080", "content-type": "multipart/form-data; boundary=B" };
      const answer = await app.inject({ method: "POST", url: "/edit", headers, payload: input });
      if (answer.statusCode === 500) throw new Error(`answered 500: ${answer.body}`);
      if (answer.statusCode !== 200 && typeof answer.json().code !== "string")
        throw new Error(`answered ${answer.statusCode} without a code: ${answer.body}`);
    },
    close: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
