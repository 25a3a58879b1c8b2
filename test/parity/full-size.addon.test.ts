import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { AutoencoderKL } from "../../lib/models/autoencoder_kl.js";
import { CLIPTextModel } from "../../lib/models/clip_text_model.js";
import { ControlNetModel } from "../../lib/models/controlnet.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { fixture, readJson } from "../helpers/fixtures.js";

type Keys = Record<string, number[]>;

const DIFFUSERS = "diffusion_pytorch_model.safetensors";
const parts = [
  { part: "full-size/unet", model: UNet2DConditionModel, file: DIFFUSERS },
  { part: "full-size/vae", model: AutoencoderKL, file: DIFFUSERS },
  { part: "full-size/text_encoder", model: CLIPTextModel, file: "model.safetensors" },
  { part: "full-size-controlnet-canny", model: ControlNetModel, file: DIFFUSERS },
  { part: "full-size-x2-latent-upscaler/unet", model: UNet2DConditionModel, file: DIFFUSERS },
  { part: "full-size-x4-upscaler/unet", model: UNet2DConditionModel, file: DIFFUSERS },
  { part: "full-size-x4-upscaler/vae", model: AutoencoderKL, file: DIFFUSERS },
];

/** Names that errors list before they only count. */
const LISTED = 8;

/** A safetensors file of tensors without elements. */
function emptyTensors(names: readonly string[]): Buffer {
  const entries = names.map((name) => [name, { dtype: "F32", shape: [0], data_offsets: [0, 0] }]);
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header]);
}

/** What the error of a load says of each kind, e.g. how many are missing. */
function counted(message: string, kind: "missing" | "unexpected" | "misshapen"): number {
  const list = new RegExp(`; ${kind}: (.*?)(?: \\(and (\\d+) more\\))?(?=;|$)`).exec(message);
  if (!list) return 0;
  return (
    (kind === "misshapen" ? list[1]!.split('" is [').length - 1 : list[1]!.split(", ").length) + Number(list[2] ?? 0)
  );
}

// The weights of the published model are 4 GB. A file of its names with empty tensors costs nothing, and the error that it
// gives says which parameter, of which shape, each name was taken for.
describe.each(parts)("the published model of $part", ({ part, model, file }) => {
  const keys = readJson<Keys>(fixture(part, "keys.json"));
  const names = Object.keys(keys).filter((name) => !name.endsWith("position_ids"));
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "ip2p-full-size-"));
    copyFileSync(fixture(part, "config.json"), join(folder, "config.json"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function refusal(tensors: readonly string[]): Promise<string> {
    writeFileSync(join(folder, file), emptyTensors(tensors));
    try {
      (await model.fromPretrained(folder)).dispose();
    } catch (error) {
      if (isInstructPix2PixError(error) && error.code === "ERR_STATE_DICT") return error.message;
      throw error;
    }
    throw new Error("empty tensors were taken for weights");
  }

  test("has a parameter for every tensor name and a tensor for every parameter", async () => {
    const message = await refusal(Object.keys(keys));
    expect(counted(message, "missing"), message).toBe(0);
    expect(counted(message, "unexpected"), message).toBe(0);
    expect(counted(message, "misshapen"), message).toBe(names.length);
  });

  test("has every parameter in the shape of its tensor", async () => {
    for (let i = 0; i < names.length; i += LISTED) {
      const some = names.slice(i, i + LISTED);
      const message = await refusal(some);
      for (const name of some)
        expect(message).toContain(`"${name}" is [0], the configuration asks for [${keys[name]!.join(",")}]`);
      expect(counted(message, "missing")).toBe(names.length - some.length);
    }
  });

  test("refuses a name that is not the model's, and says so when one is missing", async () => {
    expect(await refusal([...names, "no_such.weight"])).toContain('; unexpected: "no_such.weight"');
    expect(counted(await refusal(names.slice(1)), "missing")).toBe(1);
  });
});
