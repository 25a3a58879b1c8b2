import { describe, expect, test } from "vitest";
import { Scope } from "../../lib/core/scope.js";
import type { Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors } from "../../lib/files/safetensors.js";
import { ControlNetModel } from "../../lib/models/controlnet.js";
import { StableDiffusionControlNetPipeline } from "../../lib/pipelines/controlnet/controlnet.js";
import { StableDiffusionControlNetImg2ImgPipeline } from "../../lib/pipelines/controlnet/controlnet_img2img.js";
import { StableDiffusionControlNetInpaintPipeline } from "../../lib/pipelines/controlnet/controlnet_inpaint.js";
import { StableDiffusionXLControlNetPipeline } from "../../lib/pipelines/controlnet/controlnet_sd_xl.js";
import { StableDiffusionXLControlNetImg2ImgPipeline } from "../../lib/pipelines/controlnet/controlnet_sd_xl_img2img.js";
import { deviation } from "../helpers/compare.js";
import { fixture, readJson } from "../helpers/fixtures.js";
import { replay } from "./replay.js";

const TOLERANCE = 1e-5;
const CLASSES = {
  StableDiffusionControlNetPipeline,
  StableDiffusionControlNetImg2ImgPipeline,
  StableDiffusionControlNetInpaintPipeline,
  StableDiffusionXLControlNetPipeline,
  StableDiffusionXLControlNetImg2ImgPipeline,
};

// With several prompts and images, image i goes with prompt i here.
describe("pipelines", () => replay("controlnet", CLASSES, { 4: [0, 3] }));
describe("pipelines of both families", () => replay("controlnet-more", CLASSES));

interface Module {
  name: string;
  folder: string;
  call: { conditioning_scale?: number; guess_mode?: boolean };
  conditions: string[];
}

describe("models", () => {
  async function compare(
    net: ControlNetModel,
    given: Record<string, Tensor>,
    call: Module["call"],
    expected: Tensor[],
  ) {
    using scope = new Scope();
    const { class_labels: classLabels, text_embeds: textEmbeds, time_ids: timeIds } = given;
    const { downBlockResSamples, midBlockResSample } = await net.forward(
      given.sample!,
      given.timestep!,
      given.encoder_hidden_states!,
      given.controlnet_cond!,
      {
        ...(call.conditioning_scale !== undefined && { conditioningScale: call.conditioning_scale }),
        ...(call.guess_mode && { guessMode: true }),
        ...(classLabels && { classLabels }),
        ...(textEmbeds && timeIds && { addedConditions: { textEmbeds, timeIds } }),
      },
    );
    const residuals = [...downBlockResSamples, midBlockResSample].map((each) => scope.add(each));
    expect(residuals).toHaveLength(expected.length);
    for (const [i, residual] of residuals.entries())
      expect((await deviation(residual, expected[i]!)).relative).toBeLessThan(TOLERANCE);
  }

  const modules = readJson<Module[]>(fixture("controlnet-more", "modules.json"));
  test.each(modules.map((module, i) => ({ i, ...module })))("$name", async ({ i, folder, call }) => {
    const tensors = await loadSafetensors(fixture("controlnet-more", "modules.safetensors"));
    const own = Object.fromEntries(
      Object.entries(tensors).flatMap(([name, tensor]) => (name.startsWith(`${i}.`) ? [[name.slice(2), tensor]] : [])),
    );
    const down = Object.keys(own).filter((name) => name.startsWith("down.")).length;
    const expected = [...Array.from({ length: down }, (_, k) => own[`down.${k}`]!), own.mid!];
    using net = await ControlNetModel.fromPretrained(fixture("controlnet-more", folder));
    await compare(net, own, call, expected);
    for (const tensor of Object.values(tensors)) tensor.dispose();
  });

  test.each([0, 1])("ControlNet %i of the pipelines", async (place) => {
    const tensors = await loadSafetensors(fixture("controlnet", "expected.safetensors"));
    const of = (name: string) => tensors[`module.controlnet.${name}`]!;
    using net = await ControlNetModel.fromPretrained(
      fixture("controlnet", "model", place === 0 ? "controlnet" : `controlnet_${place}`),
    );
    const names = ["sample", "timestep", "encoder_hidden_states", "controlnet_cond"];
    const given = Object.fromEntries(names.map((name) => [name, of(name)]));
    const residuals = (kind: string) => [
      ...[0, 1, 2, 3].map((k) => of(`${place}${kind}.down.${k}`)),
      of(`${place}${kind}.mid`),
    ];
    await compare(net, given, { conditioning_scale: 0.7 }, residuals(""));
    await compare(net, given, { conditioning_scale: 0.7, guess_mode: true }, residuals(".guess"));
    for (const tensor of Object.values(tensors)) tensor.dispose();
  });
});
