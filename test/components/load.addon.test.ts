import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { PipelineDescription } from "../../lib/components/description.js";
import { loadComponents } from "../../lib/components/load.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { INSTRUCT_PIX2PIX, type StableDiffusionComponents } from "../../lib/pipelines/components.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import type { NativeModel } from "../../lib/runtime/contract/index.js";
import { native } from "../../lib/runtime/native.js";
import { DDIMScheduler, LMSDiscreteScheduler } from "../../lib/schedulers/index.js";
import { CLIPTokenizer } from "../../lib/tokenizer/clip_tokenizer.js";
import { useHub } from "../hub/fixtures.js";
import { objectsLeftBehind, quickEdit, tinyModel } from "../runtime/tiny.js";

const hub = useHub();
const onCpu = { device: "cpu" } as const;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-load-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let copies = 0;
/** The tiny model without some of its folders or files. */
function without(...names: string[]): string {
  const target = join(folder, String(copies++));
  cpSync(tinyModel, target, { recursive: true });
  for (const name of names) rmSync(join(target, name), { recursive: true });
  return target;
}

function editIndex(target: string, entries: object): string {
  const path = join(target, "model_index.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...entries }));
  return target;
}

/** Observes the loading of weights; `before` may fail. */
async function observed<T>(
  body: (handles: Map<string, NativeModel>) => Promise<T>,
  { before = (_: string) => {}, after = () => {} } = {},
) {
  const handles = new Map<string, NativeModel>();
  const { loadModel } = native();
  const spy = vi.spyOn(native(), "loadModel").mockImplementation(async (kind, ...rest) => {
    before(kind);
    const handle = await loadModel.call(native(), kind, ...rest);
    handles.set(kind, handle);
    after();
    return handle;
  });
  try {
    return await body(handles);
  } finally {
    spy.mockRestore();
  }
}

test.each(["AutoencoderKL", "CLIPTextModel", "UNet2DConditionModel"])(
  "a failure in loading the %s frees the others",
  async (failing) => {
    const before = (kind: string) => {
      if (kind === failing) throw new Error("injected");
    };
    await observed(
      async (handles) => {
        await expect(InstructPix2PixPipeline.fromPretrained(tinyModel, onCpu)).rejects.toThrow("injected");
        expect([...handles.values()].filter(({ disposed }) => !disposed)).toEqual([]);
        expect(handles.has(failing)).toBe(false);
      },
      { before },
    );
  },
);

test.each([
  "vae/config.json",
  "vae/diffusion_pytorch_model.safetensors",
  "text_encoder/config.json",
  "text_encoder/model.safetensors",
  "unet/config.json",
  "unet/diffusion_pytorch_model.safetensors",
  "tokenizer/vocab.json",
  "scheduler/scheduler_config.json",
])("without %s nothing stays loaded", async (file) => {
  const broken = without(file);
  const left = await objectsLeftBehind(() =>
    expect(InstructPix2PixPipeline.fromPretrained(broken, onCpu)).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" }),
  );
  expect(left).toBe(0);
});

test("an abort between two models loads no more, and frees the first", async () => {
  const controller = new AbortController();
  await observed(
    async (handles) => {
      const loading = InstructPix2PixPipeline.fromPretrained(tinyModel, { ...onCpu, signal: controller.signal });
      await expect(loading).rejects.toMatchObject({ code: "ERR_ABORTED" });
      expect(handles.size).toBe(1);
      for (const handle of handles.values()) expect(handle.disposed).toBe(true);
    },
    { after: () => controller.abort() },
  );
});

test("given components are used, and theirs in the folder are not looked at", async () => {
  using unet = await UNet2DConditionModel.fromPretrained(join(tinyModel, "unet"));
  using vae = await AutoencoderKL.fromPretrained(join(tinyModel, "vae"));
  using textEncoder = await CLIPTextModel.fromPretrained(join(tinyModel, "text_encoder"));
  const tokenizer = await CLIPTokenizer.fromPretrained(join(tinyModel, "tokenizer"));
  const scheduler = DDIMScheduler.fromConfig({ num_train_timesteps: 1000 });
  const all: StableDiffusionComponents = { unet, vae, textEncoder, tokenizer, scheduler };
  for (const names of [["unet"], ["vae", "textEncoder"], Object.keys(all)] as (keyof typeof all)[][]) {
    const given = Object.fromEntries(names.map((name) => [name, all[name]]));
    const folders = names.map((name) => INSTRUCT_PIX2PIX.components[name].folder);
    using pipe = await InstructPix2PixPipeline.fromPretrained(without(...folders), { ...onCpu, ...given });
    for (const name of names) expect(pipe[name]).toBe(all[name]);
    using loaded = await InstructPix2PixPipeline.fromPretrained(tinyModel, onCpu);
    loaded.scheduler = pipe.scheduler;
    const [{ images: one }, { images: other }] = [await pipe.run(quickEdit()), await loaded.run(quickEdit())];
    expect(one[0]!.data).toEqual(other[0]!.data);
  }
  // Theirs to dispose of is their caller.
  for (const model of [unet, vae, textEncoder]) expect(model.disposed).toBe(false);
});

test("components of one pipeline can be given to another, and live as long as one of them", async () => {
  const first = await InstructPix2PixPipeline.fromPretrained(tinyModel, onCpu);
  const { unet, vae, textEncoder } = first;
  const second = await InstructPix2PixPipeline.fromPretrained(tinyModel, { ...onCpu, unet, vae });
  first.dispose();
  expect([unet.disposed, vae.disposed, textEncoder.disposed]).toEqual([false, false, true]);
  await second.run(quickEdit());
  const own = second.textEncoder;
  second.dispose();
  expect([unet.disposed, vae.disposed, own.disposed]).toEqual([true, true, true]);
});

test("given components that are of another class, or do not fit, are refused before weights are read", async () => {
  using vae = await AutoencoderKL.fromPretrained(join(tinyModel, "vae"));
  using narrow = await UNet2DConditionModel.fromConfig({
    in_channels: 4,
    block_out_channels: [32],
    down_block_types: ["DownBlock2D"],
    up_block_types: ["UpBlock2D"],
  });
  await observed(async (handles) => {
    for (const given of [
      { unet: vae },
      { vae: null },
      { unet: {} },
      { tokenizer: "clip" },
      { scheduler: vae },
      { unet: [] },
    ])
      await expect(
        InstructPix2PixPipeline.fromPretrained("org/model", { ...onCpu, ...given } as never),
      ).rejects.toMatchObject({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringMatching(`^${Object.keys(given)[0]} must be of class `),
      });
    await expect(InstructPix2PixPipeline.fromPretrained(tinyModel, { ...onCpu, unet: narrow })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringContaining("4 channels"),
    });
    expect(handles.size).toBe(0);
  });
  expect(vae.disposed || narrow.disposed).toBe(false);
});

test("given components are not downloaded, and a model that does not fit is refused before its weights are", async () => {
  const files = Object.fromEntries(
    readdirSync(tinyModel, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(tinyModel.length + 1), readFileSync(path)]),
  );
  using unet = await UNet2DConditionModel.fromPretrained(join(tinyModel, "unet"));
  const options = { ...onCpu, cacheDir: hub.cacheDir, retryDelay: 1 };
  vi.stubEnv("HF_ENDPOINT", hub.server.url);
  hub.server.repositories.set("org/model", { files });
  using pipe = await InstructPix2PixPipeline.fromPretrained("org/model", { ...options, unet });
  expect(pipe.unet).toBe(unet);
  expect(hub.server.asked(/\/unet\//)).toEqual([]);
  hub.server.repositories.set("org/words", {
    files: { ...files, "tokenizer/vocab.json": grown(files["tokenizer/vocab.json"]!) },
  });
  await expect(InstructPix2PixPipeline.fromPretrained("org/words", options)).rejects.toMatchObject({
    code: "ERR_CONFIG",
    message: expect.stringContaining("vocab_size"),
  });
  expect(hub.server.asked(/org\/words.*safetensors/)).toEqual([]);
  vi.unstubAllEnvs();
});

/** A vocabulary with more words than the text encoder has embeddings for. */
function grown(vocabulary: Buffer): string {
  const words = JSON.parse(vocabulary.toString()) as Record<string, number>;
  const count = Object.keys(words).length;
  for (let i = 0; i < 100_000; i++) words[`added${i}`] = count + i;
  return JSON.stringify(words);
}

test("a folder of another class is loaded where its components fit, unless the description names the classes", async () => {
  const other = editIndex(without(), { _class_name: "SomethingElsePipeline" });
  using pipe = await InstructPix2PixPipeline.fromPretrained(other, onCpu);
  expect(pipe.unet.config.in_channels).toBe(8);
  const strict = { ...INSTRUCT_PIX2PIX, accepts: ["StableDiffusionPipeline"] };
  await expect(loadComponents(strict, other, onCpu)).rejects.toMatchObject({
    code: "ERR_CONFIG",
    message: expect.stringMatching(
      /SomethingElsePipeline.*StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline/,
    ),
  });
  for (const _class_name of [strict.className, "StableDiffusionPipeline"]) {
    const { unet, vae, textEncoder } = await loadComponents(strict, editIndex(other, { _class_name }), onCpu);
    for (const model of [unet, vae, textEncoder]) model.dispose();
  }
});

test("an optional component is null where the pipeline lacks it, and can be left out; others cannot", async () => {
  type Parts = { vae: AutoencoderKL | null; scheduler: LMSDiscreteScheduler };
  const description = (optional: boolean): PipelineDescription<Parts> => ({
    className: "Parts",
    components: {
      vae: { folder: "vae", classes: ["AutoencoderKL"], optional },
      scheduler: { folder: "scheduler", classes: ["LMSDiscreteScheduler"] },
    },
    check: ({ vae }) => void seen.push(vae?.latent_channels),
  });
  const seen: (number | undefined)[] = [];
  const scheduler: [string, string] = ["diffusers", "LMSDiscreteScheduler"];
  const lacking = editIndex(without("vae"), { vae: [null, null], scheduler });
  const whole = editIndex(without(), { scheduler });
  expect((await loadComponents(description(true), lacking, onCpu)).vae).toBeNull();
  expect((await loadComponents(description(true), whole, { ...onCpu, vae: null })).vae).toBeNull();
  const parts = await loadComponents(description(true), whole, onCpu);
  expect(parts.scheduler).toBeInstanceOf(LMSDiscreteScheduler);
  parts.vae?.dispose();
  expect(seen).toEqual([undefined, undefined, parts.vae!.config.latent_channels]);
  await expect(loadComponents(description(false), lacking, onCpu)).rejects.toMatchObject({ code: "ERR_CONFIG" });
});
