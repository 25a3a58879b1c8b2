import { cpSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { AutoPipelineForInpainting, AutoPipelineForText2Image } from "../../lib/pipelines/auto.js";
import {
  KandinskyV22CombinedPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22InpaintCombinedPipeline,
} from "../../lib/pipelines/kandinsky2_2/kandinsky2_2_combined.js";
import { fixture } from "../helpers/fixtures.js";
import { copyInpaintingDecoder } from "../helpers/inpainting-decoder.js";
import { HubServer } from "../hub/server.js";
import { ip2pHere, type Outcome, Workplace } from "./run-cli.js";

const decoder = fixture("kandinsky22", "decoder");
const prior = fixture("kandinsky22", "prior");
const picture = fixture("inpaint", "image0.png");
const prompt = "a red cat";
const shared = { prompt, numInferenceSteps: 3, priorNumInferenceSteps: 4, seed: 5 };
const onCpu = { device: "cpu" };

async function run(place: Workplace, args: readonly string[]): Promise<Outcome> {
  const quick = ["--prompt", prompt, "--output=out.png", "--num_inference_steps=3", "--prior_num_inference_steps=4"];
  const all = ["generate", "--model", decoder, ...quick, "--seed=5", "--num_threads=1", "--device=cpu", ...args];
  return await ip2pHere(all, { cwd: place.folder });
}

describe("ip2p generate with Kandinsky 2.2", () => {
  it("makes the images from text that the API makes, with the prior that the decoder names", async () => {
    using place = new Workplace();
    using pipe = await KandinskyV22CombinedPipeline.fromPretrained(decoder, onCpu);
    expect(await run(place, ["--height=40", "--width=28"])).toMatchObject({ status: 0, stderr: "" });
    const plain = await loadImage(place.at("out.png"));
    const { images } = await pipe.run({ ...shared, height: 40, width: 28 });
    expect(plain.equals(images[0]!)).toBe(true);
    const flags = ["--negative_prompt=fog", "--prior_guidance_scale=2", "--guidance_scale=3", "--prior", prior];
    expect(await run(place, ["--height=40", "--width=28", ...flags])).toMatchObject({ status: 0, stderr: "" });
    const options = { negativePrompt: "fog", priorGuidanceScale: 2, guidanceScale: 3, height: 40, width: 28 };
    const other = await loadImage(place.at("out.png"));
    expect(other.equals((await pipe.run({ ...shared, ...options })).images[0]!)).toBe(true);
    expect(other.equals(plain)).toBe(false);
  });

  it("makes an image of an image's shape, and takes both parts in one folder", async () => {
    using place = new Workplace();
    using pipe = await KandinskyV22Img2ImgCombinedPipeline.fromPretrained(decoder, onCpu);
    await pipe.savePretrained(place.at("both"));
    // The image has 44×60 pixels. The class exchanges height and width.
    const { images } = await pipe.run({ ...shared, image: picture, strength: 0.7, height: 44, width: 60 });
    expect([images[0]!.width, images[0]!.height]).toEqual([44, 60]);
    for (const model of [decoder, "both"]) {
      const args = ["--model", model, "--image", picture, "--strength=0.7", "--max_size=none", "--json"];
      const { status, stdout, stderr } = await run(place, args);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect((await loadImage(place.at("out.png"))).equals(images[0]!)).toBe(true);
      const events = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(events.filter(({ stage, fraction }) => stage === "encode" && fraction !== null)).toHaveLength(4);
      expect(events.at(-1)).toMatchObject({
        ...{ event: "done", pipeline: "KandinskyV22Img2ImgCombinedPipeline", width: 44, height: 60, seed: 5 },
      });
    }
  });

  it("paints the masked part of an image, as the API does", async () => {
    using place = new Workplace();
    copyInpaintingDecoder(place.at("inpainting"));
    const [image, mask] = ["image.png", "mask.png"].map((name) => fixture("kandinsky22-inpaint", name));
    const args = ["--model=inpainting", "--image", image!, "--mask", mask!, "--prior", prior, "--max_size=none"];
    expect(await run(place, args)).toMatchObject({ status: 0, stderr: "" });
    const made = await loadImage(place.at("out.png"));
    expect([made.width, made.height]).toEqual([52, 36]);
    using unet = await UNet2DConditionModel.fromPretrained(fixture("kandinsky22-inpaint", "unet"), onCpu);
    using pipe = await AutoPipelineForInpainting.fromPretrained(decoder, { ...onCpu, unet });
    expect(pipe).toBeInstanceOf(KandinskyV22InpaintCombinedPipeline);
    const inpaint = pipe as unknown as KandinskyV22InpaintCombinedPipeline;
    const { images } = await inpaint.run({ ...shared, image: image!, maskImage: mask!, height: 36, width: 52 });
    expect(made.equals(images[0]!)).toBe(true);
  });
});

/** The files of a folder, as a repository has them. */
function filesOf(folder: string): Record<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(paths.map((path) => [relative(folder, path), readFileSync(path)]));
}

it("takes the decoder and the prior that its model card names from the hub, in a program and on the command line", async () => {
  using place = new Workplace();
  const server = await HubServer.start();
  const card = Buffer.from("---\nprior:\n- somebody/prior\n---\n");
  server.repositories.set("somebody/decoder", { files: { ...filesOf(decoder), "README.md": card } });
  server.repositories.set("somebody/prior", { files: filesOf(prior) });
  vi.stubEnv("HF_ENDPOINT", server.url);
  vi.stubEnv("HF_HOME", place.at("hf"));
  try {
    const size = { height: 28, width: 40 };
    using pipe = await AutoPipelineForText2Image.fromPretrained("somebody/decoder", onCpu);
    expect(pipe).toBeInstanceOf(KandinskyV22CombinedPipeline);
    const { images } = await (pipe as unknown as KandinskyV22CombinedPipeline).run({ ...shared, ...size });
    const asked = ["--height=28", "--width=40", "--model=somebody/decoder"];
    expect(await run(place, [...asked, "--cache_dir", place.at("other")])).toMatchObject({ status: 0, stderr: "" });
    const found = await loadImage(place.at("out.png"));
    expect(found.equals(images[0]!)).toBe(true);
    using local = await KandinskyV22CombinedPipeline.fromPretrained(decoder, onCpu);
    expect(found.equals((await local.run({ ...shared, ...size })).images[0]!)).toBe(true);
    rmSync(place.at("other"), { recursive: true });
    server.repositories.delete("somebody/prior");
    const without = await run(place, [...asked, "--cache_dir", place.at("other")]);
    expect(without).toMatchObject({ status: 1, stderr: expect.stringMatching(/somebody\/prior/) });
  } finally {
    vi.unstubAllEnvs();
    await server.stop();
  }
});

describe("is refused in one line, before the model is loaded:", () => {
  const cases: [what: string, args: string[], status: number, expected: RegExp][] = [
    ["a prior as the model", ["--model", prior], 2, /--model is a prior: give the decoder as --model/],
    ["a decoder as the prior", ["--prior", decoder], 1, /model_index\.json/],
    ["no such prior", ["--prior=./nowhere"], 1, /nowhere: no such folder/],
    ["a decoder without a model card", ["--model=alone"], 1, /has no entry "prior".*--prior$/],
    ["a size that it cannot make", ["--height=30"], 1, /^height must be a multiple of 4, not 30: give 28 or 32$/],
    [
      "one step of the prior",
      ["--prior_num_inference_steps=1"],
      2,
      /--prior_num_inference_steps takes a whole number of at least 2, not 1$/,
    ],
    ["too many steps of the prior", ["--prior_num_inference_steps=1001"], 1, /1001.*1000/],
    ["a second prompt", ["--prompt_2=night"], 2, /--prompt_2 is not for Kandinsky 2.2/],
    ["weights in prompts", ["--prompt_weighting=compel"], 2, /--prompt_weighting is not for Kandinsky 2.2/],
    ["tiles", ["--vae_tiling"], 2, /--vae_tiling is not for Kandinsky 2.2/],
    [
      "a strength that leaves no step",
      ["--image", picture, "--strength=0.1"],
      1,
      /^strength 0.1 leaves none of the 3 steps/,
    ],
    [
      "a strength beside a mask",
      ["--image", picture, "--mask", picture, "--strength=0.5"],
      2,
      /--strength does not go with --mask/,
    ],
    [
      "a mask, with a decoder that does not inpaint",
      ["--image", picture, "--mask", picture],
      1,
      /the UNet has 4 input channels, not 9: it is for/,
    ],
    [
      "a prior for Stable Diffusion",
      ["--model", fixture("text2img", "model"), "--prior", prior],
      2,
      /--prior_?\w* is for Kandinsky 2.2/,
    ],
  ];

  it.each(cases)("%s", async (_, args, status, expected) => {
    using place = new Workplace();
    cpSync(decoder, place.at("alone"), { recursive: true });
    rmSync(place.at("alone", "README.md"));
    const outcome = await run(place, args);
    expect(outcome.stderr).toMatch(/^ip2p: [^\n]+\n$/);
    expect(outcome.stderr.slice("ip2p: ".length, -1)).toMatch(expected);
    expect(outcome.status).toBe(status);
    // What is found is told, and nothing was loaded.
    expect(outcome.stdout).not.toContain("generating with");
    expect(place.list()).not.toContain("out.png");
  });
});
