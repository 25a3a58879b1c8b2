import { expect, it } from "vitest";
import { loadImage } from "../../lib/images/index.js";
import { InstructPix2PixPipeline } from "../../lib/pipelines/stable_diffusion/instruct_pix2pix.js";
import { fixture } from "../helpers/fixtures.js";
import { editArguments, ip2pHere, tinyImage, tinyModel, Workplace } from "./run-cli.js";

const [style, other] = [fixture("lora", "style.safetensors"), fixture("lora", "other.safetensors")];
const quick = ["--num_inference_steps=2", "--seed=3", "--device=cpu"];

it.each(["none", "int8"] as const)("ip2p edit --lora adds adapters with their weights (%s)", async (quantization) => {
  using place = new Workplace();
  const args = editArguments(...quick, `--lora=${style}:0.5`, "--lora", other, "--quantization", quantization);
  expect(await ip2pHere(args, { cwd: place.folder })).toMatchObject({ status: 0 });
  using pipe = await InstructPix2PixPipeline.fromPretrained(tinyModel, { quantization });
  const call = { image: tinyImage, prompt: "make it a snowy day", numInferenceSteps: 2, seed: 3 };
  const [plain] = (await pipe.run(call)).images;
  await pipe.loadLoraWeights(style, { weight: 0.5 });
  await pipe.loadLoraWeights(other);
  const [expected] = (await pipe.run(call)).images;
  const found = await loadImage(place.at("out.png"));
  expect(found.equals(expected!)).toBe(true);
  expect(found.equals(plain!)).toBe(false);
});

it("ip2p generate --lora does too, and refuses an adapter for another model by name", async () => {
  using place = new Workplace();
  const args = ["generate", "--model", fixture("text2img", "model"), "--prompt=snow", "--output=out.png", ...quick];
  const outcome = await ip2pHere([...args, "--lora", style], { cwd: place.folder });
  expect(outcome).toMatchObject({ status: 1, stderr: expect.stringMatching(/style\.safetensors.*another base model/) });
});

it.each([
  [["--lora", ":0.5"], /FILE:WEIGHT/],
  [["--lora", "no-such-file.safetensors"], /no-such-file\.safetensors/],
])("%j is refused", async (args, message) => {
  using place = new Workplace();
  const outcome = await ip2pHere(editArguments(...quick, ...args), { cwd: place.folder });
  expect(outcome.status).not.toBe(0);
  expect(outcome.stderr).toMatch(message);
});
