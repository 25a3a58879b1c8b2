import { mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { filesBelow, NEEDED, pipelineFiles, useHub } from "./fixtures.js";
import { commit, gitHash, sha256 } from "./server.js";

const hub = useHub();

test("a local folder is returned as it is, without a request", async () => {
  const folder = join(hub.scratch, "model");
  await mkdir(join(folder, "unet"), { recursive: true });
  expect(await hub.resolve(folder)).toBe(folder);
  expect(await hub.resolve(`${folder}/`)).toBe(`${folder}/`);
  expect(await hub.resolve(folder, { subfolder: "unet" })).toBe(join(folder, "unet"));
  expect(hub.server.requests).toEqual([]);
});

test("a folder that exists wins over a repository of that name", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  await mkdir(join(hub.scratch, "org/model"), { recursive: true });
  const before = process.cwd();
  process.chdir(hub.scratch);
  try {
    expect(await hub.resolve("org/model")).toBe("org/model");
  } finally {
    process.chdir(before);
  }
  expect(hub.server.requests).toEqual([]);
});

test("a path that does not exist is ERR_FILE_NOT_FOUND and never a request", async () => {
  const file = join(hub.scratch, "file");
  await mkdir(hub.scratch, { recursive: true });
  await writeFile(file, "");
  const paths = [
    "./model",
    "../model",
    "/nowhere/model",
    "~/model",
    "a/b/c",
    "model/",
    "a//b",
    "C:\\models\\x",
    "C:/models",
    "\\\\host\\share",
    "a\\b",
    "./org/model",
    "org/..",
    "a--b/c",
    "model.safetensors",
    "models/v1.ckpt",
    "my model",
    "modèle",
    "http://localhost/org/model",
    file,
    join(file, "below"),
  ];
  for (const path of paths)
    await expect(hub.resolve(path), path).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: expect.stringContaining(path),
    });
  expect(hub.server.requests).toEqual([]);
});

test("a mistyped folder is named as such before the hub's failure, with a similar one", async () => {
  await mkdir(join(hub.scratch, "models", "my-model"), { recursive: true });
  await mkdir(join(hub.scratch, "winter"), { recursive: true });
  const mistyped = join(hub.scratch, "models", "my-modle");
  await expect(hub.resolve(mistyped)).rejects.toMatchObject({
    code: "ERR_FILE_NOT_FOUND",
    message: `${mistyped}: no such folder (nor can it be the id of a model on the Hugging Face hub) (did you mean ${JSON.stringify(join(hub.scratch, "models", "my-model"))}?)`,
  });
  const before = process.cwd();
  process.chdir(hub.scratch);
  try {
    const id = (text: string) => `"${text}": no such folder`;
    const hubSays = "; as the id of a repository on the Hugging Face hub: ";
    const unreachable = { HF_ENDPOINT: "http://127.0.0.1:9", HF_HOME: hub.scratch };
    for (const [given, near, more, options] of [
      ["models/my-modle", "models/my-model", {}, {}],
      ["wintr", "winter", unreachable, { retries: 0 }],
      ["models/my-modle", "models/my-model", { HF_HUB_OFFLINE: "1" }, {}],
    ] as const)
      await expect(hub.resolve(given, options, more)).rejects.toMatchObject({
        code: "ERR_HUB",
        message: expect.stringContaining(`${id(given)} (did you mean ${JSON.stringify(near)}?)${hubSays}`),
      });
    await expect(hub.resolve("some/thing-else")).rejects.toMatchObject({
      message: expect.stringContaining(`${id("some/thing-else")}${hubSays}`),
    });
  } finally {
    process.chdir(before);
  }
});

test("of a pipeline exactly the files that it needs are downloaded", async () => {
  const files = pipelineFiles();
  hub.server.repositories.set("org/model", { files });
  const folder = await hub.resolve("org/model");
  expect(await filesBelow(folder)).toEqual(NEEDED);
  for (const name of NEEDED) expect(await readFile(join(folder, name))).toEqual(Buffer.from(files[name]!));
  expect(hub.server.asked(/\.(?:bin|ckpt)|safety|README|feature/)).toEqual([]);
});

test("the cache is laid out as huggingface_hub lays it out", async () => {
  const files = pipelineFiles();
  hub.server.repositories.set("org/model", { files });
  const folder = await hub.resolve("org/model");
  const repository = join(hub.cacheDir, "models--org--model");
  expect(folder).toBe(join(repository, "snapshots", commit(0)));
  expect(await readFile(join(repository, "refs/main"), "utf8")).toBe(commit(0));
  const unet = Buffer.from(files["unet/diffusion_pytorch_model.safetensors"]!);
  expect(await readlink(join(folder, "unet/diffusion_pytorch_model.safetensors"))).toBe(
    `../../../blobs/${sha256(unet)}`,
  );
  expect(await readlink(join(folder, "model_index.json"))).toBe(
    `../../blobs/${gitHash(Buffer.from(files["model_index.json"]!))}`,
  );
  expect(await readFile(join(repository, "blobs", sha256(unet)))).toEqual(unet);
  expect((await readdir(repository)).sort()).toEqual(["blobs", "refs", "snapshots"]);
  const expected = new Set(
    NEEDED.map((name) => {
      const content = Buffer.from(files[name]!);
      return name.endsWith(".safetensors") ? sha256(content) : gitHash(content);
    }),
  );
  expect((await readdir(join(repository, "blobs"))).sort()).toEqual([...expected].sort());
});

test("a second call downloads nothing; a new commit downloads what changed", async () => {
  const files = pipelineFiles();
  const repository = { files, revisions: { main: commit(0) } };
  hub.server.repositories.set("org/model", repository);
  const first = await hub.resolve("org/model");
  hub.server.requests.length = 0;
  expect(await hub.resolve("org/model")).toBe(first);
  expect(hub.server.asked(/resolve/)).toEqual([]);

  repository.files = { ...files, "scheduler/scheduler_config.json": '{"changed":true}' };
  repository.revisions = { main: commit(1) };
  hub.server.requests.length = 0;
  const second = await hub.resolve("org/model");
  expect(second).not.toBe(first);
  expect(await filesBelow(second)).toEqual(NEEDED);
  expect(hub.server.asked(/^GET .*resolve/)).toEqual([
    `GET /org/model/resolve/${commit(1)}/scheduler/scheduler_config.json`,
  ]);
  expect(await readFile(join(hub.cacheDir, "models--org--model/refs/main"), "utf8")).toBe(commit(1));
});

test("branches, tags, commits and pull requests are revisions", async () => {
  const revisions = { main: commit(0), "v1.0": commit(1), "refs/pr/7": commit(2), "feature/x": commit(3) };
  hub.server.repositories.set("org/model", { files: pipelineFiles(), revisions });
  for (const [revision, expected] of Object.entries({ ...revisions, [commit(2)]: commit(2) })) {
    const folder = await hub.resolve("org/model", { revision });
    expect(folder).toBe(join(hub.cacheDir, "models--org--model/snapshots", expected));
  }
  const refs = await filesBelow(join(hub.cacheDir, "models--org--model/refs"));
  expect(refs).toEqual(["feature/x", "main", "refs/pr/7", "v1.0"]);
});

test("offline, cached files are found and missing ones named", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  const folder = await hub.resolve("org/model");
  hub.server.requests.length = 0;
  expect(await hub.resolve("org/model", { localFilesOnly: true })).toBe(folder);
  expect(await hub.resolve("org/model", {}, { HF_HUB_OFFLINE: "1" })).toBe(folder);
  expect(await hub.resolve("org/model", { revision: commit(0) }, { HF_HUB_OFFLINE: "yes" })).toBe(folder);
  for (const [id, revision] of [
    ["org/other", "main"],
    ["org/model", "v2"],
    ["org/model", commit(5)],
  ] as const)
    await expect(hub.resolve(id, { revision, localFilesOnly: true })).rejects.toMatchObject({
      code: "ERR_HUB",
      message: expect.stringContaining(`${id} at revision ${JSON.stringify(revision)} is not in the cache`),
    });
  await rm(join(folder, "unet/diffusion_pytorch_model.safetensors"));
  await expect(hub.resolve("org/model", { localFilesOnly: true })).rejects.toMatchObject({ code: "ERR_HUB" });
  expect(hub.server.requests).toEqual([]);
});

test("a link whose blob is missing or truncated is repaired", async () => {
  const files = pipelineFiles();
  hub.server.repositories.set("org/model", { files });
  const folder = await hub.resolve("org/model");
  const name = "unet/diffusion_pytorch_model.safetensors";
  const content = Buffer.from(files[name]!);
  const blob = join(hub.cacheDir, "models--org--model/blobs", sha256(content));
  await rm(blob);
  await expect(hub.resolve("org/model", { localFilesOnly: true })).rejects.toMatchObject({ code: "ERR_HUB" });
  await hub.resolve("org/model");
  expect(await readFile(join(folder, name))).toEqual(content);
  await writeFile(blob, content.subarray(0, 100));
  await rm(join(folder, name));
  await hub.resolve("org/model");
  expect(await readFile(join(folder, name))).toEqual(content);
});

test("a listing stored by Python is not requested again; a commit then needs no request at all", async () => {
  const files = pipelineFiles();
  hub.server.repositories.set("org/model", { files });
  const folder = await hub.resolve("org/model");
  const entries = Object.entries(files).map(([name, text]) => {
    const content = Buffer.from(text);
    const large = /safetensors|bin|ckpt/.test(name);
    return [
      name,
      {
        size: content.length,
        blob_id: gitHash(content),
        ...(large && { lfs_sha256: sha256(content), lfs_size: content.length }),
      },
    ];
  });
  const trees = join(hub.cacheDir, "models--org--model/trees");
  await mkdir(trees);
  await writeFile(
    join(trees, `${commit(0)}.json`),
    JSON.stringify({ format_version: 1, files: Object.fromEntries(entries) }),
  );
  hub.server.requests.length = 0;
  expect(await hub.resolve("org/model", { revision: commit(0) })).toBe(folder);
  expect(hub.server.requests).toEqual([]);
  await rm(join(folder, "vae/config.json"));
  await hub.resolve("org/model", { revision: commit(0) });
  expect(hub.server.asked(/tree/)).toEqual([]);
  expect(await filesBelow(folder)).toEqual(NEEDED);
});

test("without symbolic links the cache holds copies", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  const folder = await hub.resolve("org/model", {}, { HF_HUB_DISABLE_SYMLINKS: "1" });
  await expect(readlink(join(folder, "model_index.json"))).rejects.toMatchObject({ code: "EINVAL" });
  expect(await filesBelow(folder)).toEqual(NEEDED);
});

test("the folder of the cache comes from the option or the environment", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  const places: [object, Record<string, string>, string][] = [
    [{ cacheDir: join(hub.scratch, "option") }, { HF_HUB_CACHE: join(hub.scratch, "variable") }, "option"],
    [{}, { HF_HUB_CACHE: join(hub.scratch, "variable") }, "variable"],
    [{}, { HF_HUB_CACHE: "$HF_HOME/expanded" }, "expanded"],
    [{}, { HF_HOME: join(hub.scratch, "home") }, "home/hub"],
    [{}, { HF_HOME: "", XDG_CACHE_HOME: join(hub.scratch, "xdg") }, "xdg/huggingface/hub"],
  ];
  for (const [options, env, place] of places)
    expect(await hub.resolve("org/model", options, env)).toBe(
      join(hub.scratch, place, "models--org--model/snapshots", commit(0)),
    );
});

test("patterns select other files; a single folder can be selected", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  const folder = await hub.resolve("org/model", {
    allowPatterns: ["*.md", "tokenizer/*", "safety_checker/"],
    ignorePatterns: ["*.safetensors", "tokenizer/[sv]*"],
  });
  const patterned = [
    "README.md",
    "safety_checker/config.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
  ];
  expect(await filesBelow(folder)).toEqual(patterned);
  await expect(hub.resolve("org/model", { allowPatterns: ["*.gguf"] })).rejects.toMatchObject({ code: "ERR_HUB" });
  const vae = await hub.resolve("org/model", { subfolder: "vae" });
  expect(vae).toBe(join(folder, "vae"));
  expect(await filesBelow(vae)).toEqual(["config.json", "diffusion_pytorch_model.safetensors"]);
});

test("progress is told per file and in all, up to the last byte", async () => {
  const files = pipelineFiles(100_000);
  hub.server.repositories.set("org/model", { files });
  const last = new Map<string, { downloadedBytes: number; totalBytes: number }>();
  let all = { done: 0, total: 0 };
  await hub.resolve("org/model", {
    onProgress: ({ file, downloadedBytes, totalBytes, allDownloadedBytes, allTotalBytes }) => {
      expect(downloadedBytes).toBeGreaterThanOrEqual(last.get(file)?.downloadedBytes ?? 0);
      expect(downloadedBytes).toBeLessThanOrEqual(totalBytes);
      last.set(file, { downloadedBytes, totalBytes });
      all = { done: allDownloadedBytes, total: allTotalBytes };
    },
  });
  expect([...last.keys()].sort()).toEqual(NEEDED);
  for (const [name, { downloadedBytes, totalBytes }] of last)
    expect([downloadedBytes, totalBytes]).toEqual([Buffer.from(files[name]!).length, Buffer.from(files[name]!).length]);
  expect(all.done).toBe(all.total);
});

test("the number of concurrent downloads is limited", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  let now = 0;
  let most = 0;
  hub.server.fault = (request, response) => {
    if (!request.path.includes("/resolve/") || request.method !== "HEAD") return undefined;
    now++;
    most = Math.max(most, now);
    response.on("finish", () => now--);
    return undefined;
  };
  await hub.resolve("org/model", { concurrency: 2 });
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(2);
});

test("invalid options are refused before any request", async () => {
  const options = [
    { variant: "../x" },
    { variant: "" },
    { revision: "../../x" },
    { revision: "" },
    { subfolder: "../x" },
    { subfolder: "/x" },
    { concurrency: 0 },
    { retries: -1 },
    { retryDelay: 0.5 },
    { cacheDir: "" },
    { token: "hf_ü" },
  ];
  for (const one of options)
    await expect(hub.resolve("org/model", one), JSON.stringify(one)).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
    });
  await expect(hub.resolve("")).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  for (const HF_ENDPOINT of ["nonsense", "ftp://x", "http://user:pass@x"])
    await expect(hub.resolve("org/model", {}, { HF_ENDPOINT })).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  expect(hub.server.requests).toEqual([]);
});
