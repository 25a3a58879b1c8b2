import { afterAll, beforeAll, expect, it } from "vitest";
import {
  AutoencoderKL,
  AutoPipelineForText2Image,
  CLIPTokenizer,
  DiffusionPipeline,
  encodePrompt,
  InstructPix2PixPipeline,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionPipeline,
  Tensor,
  UNet2DConditionModel,
} from "../../lib/index.js";
import { fixture } from "../helpers/fixtures.js";

const FOLDER = fixture("ip2p-tiny", "model");
const any = (options: object) => options as never;
let pipe: InstructPix2PixPipeline;
let tensor: Tensor;

beforeAll(async () => {
  pipe = await InstructPix2PixPipeline.fromPretrained(FOLDER, { device: "cpu" });
  tensor = Tensor.from([1, 2]);
});

afterAll(() => {
  pipe.dispose();
  tensor.dispose();
});

const call = { image: "missing.png", prompt: "x" };

it.each<[string, () => Promise<unknown>, string]>([
  ["run", () => pipe.run(any({ ...call, num_inference_steps: 2 })), "numInferenceSteps"],
  ["run", () => pipe.run(any({ ...call, output_type: "tensor" })), "outputType"],
  ["run", () => pipe.run(any({ ...call, callback_on_step_end: () => {} })), "onStep"],
  ["fromPretrained", () => InstructPix2PixPipeline.fromPretrained("no/model", any({ torch_dtype: "x" })), "dtype"],
  ["fromPretrained", () => InstructPix2PixPipeline.fromPretrained("no/model", any({ text_encoder: 1 })), "textEncoder"],
  ["of any class", () => DiffusionPipeline.fromPretrained("no/model", any({ torch_dtype: "x" })), "dtype"],
  ["of a task", () => AutoPipelineForText2Image.fromPretrained("no/model", any({ torch_dtype: "x" })), "dtype"],
  [
    "fromSingleFile",
    () => InstructPix2PixPipeline.fromSingleFile("no", any({ prediction_type: "x" })),
    "predictionType",
  ],
  ["fromPipe", async () => StableDiffusionPipeline.fromPipe(pipe, any({ Unet: 1 })), "unet"],
  ["a model", () => UNet2DConditionModel.fromPretrained("no", any({ torch_dtype: "x" })), "dtype"],
  ["a model of a file", () => AutoencoderKL.fromSingleFile("no", any({ torch_dtype: "x" })), "dtype"],
  ["fromConfig", () => AutoencoderKL.fromConfig({}, any({ Device: "cpu" })), "device"],
  ["savePretrained", () => pipe.vae.savePretrained("no", any({ torch_dtype: "x" })), "dtype"],
  ["encode", () => pipe.vae.encode(tensor, any({ sgnal: 1 })), "signal"],
  ["forward", () => pipe.unet.forward(tensor, 1, tensor, any({ class_labels: tensor })), "classLabels"],
  ["encodePrompt", () => encodePrompt(pipe, "x", any({ prompt_weighting: "compel" })), "promptWeighting"],
  ["Tensor.zeros", () => Tensor.zeros([1], any({ dType: "x" })), "dtype"],
  ["Tensor.randn", () => Tensor.randn([1], any({ generators: 1 })), "generator"],
  ["Tensor.randnLike", () => Tensor.randnLike(tensor, any({ Generator: 1 })), "generator"],
  ["Tensor.to", () => tensor.to(any({ torch_dtype: "x" })), "dtype"],
  ["Tensor.from", async () => Tensor.from([1], [1], any({ dtyp: "x" })), "dtype"],
  ["a tokenizer", () => CLIPTokenizer.fromPretrained("no", any({ pad_token: "x" })), "padToken"],
  ["tokenizing", async () => pipe.tokenizer.encode("x", any({ max_length: 3 })), "maxLength"],
])("%s refuses an option by its name in Python", async (_, run, name) => {
  await expect((async () => await run())()).rejects.toMatchObject({
    code: "ERR_INVALID_ARGUMENT",
    message: expect.stringMatching(`^unknown option "\\w+"; did you mean ${name}\\?$`),
  });
});

it("says of options that are not needed that they are not", async () => {
  const load = InstructPix2PixPipeline.fromPretrained(FOLDER, any({ requires_safety_checker: false }));
  await expect(load).rejects.toThrow("a safety checker is used where there is one, so leave it out");
});

it("refuses options of other pipelines", async () => {
  await expect(pipe.run(any({ ...call, height: 64 }))).rejects.toThrow('unknown option "height"');
  await expect(UNet2DConditionModel.fromPretrained("no", any({ vaeDtype: "x" }))).rejects.toThrow(
    'unknown option "vaeDtype"',
  );
  using other = await StableDiffusionPipeline.fromPretrained(fixture("text2img", "model"));
  using images = StableDiffusionImg2ImgPipeline.fromPipe(other);
  await expect(images.run(any({ ...call, guidanceRescale: 0.5 }))).rejects.toThrow('unknown option "guidanceRescale"');
});
