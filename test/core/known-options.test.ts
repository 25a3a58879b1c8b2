import { expect, it } from "vitest";
import { checkOptions, optionNames } from "../../lib/core/known-options.js";
import { EulerDiscreteScheduler, imageGrid, loadImage, RgbImage, resolvePretrained, train } from "../../lib/index.js";
import { fixture } from "../helpers/fixtures.js";

interface Options {
  numInferenceSteps?: number;
  dtype?: string;
  onStep?: () => void;
  secret?: boolean;
}

const NAMES = optionNames<Options>()({ numInferenceSteps: true, dtype: true, onStep: true, secret: false });

const check = (options: unknown) => () => checkOptions(options as Options, NAMES);

it.each([
  ["num_inference_steps", 'unknown option "num_inference_steps"; did you mean numInferenceSteps?'],
  ["num-inference-steps", 'unknown option "num-inference-steps"; did you mean numInferenceSteps?'],
  ["numInferencSteps", 'unknown option "numInferencSteps"; did you mean numInferenceSteps?'],
  ["steps", 'unknown option "steps"; did you mean numInferenceSteps?'],
  ["torch_dtype", 'unknown option "torch_dtype"; did you mean dtype?'],
  ["torchDtype", 'unknown option "torchDtype"; did you mean dtype?'],
  ["callback_on_step_end", 'unknown option "callback_on_step_end"; did you mean onStep?'],
  ["callbackOnStepEnd", 'unknown option "callbackOnStepEnd"; did you mean onStep?'],
  ["safety_checker", 'unknown option "safety_checker": it is loaded with the model, so leave it out'],
  ["use_safetensors", 'unknown option "use_safetensors": weights are only read from safetensors, so leave it out'],
  ["colour", 'unknown option "colour"; the options are numInferenceSteps, dtype, onStep'],
  ["__proto__x", 'unknown option "__proto__x"; the options are numInferenceSteps, dtype, onStep'],
  ["toString", 'unknown option "toString"; the options are numInferenceSteps, dtype, onStep'],
])("refuses %s with the right name", (name, message) => {
  expect(check({ [name]: 1 })).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message }));
});

it("takes known names, absent options and undefined values", () => {
  const given = { numInferenceSteps: 2, secret: true, torch_dtype: undefined };
  expect(check(given)()).toBe(given);
  expect(check(undefined)()).toEqual({});
  for (const wrong of [null, 1, "fp16"])
    expect(check(wrong)).toThrow(/^options must be an object with .*, not (?:null|a number|"fp16")$/);
});

it("does not suggest a name in Python that the function does not have", () => {
  const names = optionNames<{ variant?: string }>()({ variant: true });
  expect(() => checkOptions({ torch_dtype: 1 } as object as { variant?: string }, names)).toThrow(
    /^unknown option "torch_dtype"; the options are variant$/,
  );
});

const any = (options: object) => options as never;

it.each([
  ["loadImage", () => loadImage(fixture("missing.png"), any({ max_pixels: 9 })), "maxPixels"],
  ["resolvePretrained", () => resolvePretrained("no/model", any({ cache_dir: "x" })), "cacheDir"],
  ["train", () => train(any({ pretrained_model_name_or_path: "x" })), "pretrainedModelNameOrPath"],
  ["train's callbacks", () => train(any({ on_step: () => {} })), "onStep"],
  ["encode", () => new RgbImage(1, 1, new Uint8Array(3)).encode("png", any({ qualty: 3 })), "quality"],
  ["imageGrid", async () => imageGrid([new RgbImage(1, 1, new Uint8Array(3))], any({ collumns: 1 })), "columns"],
  ["setTimesteps", async () => new EulerDiscreteScheduler().setTimesteps(4, any({ time_steps: [1] })), "timesteps"],
  ["step", () => new EulerDiscreteScheduler().step(any({}), 1, any({}), any({ s_churn: 1 })), "sChurn"],
])("%s refuses unknown options before anything else", async (_, call, name) => {
  await expect((async () => await call())()).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringMatching(`^unknown option "\\w+"; did you mean ${name}\\?$`),
  });
});

it("refuses keys of a scheduler's configuration in camelCase, not those of other classes", () => {
  expect(() => new EulerDiscreteScheduler({ useKarrasSigmas: true })).toThrow(
    'EulerDiscreteScheduler: unknown key "useKarrasSigmas"; did you mean use_karras_sigmas?',
  );
  expect(() => EulerDiscreteScheduler.fromConfig({ thresholding: true, someOtherKey: 1 })).not.toThrow();
});
