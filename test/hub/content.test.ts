import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDataset } from "../../lib/data/open-dataset.js";
import { pipelineFiles, useHub } from "./fixtures.js";
import { commit, type Fault, gitHash, sha256 } from "./server.js";

const hub = useHub();
const UNET = "unet/diffusion_pytorch_model.safetensors";
const CONFIG = "unet/config.json";
const BLOBS = "models--org--model/blobs";
const RIGHT: Record<string, Buffer> = { [UNET]: randomBytes(5000), [CONFIG]: Buffer.from('{"b":2}') };
const wrong = (name: string) => Buffer.alloc(RIGHT[name]!.length, "x");
const contentHash = (name: string) => (name === UNET ? sha256(RIGHT[name]!) : gitHash(RIGHT[name]!));

/** What an ETag may say, in the forms that hashes have and in others. */
const ETAGS = (name: string) => [
  `"${contentHash(name)}"`,
  `"${sha256(wrong(name))}"`,
  `"${gitHash(wrong(name))}"`,
  'W/"5f3b-18a"',
  '"d41d8cd98f00b204e9800998ecf8427e"',
  `"${contentHash(name).toUpperCase()}"`,
];

function repository(): void {
  hub.server.repositories.set("org/model", { files: { ...pipelineFiles(), ...RIGHT } });
}

/** Answers about a file with this ETag, and sends this content for it. */
function answering(name: string, etag: string, content: Buffer): Fault {
  return ({ path, method, range }, response) => {
    if (!path.includes("/resolve/") || !path.endsWith(name)) return undefined;
    const from = Number(/\d+/.exec(range ?? "0")![0]);
    const part = content.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      etag,
      "content-length": part.length,
      ...(from > 0 && { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` }),
    });
    response.end(method === "HEAD" ? undefined : part);
    return "handled";
  };
}

test.each([UNET, CONFIG])("%s is checked against the listing, not its ETag", async (name) => {
  for (const [i, etag] of ETAGS(name).entries()) {
    repository();
    const cacheDir = join(hub.scratch, String(i));
    const options = { cacheDir, allowPatterns: [name] };
    const blobs = join(cacheDir, BLOBS);

    hub.server.fault = answering(name, etag, wrong(name));
    await expect(hub.resolve("org/model", options), etag).rejects.toMatchObject({
      code: "ERR_HUB",
      message: expect.stringContaining("hash"),
    });
    expect(await readdir(blobs), etag).toEqual([]);

    // A beginning and a whole file that an earlier answer of that name left.
    const plain = etag.replace(/^W\/|"/g, "").replaceAll('"', "");
    for (const base of new Set([plain, contentHash(name)])) {
      await writeFile(join(blobs, `${base}.incomplete`), wrong(name).subarray(0, 3));
      await writeFile(join(blobs, base), wrong(name));
    }
    hub.server.fault = answering(name, etag, RIGHT[name]!);
    const folder = await hub.resolve("org/model", options);
    expect(RIGHT[name]!.equals(await readFile(join(folder, name))), etag).toBe(true);
    expect(RIGHT[name]!.equals(await readFile(join(blobs, contentHash(name)))), etag).toBe(true);

    // Correct cached files are not fetched again, for another commit or a lost link.
    await rm(folder, { recursive: true });
    hub.server.requests.length = 0;
    await hub.resolve("org/model", options);
    expect(hub.server.asked(/^GET .*resolve/), etag).toEqual([]);
  }
});

test("so is a file of a dataset", async () => {
  hub.server.repositories.set("org/data", { files: { "README.md": "# Data" } });
  const redirected = answering("README.md", '"mirror"', Buffer.from("# Evil"));
  hub.server.fault = (request, response) => {
    if (!request.path.startsWith("/datasets/")) return redirected(request, response);
    response.writeHead(307, { location: request.path.slice("/datasets".length) }).end();
    return "handled";
  };
  await expect(openDataset({ datasetName: "org/data", cacheDir: hub.cacheDir }, hub.env)).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringMatching(/README\.md.*hash/),
  });
});

test("two files with one ETag do not get each other's content", async () => {
  const names = ["scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"];
  const files: Record<string, string> = { [names[0]!]: "{ }", [names[1]!]: "{}\n" };
  hub.server.repositories.set("org/model", { files });
  const faults = names.map((name) => answering(name, '"the-same"', Buffer.from(files[name]!)));
  hub.server.fault = (request, response) =>
    faults.map((fault) => fault(request, response)).find((handled) => handled !== undefined);
  const folder = await hub.resolve("org/model", { allowPatterns: ["*"] });
  for (const name of names) expect(await readFile(join(folder, name), "utf8")).toBe(files[name]);
});

test("without hashes in the listing the ETag is checked; invalid hashes are refused", async () => {
  repository();
  const listed = (entry: object): Fault => {
    const resolve = answering(CONFIG, `"${gitHash(RIGHT[CONFIG]!)}"`, wrong(CONFIG));
    return (request, response) => {
      if (!request.path.includes("/tree/")) return resolve(request, response);
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify([{ type: "file", path: CONFIG, size: RIGHT[CONFIG]!.length, ...entry }]));
      return "handled";
    };
  };
  const options = { allowPatterns: [CONFIG] };
  hub.server.fault = listed({});
  await expect(hub.resolve("org/model", options)).rejects.toThrow(/hash that it states/);
  for (const oid of ["0", "main", `../${"0".repeat(37)}`, 7, `${"0".repeat(40)}\n`, {}]) {
    hub.server.fault = listed({ oid });
    await expect(hub.resolve("org/model", options), String(oid)).rejects.toThrow(/no usable hash of/);
    hub.server.fault = listed({ oid: "0".repeat(40), lfs: { oid, size: 1, pointerSize: 1 } });
    await expect(hub.resolve("org/model", options), String(oid)).rejects.toThrow(/no usable hash of/);
  }
});

test("a stored listing with invalid hashes is requested again", async () => {
  repository();
  const trees = join(hub.cacheDir, "models--org--model/trees");
  await mkdir(trees, { recursive: true });
  const entry = { size: 7, blob_id: "../../evil", lfs_sha256: null };
  await writeFile(join(trees, `${commit(0)}.json`), JSON.stringify({ format_version: 1, files: { [CONFIG]: entry } }));
  const folder = await hub.resolve("org/model", { allowPatterns: [CONFIG] });
  expect(await readFile(join(folder, CONFIG), "utf8")).toBe('{"b":2}');
  expect(hub.server.asked(/tree/).length).toBeGreaterThan(0);
});
