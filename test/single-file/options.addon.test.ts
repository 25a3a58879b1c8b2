import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { native } from "../../lib/runtime/native.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { expectSameState } from "../helpers/same-state.js";
import { useHub } from "../hub/fixtures.js";
import { objectsLeftBehind, quickEdit, tinyImage, tinyModel } from "../runtime/tiny.js";
import { copyWithChannels, writeSingleFile, writeWithChannels } from "./make.js";

const hub = useHub();
let scratch: string;
let file: string;
const onCpu = { device: "cpu", config: tinyModel };

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "ip2p-single-options-"));
  file = await writeSingleFile(join(scratch, "model.safetensors"), "ip2p-tiny");
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(scratch, { recursive: true }));

test("given components are used, left to the caller, and need not be in the file", async () => {
  const config = join(tinyModel, "vae");
  using vae = await AutoencoderKL.fromPretrained(config);
  const lacking = await writeSingleFile(join(scratch, "lacking.safetensors"), "ip2p-tiny", (tensors) => {
    for (const name of Object.keys(tensors)) if (name.startsWith("first_stage_model.")) delete tensors[name];
  });
  await expect(InstructPix2PixPipeline.fromSingleFile(lacking, onCpu)).rejects.toMatchObject({
    code: "ERR_STATE_DICT",
    message: expect.stringMatching(/holds no vae/),
  });
  {
    using pipe = await InstructPix2PixPipeline.fromSingleFile(lacking, { ...onCpu, vae });
    expect(pipe.vae).toBe(vae);
    using folder = await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" });
    const [{ images: one }, { images: other }] = [await pipe.run(quickEdit()), await folder.run(quickEdit())];
    expect(one[0]!.data).toEqual(other[0]!.data);
  }
  expect(vae.disposed).toBe(false);
  for (const given of [{ vae: null }, { unet: vae }, { textEncoder: {} }])
    await expect(InstructPix2PixPipeline.fromSingleFile(file, { ...onCpu, ...given } as never)).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      message: expect.stringMatching(`^${Object.keys(given)[0]} must be of class `),
    });
});

test("a given UNet that does not fit is refused with the file's name, before weights are read", async () => {
  const narrow = await copyWithChannels(join(scratch, "narrow"), "ip2p-tiny", 4);
  using unet = await UNet2DConditionModel.fromPretrained(join(narrow, "unet"));
  const spy = vi.spyOn(native(), "loadModel");
  try {
    await expect(InstructPix2PixPipeline.fromSingleFile(file, { ...onCpu, unet })).rejects.toMatchObject({
      code: "ERR_CONFIG",
      message: expect.stringMatching(/model\.safetensors: the UNet takes 4 channels.*a text-to-image model/),
    });
    const stray = await writeSingleFile(join(scratch, "stray.safetensors"), "ip2p-tiny", (tensors) => {
      tensors["model.diffusion_model.output_blocks.77.0.skip_connection.bias"] = Object.values(tensors)[0]!;
    });
    await expect(InstructPix2PixPipeline.fromSingleFile(stray, onCpu)).rejects.toMatchObject({
      code: "ERR_STATE_DICT",
    });
    expect(spy).not.toHaveBeenCalled();
  } finally {
    spy.mockRestore();
  }
});

test("loading stops between models when it is aborted, and nothing stays loaded", async () => {
  const left = await objectsLeftBehind(async () => {
    const stop = new AbortController();
    const load = native().loadModel;
    const spy = vi.spyOn(native(), "loadModel").mockImplementation(async (...call) => {
      const loaded = await load.apply(native(), call);
      stop.abort();
      return loaded;
    });
    try {
      await expect(
        InstructPix2PixPipeline.fromSingleFile(file, { ...onCpu, signal: stop.signal }),
      ).rejects.toMatchObject({ code: "ERR_ABORTED" });
      expect(spy).toHaveBeenCalledTimes(1);
    } finally {
      spy.mockRestore();
    }
  });
  expect(left).toBe(0);
});

test("the autoencoder's type follows the rule of folders", async () => {
  const upcast = join(scratch, "upcast");
  cpSync(tinyModel, upcast, { recursive: true });
  const path = join(upcast, "vae", "config.json");
  writeFileSync(path, JSON.stringify({ ...readJson<object>(path), force_upcast: true }));
  for (const [config, vaeDtype, expected] of [
    [tinyModel, undefined, "float16"],
    [upcast, undefined, "float32"],
    [upcast, "float16", "float16"],
  ] as const) {
    const options = { dtype: "float16", device: "cpu", vaeDtype } as const;
    using single = await InstructPix2PixPipeline.fromSingleFile(file, { ...options, config });
    using folder = await InstructPix2PixPipeline.fromPretrained(config, options);
    expect([single.vae.dtype, folder.vae.dtype]).toEqual([expected, expected]);
    expect([single.unet.dtype, single.textEncoder.dtype]).toEqual(["float16", "float16"]);
  }
});

test("an inpainting model paints as from a folder, to the bit", async () => {
  const path = await writeWithChannels(join(scratch, "paint.safetensors"), "ip2p-tiny", 9);
  const config = await copyWithChannels(join(scratch, "paint"), "ip2p-tiny", 9);
  using single = await StableDiffusionInpaintPipeline.fromSingleFile(path, { config, device: "cpu" });
  using folder = await StableDiffusionInpaintPipeline.fromPretrained(config, { device: "cpu" });
  expect(single.unet.config).toEqual(folder.unet.config);
  await expectSameState(single.unet, folder.unet);
  const call = { prompt: "snow", image: tinyImage, maskImage: tinyImage, height: 64, width: 64, numInferenceSteps: 2 };
  const [{ images: one }, { images: other }] = [
    await single.run({ ...call, seed: 3 }),
    await folder.run({ ...call, seed: 3 }),
  ];
  expect(one[0]!.data).toEqual(other[0]!.data);
});

test("configurations come from a repository of the hub, without its weights", async () => {
  const files = Object.fromEntries(
    readdirSync(tinyModel, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path.slice(tinyModel.length + 1), readFileSync(path)]),
  );
  hub.server.repositories.set("org/configs", { files });
  vi.stubEnv("HF_ENDPOINT", hub.server.url);
  const options = { config: "org/configs", device: "cpu", cacheDir: hub.cacheDir };
  using pipe = await InstructPix2PixPipeline.fromSingleFile(file, options);
  using folder = await InstructPix2PixPipeline.fromPretrained(tinyModel, { device: "cpu" });
  expect(pipe.scheduler.config).toEqual(folder.scheduler.config);
  for (const part of ["unet", "vae", "textEncoder"] as const) expect(pipe[part].config).toEqual(folder[part].config);
  expect(hub.server.asked(/config\.json/).length).toBeGreaterThan(0);
  expect(hub.server.asked(/\.safetensors/)).toEqual([]);

  const before = hub.server.requests.length;
  using cached = await InstructPix2PixPipeline.fromSingleFile(file, { ...options, localFilesOnly: true });
  expect(hub.server.requests.length).toBe(before);
  expect(cached.unet.config).toEqual(pipe.unet.config);
  await expect(InstructPix2PixPipeline.fromSingleFile(file, { ...options, revision: "none" })).rejects.toMatchObject({
    code: "ERR_HUB",
  });
  await expect(
    InstructPix2PixPipeline.fromSingleFile(file, { ...options, config: "org/others" }),
  ).rejects.toMatchObject({ code: "ERR_HUB" });
  const bad = fixture("single-file", "none");
  expect(existsSync(bad)).toBe(false);
  await expect(InstructPix2PixPipeline.fromSingleFile(file, { ...options, config: bad })).rejects.toMatchObject({
    code: "ERR_FILE_NOT_FOUND",
  });
});
