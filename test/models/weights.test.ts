import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { parseWeightIndex } from "../../lib/models/weight-index.js";
import { listVariants, resolveWeights } from "../../lib/models/weights.js";
import { someOf } from "../helpers/cases.js";
import { mutatedText } from "./mutated-text.js";

type BaseName = "diffusion_pytorch_model" | "model";
const UNET: BaseName = "diffusion_pytorch_model";

let root: string;
let folder: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "ip2p-weights-"));
  folder = join(root, "unet");
  await mkdir(folder);
});

afterEach(() => rm(root, { recursive: true, force: true }));

async function put(...names: string[]): Promise<void> {
  for (const name of names) await writeFile(join(folder, name), "x");
}

async function putIndex(name: string, map: unknown, more: object = { metadata: { total_size: 1 } }): Promise<void> {
  await writeFile(join(folder, name), JSON.stringify({ ...more, weight_map: map }));
}

const shards = (stem: string, suffix = "") =>
  [1, 2].map((i) => `${stem}-0000${i}-of-00002${suffix}.safetensors`) as [string, string];

/** Names of the files chosen. */
async function resolved(variant?: string, baseName: BaseName = UNET): Promise<string[]> {
  const { files } = await resolveWeights(folder, { baseName, variant });
  for (const file of files) expect(file).toBe(join(folder, basename(file)));
  return files.map((file) => basename(file));
}

async function refused(code: string, variant?: string, baseName: BaseName = UNET): Promise<string> {
  const error = await resolveWeights(folder, { baseName, variant }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(InstructPix2PixError);
  expect((error as InstructPix2PixError).code).toBe(code);
  expect((error as Error).message).not.toContain("\n");
  return (error as Error).message;
}

describe("the weights of a folder are", () => {
  test("its one file", async () => {
    await put("config.json", `${UNET}.safetensors`, `${UNET}.fp16.safetensors`, `${UNET}.bin`);
    expect(await resolved()).toEqual([`${UNET}.safetensors`]);
    expect(await resolved("fp16")).toEqual([`${UNET}.fp16.safetensors`]);
  });

  test("its shards, each once, with the index", async () => {
    const [a, b] = shards(UNET);
    await put(a, b);
    await putIndex(`${UNET}.safetensors.index.json`, { x: b, y: a, z: b });
    const { files, index } = await resolveWeights(folder, { baseName: UNET });
    expect(files).toEqual([join(folder, a), join(folder, b)]);
    expect(index?.weightMap.get("x")).toBe(b);
    expect(index?.weightMap.size).toBe(3);
    expect(index?.shards).toEqual([a, b]);
  });

  test.each([
    ["diffusers and transformers", `${UNET}.safetensors.index.fp16.json`, shards(`${UNET}.fp16`)],
    ["older diffusers", `${UNET}.safetensors.fp16.index.json`, shards(UNET, ".fp16")],
    ["other tools", `${UNET}.fp16.safetensors.index.json`, shards(`${UNET}.fp16`)],
  ])("the shards of a variant as %s name them", async (_, index, [a, b]) => {
    await put(a, b);
    await putIndex(index, { x: a, y: b });
    expect(await resolved("fp16")).toEqual([a, b]);
    expect(await listVariants(folder, UNET)).toEqual(["fp16"]);
    expect(await refused("ERR_FILE_NOT_FOUND")).toContain('only as variant "fp16"');
  });

  test("of file and shards the ones the model's library prefers", async () => {
    for (const base of [UNET, "model"] as const) {
      const [a, b] = shards(base);
      await put(`${base}.safetensors`, a, b);
      await putIndex(`${base}.safetensors.index.json`, { x: a, y: b });
    }
    expect(await resolved()).toEqual(shards(UNET));
    expect(await resolved(undefined, "model")).toEqual(["model.safetensors"]);
  });

  test("reached through the links of a Hugging Face cache", async () => {
    const repository = join(root, "models--someone--pix2pix");
    const snapshot = join(repository, "snapshots", "0123", "unet");
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(repository, "blobs"));
    await writeFile(join(repository, "blobs", "abc"), "x");
    await symlink("../../../blobs/abc", join(snapshot, `${UNET}.safetensors`));
    expect((await resolveWeights(snapshot, { baseName: UNET })).files).toEqual([join(snapshot, `${UNET}.safetensors`)]);

    await symlink("../../../blobs/gone", join(snapshot, `${UNET}.fp16.safetensors`));
    const error = resolveWeights(snapshot, { baseName: UNET, variant: "fp16" });
    await expect(error).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
    await expect(error).rejects.toThrow(/absent: was its download interrupted/);
  });

  test("reached through links within the folder, but not out of it", async () => {
    await put("weights.safetensors");
    await symlink("weights.safetensors", join(folder, `${UNET}.safetensors`));
    expect(await resolved()).toEqual([`${UNET}.safetensors`]);

    await writeFile(join(root, "secret.safetensors"), "x");
    await symlink("../secret.safetensors", join(folder, `${UNET}.evil.safetensors`));
    expect(await refused("ERR_SAFETENSORS", "evil")).toMatch(/symbolic link to .*secret\.safetensors", outside/);

    const [a, b] = shards(UNET);
    await put(a);
    await symlink(join(root, "secret.safetensors"), join(folder, b));
    await putIndex(`${UNET}.safetensors.index.json`, { x: a, y: b });
    expect(await refused("ERR_SAFETENSORS")).toContain(b);
  });

  test("found in a folder that is itself a link", async () => {
    await put(`${UNET}.safetensors`);
    const link = join(root, "link");
    await symlink("unet", link);
    expect((await resolveWeights(link, { baseName: UNET })).files).toEqual([join(link, `${UNET}.safetensors`)]);
  });
});

describe("where there are none, the error says", () => {
  test("that the folder is absent, or not a folder", async () => {
    await expect(resolveWeights(join(root, "absent"), { baseName: UNET })).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: `${join(root, "absent")}: no such file or folder`,
    });
    await put("file");
    await expect(resolveWeights(join(folder, "file"), { baseName: UNET })).rejects.toMatchObject({
      code: "ERR_FILE_NOT_FOUND",
      message: `${join(folder, "file")}: is not a folder`,
    });
  });

  test("what was looked for", async () => {
    expect(await refused("ERR_FILE_NOT_FOUND")).toBe(
      `${folder}: holds neither ${UNET}.safetensors nor ${UNET}.safetensors.index.json`,
    );
    await put("model.safetensors", ...shards(UNET));
    expect(await refused("ERR_FILE_NOT_FOUND")).toContain('though "diffusion_pytorch_model-00001-of-00002');
  });

  test("which variants there are", async () => {
    await put(`${UNET}.fp16.safetensors`, `${UNET}.non_ema.safetensors`, `${UNET}.bf16-00001-of-00002.safetensors`);
    expect(await refused("ERR_FILE_NOT_FOUND", "fp8")).toBe(
      `${folder}: holds no weights of variant "fp8"; present: "fp16", "non_ema"`,
    );
    expect(await refused("ERR_FILE_NOT_FOUND")).toContain('only as variant "fp16", "non_ema"');
    await put(`${UNET}.safetensors`);
    expect(await refused("ERR_FILE_NOT_FOUND", "bf16")).toContain('"fp16", "non_ema", none');
    expect(await listVariants(folder, UNET)).toEqual(["fp16", "non_ema"]);
    expect(await listVariants(folder, "model")).toEqual([]);
  });

  test.each(["", "../fp16", "a/b", "..", ".", "a b", "fp16\0", "-x"])("that %j is not a variant", async (variant) => {
    await put(`${UNET}.safetensors`);
    expect(await refused("ERR_INVALID_ARGUMENT", variant)).toContain("variant");
  });

  test.each([
    [UNET, `${UNET}.bin`],
    [UNET, `${UNET}.fp16.bin`],
    [UNET, "sd-v1-5.ckpt"],
    [UNET, `${UNET}-00001-of-00002.bin`],
    ["model", "pytorch_model.bin"],
    ["model", "weights.pt"],
    ["model", "weights.pth"],
  ] as const)("that pickles are never read, and how to convert them: %s, %s", async (baseName, file) => {
    await put("config.json", file);
    const message = await refused("ERR_SAFETENSORS", undefined, baseName);
    expect(message).toContain(`"${file}"`);
    expect(message).toContain("never read");
    expect(message).toContain("save_pretrained");
  });

  test("that weights of Flax or TensorFlow are to be converted too", async () => {
    await put("flax_model.msgpack", "tf_model.h5");
    const message = await refused("ERR_SAFETENSORS", undefined, "model");
    expect(message).toContain('"flax_model.msgpack", "tf_model.h5"');
    expect(message).not.toContain("pickle");
  });

  test("which shard is absent, and what lists it", async () => {
    const [a, b] = shards(UNET);
    await put(a);
    await putIndex(`${UNET}.safetensors.index.json`, { x: a, y: b });
    expect(await refused("ERR_FILE_NOT_FOUND")).toBe(
      `${join(folder, b)}: is absent, though listed in ${join(folder, `${UNET}.safetensors.index.json`)}`,
    );
    await mkdir(join(folder, b));
    expect(await refused("ERR_IO")).toContain("is not a regular file");
  });
});

/** Ways out of a folder, for POSIX and for Windows. */
const ESCAPES = [
  "..",
  ".",
  "",
  "/",
  "\\",
  ...[
    "../",
    "..\\",
    "../../",
    "a/../",
    "a\\..\\",
    "./",
    ".\\",
    "/",
    "//",
    "\\",
    "\\\\",
    "~/",
    "/etc/",
    "C:",
    "C:\\",
    "C:/",
  ].flatMap((prefix) => [`${prefix}x.safetensors`, `${prefix}x`, `${prefix}..`]),
  "\\\\server\\share\\x.safetensors",
  "\\\\?\\C:\\x.safetensors",
  "file:///etc/passwd.safetensors",
  "https://example.com/x.safetensors",
  "x.safetensors:stream",
  "x.safetensors::$DATA",
  "x.safetensors/",
  "x.safetensors/..",
  "x.safetensors\\",
  "..\0x.safetensors",
  "x\0.safetensors",
  "x.safetensors\0",
  "x\n.safetensors",
  "a/b.safetensors",
  "unet/model.safetensors",
  "model.bin",
  "model.safetensors.bin",
  "model.pt",
  "model",
  `${"x".repeat(300)}.safetensors`,
];

describe("an index", () => {
  test("cannot lead out of its folder", async () => {
    expect(ESCAPES.length).toBeGreaterThanOrEqual(60);
    for (const name of ESCAPES) {
      await putIndex(`${UNET}.safetensors.index.json`, { "conv_in.weight": name });
      const message = await refused("ERR_SAFETENSORS");
      expect(message, name).toContain("conv_in.weight");
      expect(message, name).toContain("index.json");
    }
  });

  test.each([
    ["{}", /weight_map/],
    ['{"weight_map": null}', /weight_map/],
    ['{"weight_map": []}', /weight_map/],
    ['{"weight_map": "x.safetensors"}', /weight_map/],
    ['{"weight_map": {}}', /names no tensor/],
    ['{"weight_map": {"x": 1}}', /not a file name/],
    ['{"weight_map": {"x": null}}', /not a file name/],
    ['{"weight_map": {"x": ["x.safetensors"]}}', /not a file name/],
    ['{"weight_map": {"x": "x.safetensors"}, "metadata": 1}', /metadata/],
    ['{"weight_map": {"x": "x.safetensors"}', /line 1, column/],
    ["[]", /not a JSON object/],
    ["", /not valid JSON/],
  ])("that is invalid is refused: %s", async (text, message) => {
    await writeFile(join(folder, `${UNET}.safetensors.index.json`), text);
    expect(await refused("ERR_SAFETENSORS")).toMatch(message);
  });

  test("may lack metadata", async () => {
    await put("x.safetensors");
    for (const more of [{}, { metadata: null }, { metadata: {} }]) {
      await putIndex(`${UNET}.safetensors.index.json`, { x: "x.safetensors" }, more);
      expect(await resolved()).toEqual(["x.safetensors"]);
    }
  });

  test("may name a tensor as JavaScript names its prototype", () => {
    const index = parseWeightIndex(
      '{"weight_map": {"__proto__": "x.safetensors", "1": "x.safetensors"}}',
      "index.json",
    );
    expect([...index.weightMap.keys()].sort()).toEqual(["1", "__proto__"]);
  });

  test("of any text names plain files or is a typed error", () => {
    const [a, b] = shards(UNET);
    const seed = JSON.stringify({
      metadata: { total_size: 123 },
      weight_map: { "conv_in.weight": a, "conv_in.bias": b },
    });
    let read = 0;
    fc.assert(
      fc.property(mutatedText(seed), (text) => {
        try {
          const index = parseWeightIndex(text, "index.json");
          for (const shard of index.shards) {
            expect(basename(shard)).toBe(shard);
            expect(shard).toMatch(/\.safetensors$/);
          }
          ++read;
        } catch (error) {
          expect(error).toBeInstanceOf(InstructPix2PixError);
          expect((error as InstructPix2PixError).code).toBe("ERR_SAFETENSORS");
          expect((error as Error).message).toMatch(/^index\.json: [^\n\r]+$/);
        }
      }),
      { numRuns: someOf(10_000), seed: 1 },
    );
    expect(read).toBeGreaterThan(someOf(100));
  });
});
