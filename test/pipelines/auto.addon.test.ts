import { describe, expect, test } from "vitest";
import {
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  AutoPipelineForText2Image,
} from "../../lib/pipelines/auto.js";
import { DiffusionPipeline } from "../../lib/pipelines/diffusion_pipeline.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { StableDiffusionPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionImg2ImgPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionInpaintPipeline } from "../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { fixture, readJson } from "../helpers/fixtures.js";

const MODEL = fixture("img2img", "model");
const AUTO = {
  text2image: AutoPipelineForText2Image,
  image2image: AutoPipelineForImage2Image,
  inpainting: AutoPipelineForInpainting,
};
type Row = { class_name: string; controlnet: boolean } & Record<keyof typeof AUTO, string | { error: string }>;

test("every class of diffusers is mapped to the same class for each task", () => {
  const { rows } = readJson<{ rows: Row[] }>(fixture("auto-pipeline", "table.json"));
  for (const { class_name: className, controlnet, ...tasks } of rows)
    for (const [task, expected] of Object.entries(tasks)) {
      const pick = () => AUTO[task as keyof typeof AUTO].classNameFor(className, { controlnet });
      if (typeof expected === "string") expect(pick()).toBe(expected);
      else expect(pick).toThrow(expect.objectContaining({ code: "ERR_CONFIG" }));
    }
});

describe("a folder", () => {
  test("is loaded by the class that its index names", async () => {
    using pipe = await DiffusionPipeline.fromPretrained(MODEL);
    expect(pipe).toBeInstanceOf(StableDiffusionImg2ImgPipeline);
    using edit = await DiffusionPipeline.fromPretrained(fixture("ip2p-tiny", "model"));
    expect(edit).toBeInstanceOf(InstructPix2PixPipeline);
  });

  test("is loaded by its family's class for the task", async () => {
    using text = await AutoPipelineForText2Image.fromPretrained(MODEL);
    expect(text).toBeInstanceOf(StableDiffusionPipeline);
    using paint = await AutoPipelineForInpainting.fromPretrained(MODEL);
    expect(paint).toBeInstanceOf(StableDiffusionInpaintPipeline);
    const refused = AutoPipelineForImage2Image.fromPretrained(fixture("ip2p-tiny", "model"));
    await expect(refused).rejects.toMatchObject({ code: "ERR_CONFIG", message: expect.stringMatching(/own class/) });
  });
});

describe("fromPipe", () => {
  const image = fixture("img2img", "image0.png");

  test("shares components, which are freed with the last pipeline", async () => {
    const text = await StableDiffusionPipeline.fromPretrained(MODEL);
    const other = AutoPipelineForImage2Image.fromPipe(text);
    expect(other.unet).toBe(text.unet);
    const { images: latents } = await text.run({
      ...{ prompt: "a cat", numInferenceSteps: 2, seed: 1, height: 40, width: 40 },
      outputType: "latent",
    });
    text.dispose();
    const { images } = await other.run({ prompt: "a dog", image: latents, numInferenceSteps: 2, seed: 2 });
    expect(images[0]).toMatchObject({ width: 40, height: 40 });
    const direct = StableDiffusionInpaintPipeline.fromPipe(other);
    other.dispose();
    await expect(other.run({ prompt: "x", image })).rejects.toMatchObject({ code: "ERR_DISPOSED" });
    const { unet } = direct;
    expect(unet.disposed).toBe(false);
    direct.dispose();
    expect(unet.disposed).toBe(true);
    expect(() => StableDiffusionPipeline.fromPipe(direct)).toThrow(expect.objectContaining({ code: "ERR_DISPOSED" }));
  });

  test("refuses components that are not for the task", async () => {
    using edit = await InstructPix2PixPipeline.fromPretrained(fixture("ip2p-tiny", "model"));
    expect(() => AutoPipelineForText2Image.fromPipe(edit)).toThrow(expect.objectContaining({ code: "ERR_CONFIG" }));
    expect(() => StableDiffusionPipeline.fromPipe(edit)).toThrow(
      expect.objectContaining({ code: "ERR_CONFIG", message: expect.stringMatching(/InstructPix2Pix model/) }),
    );
    using paint = await StableDiffusionInpaintPipeline.fromPretrained(fixture("inpaint", "model"));
    expect(() => AutoPipelineForImage2Image.fromPipe(paint)).toThrow(/inpainting model/);
    using text = await StableDiffusionPipeline.fromPretrained(MODEL);
    using own = AutoPipelineForImage2Image.fromPipe(paint, { unet: text.unet });
    const { images } = await own.run({ prompt: "x", image, numInferenceSteps: 2, seed: 0 });
    expect(images).toHaveLength(1);
  });
});
