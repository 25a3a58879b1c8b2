import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { obtainModel } from "../../lib/hub/select.js";
import type { FileSource } from "../../lib/hub/source.js";
import { filesBelow, NEEDED, pipelineFiles, useHub } from "./fixtures.js";

const hub = useHub();

type Files = ReturnType<typeof pipelineFiles>;

/** The weights that a pipeline of these files has downloaded. */
async function weightsOf(files: Files, variant?: string): Promise<string[]> {
  hub.server.repositories.set("org/model", { files });
  const folder = await hub.resolve("org/model", { variant });
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => name.includes("safetensors")).sort();
}

function without(files: Files, ...names: string[]): Files {
  return Object.fromEntries(Object.entries(files).filter(([name]) => !names.includes(name)));
}

const UNET = "unet/diffusion_pytorch_model";
const PLAIN = NEEDED.filter((name) => name.endsWith(".safetensors"));

function sharded(stem: string, variant?: string): Files {
  const part = variant === undefined ? "" : `.${variant}`;
  const names = [1, 2].map((n) => `${stem.slice(stem.indexOf("/") + 1)}${part}-0000${n}-of-00002.safetensors`);
  const folder = stem.slice(0, stem.indexOf("/"));
  const index = `${stem}.safetensors.index${part}.json`;
  return {
    [index]: JSON.stringify({ metadata: {}, weight_map: { a: names[0], b: names[1], c: names[0] } }),
    [`${folder}/${names[0]}`]: Buffer.alloc(100, 1),
    [`${folder}/${names[1]}`]: Buffer.alloc(100, 2),
  };
}

test("a variant is taken where a component has it, else the plain file", async () => {
  const files = { ...pipelineFiles(), [`${UNET}.fp16.safetensors`]: Buffer.alloc(50) };
  expect(await weightsOf(files)).toEqual(PLAIN);
  const folder = await hub.resolve("org/model", { variant: "fp16" });
  expect((await stat(join(folder, `${UNET}.fp16.safetensors`))).size).toBe(50);
  expect(hub.server.asked(/fp16/).length).toBeGreaterThan(0);
});

test("with every component in a variant no plain file is touched", async () => {
  const files = without(pipelineFiles(), "text_encoder/model.safetensors");
  for (const name of PLAIN) files[name.replace(".safetensors", ".fp16.safetensors")] = Buffer.alloc(50);
  expect(await weightsOf(files, "fp16")).toEqual(
    PLAIN.map((name) => name.replace(".safetensors", ".fp16.safetensors")),
  );
});

test("a variant that no component has is an error", async () => {
  hub.server.repositories.set("org/model", {
    files: { ...pipelineFiles(), "safety_checker/model.bf16.safetensors": Buffer.alloc(50) },
  });
  await expect(hub.resolve("org/model", { variant: "bf16" })).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining('no component has weights of variant "bf16"'),
  });
});

test("of shards, those that the index names are taken, of the variant too", async () => {
  const files = { ...without(pipelineFiles(), `${UNET}.safetensors`), ...sharded(UNET), ...sharded(UNET, "fp16") };
  files["unet/diffusion_pytorch_model-00003-of-00003.safetensors"] = Buffer.alloc(9);
  const others = PLAIN.filter((name) => !name.startsWith("unet"));
  expect(await weightsOf(files)).toEqual([...others, ...Object.keys(sharded(UNET))].sort());
  hub.server.requests.length = 0;
  await hub.resolve("org/model", { variant: "fp16", cacheDir: join(hub.scratch, "other") });
  expect(hub.server.asked(/GET .*resolve.*unet.*safetensors/).map((line) => line.split("/unet/")[1])).toEqual(
    expect.arrayContaining(Object.keys(sharded(UNET, "fp16")).map((name) => name.slice("unet/".length))),
  );
  expect(hub.server.asked(/00003/)).toEqual([]);
});

test("of both one file and shards, diffusers' models take the shards and transformers' the file", async () => {
  const files = { ...pipelineFiles(), ...sharded(UNET), ...sharded("text_encoder/model") };
  expect(await weightsOf(files)).toEqual(
    [...PLAIN.filter((name) => !name.startsWith("unet")), ...Object.keys(sharded(UNET))].sort(),
  );
});

test("a missing shard, and a name that is not a shard's, are named", async () => {
  const files = { ...without(pipelineFiles(), `${UNET}.safetensors`), ...sharded(UNET) };
  hub.server.repositories.set("org/model", {
    files: without(files, "unet/diffusion_pytorch_model-00002-of-00002.safetensors"),
  });
  await expect(hub.resolve("org/model")).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("unet/diffusion_pytorch_model-00002-of-00002.safetensors"),
  });
  for (const shard of [
    "../evil.safetensors",
    "/etc/evil.safetensors",
    "a\\b.safetensors",
    "c:x.safetensors",
    "x.bin",
    "",
  ]) {
    files[`${UNET}.safetensors.index.json`] = JSON.stringify({ weight_map: { a: shard } });
    hub.server.repositories.set("org/model", { files });
    await expect(
      hub.resolve("org/model", { cacheDir: join(hub.scratch, `shard${shard.length}`) }),
    ).rejects.toMatchObject({ code: "ERR_SAFETENSORS" });
  }
});

test("pickle files are never taken; the error names one and says how to convert", async () => {
  hub.server.repositories.set("org/model", { files: without(pipelineFiles(), "text_encoder/model.safetensors") });
  await expect(hub.resolve("org/model")).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringMatching(/text_encoder.*pytorch_model\.bin.*safe_serialization=True/),
  });
  expect(hub.server.asked(/\.bin/)).toEqual([]);
});

test("weights that exist only as a variant are pointed out", async () => {
  const files = without(pipelineFiles(), `${UNET}.safetensors`);
  files[`${UNET}.fp16.safetensors`] = Buffer.alloc(50);
  hub.server.repositories.set("org/model", { files });
  await expect(hub.resolve("org/model")).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("diffusion_pytorch_model.fp16.safetensors"),
  });
});

test("a component whose configuration is missing is named", async () => {
  for (const name of ["vae/config.json", "scheduler/scheduler_config.json", "tokenizer/merges.txt"]) {
    hub.server.repositories.set("org/model", { files: without(pipelineFiles(), name) });
    await expect(hub.resolve("org/model")).rejects.toMatchObject({
      code: "ERR_HUB",
      message: expect.stringContaining(JSON.stringify(name)),
    });
  }
});

test("a repository may be one model by itself, with a variant that must then be there", async () => {
  const files: Files = {
    "config.json": "{}",
    "diffusion_pytorch_model.safetensors": Buffer.alloc(10),
    "diffusion_pytorch_model.bin": Buffer.alloc(10),
    "sub/config.json": "{}",
  };
  hub.server.repositories.set("org/vae", { files });
  const folder = await hub.resolve("org/vae");
  expect((await readdir(folder)).sort()).toEqual(["config.json", "diffusion_pytorch_model.safetensors"]);
  await expect(hub.resolve("org/vae", { variant: "fp16" })).rejects.toMatchObject({ code: "ERR_HUB" });
  hub.server.repositories.set("org/tokenizer", { files: { "tokenizer.json": "{}", "README.md": "" } });
  expect(await readdir(await hub.resolve("org/tokenizer"))).toEqual(["tokenizer.json"]);
  hub.server.repositories.set("org/empty", { files: { "README.md": "" } });
  await expect(hub.resolve("org/empty")).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("model_index.json"),
  });
});

test("of a pipeline only some components can be taken", async () => {
  hub.server.repositories.set("org/model", { files: pipelineFiles() });
  const folder = await hub.resolve("org/model", { components: ["vae", "scheduler"] });
  expect((await readdir(folder)).sort()).toEqual(["model_index.json", "scheduler", "vae"]);
});

test("a malformed model_index.json is ERR_CONFIG and leads to no folder outside", async () => {
  const files = pipelineFiles();
  for (const index of ["{", "[]", "{}", JSON.stringify({ _class_name: "X", "../unet": ["diffusers", "Y"] })]) {
    hub.server.repositories.set("org/model", { files: { ...files, "model_index.json": index } });
    await expect(
      hub.resolve("org/model", { cacheDir: join(hub.scratch, `index${index.length}`) }),
    ).rejects.toMatchObject({ code: "ERR_CONFIG" });
  }
});

test("100,000 shards are looked up in a listing of as many files, and the missing one is named", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ip2p-shards-"));
  try {
    const shards = Array.from({ length: 100_000 }, (_, i) => `${i}.safetensors`);
    const weightMap = Object.fromEntries([...shards, "missing.safetensors"].map((shard) => [shard, shard]));
    await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
    const source: FileSource = {
      label: "a/model",
      names: new Set(["config.json", "model.safetensors.index.json", ...shards]),
      obtain: async () => {},
      path: (name) => join(folder, name),
    };
    await expect(obtainModel(source, "", {})).rejects.toMatchObject({
      code: "ERR_HUB",
      message: 'a/model: no file "missing.safetensors"',
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("components that a repository may lack are taken where they are", async () => {
  const components = ["unet", "safety_checker", "feature_extractor"];
  const options = { components, optionalComponents: components.slice(1) };
  const files = pipelineFiles();
  hub.server.repositories.set("org/model", { files });
  const found = await filesBelow(await hub.resolve("org/model", options));
  expect(found).toEqual(expect.arrayContaining(["feature_extractor/preprocessor_config.json"]));
  expect(found).toEqual(expect.arrayContaining(["safety_checker/config.json", "safety_checker/model.safetensors"]));

  const lacking = Object.fromEntries(Object.entries(files).filter(([name]) => !/^(?:safety|feature)/.test(name)));
  hub.server.repositories.set("org/lacking", { files: lacking });
  const rest = await filesBelow(await hub.resolve("org/lacking", options));
  expect(rest).toEqual(["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"]);
  await expect(hub.resolve("org/lacking", { components })).rejects.toMatchObject({ code: "ERR_HUB" });

  const pickled = { ...files, "safety_checker/pytorch_model.bin": Buffer.alloc(9) };
  hub.server.repositories.set("org/pickled", { files: without(pickled, "safety_checker/model.safetensors") });
  await expect(hub.resolve("org/pickled", options)).rejects.toMatchObject({
    code: "ERR_HUB",
    message: expect.stringContaining("or load the pipeline without this component"),
  });
});
