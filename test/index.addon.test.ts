import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import * as exported from "../lib/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));

it("the public interface has every documented name", () => {
  expect(Object.keys(exported)).toEqual(
    expect.arrayContaining([
      ...["InstructPix2PixPipeline", "AutoencoderKL", "UNet2DConditionModel", "CLIPTextModel", "CLIPTokenizer"],
      ...["Tensor", "Generator", "loadSafetensors", "saveSafetensors", "RgbImage", "loadImage", "imageGrid"],
      ...["imageToTensor", "tensorToImage", "tensorToImages", "tidy", "readMetrics", "listCheckpoints"],
      ...["makeImageGrid", "AutoPipelineForImage2Image", "DiffusionPipeline", "StableDiffusionImg2ImgPipeline"],
      ...["InstructPix2PixError", "isInstructPix2PixError", "installLibtorch", "diagnose", "resolvePretrained"],
      ...["DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler"],
      ...["EulerDiscreteScheduler", "HeunDiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler"],
      ...["PNDMScheduler", "UniPCMultistepScheduler", "Scheduler", "loadScheduler"],
    ]),
  );
});

it("importing the package needs neither libtorch nor the addon; the first call that computes says what is missing", () => {
  const program = `
    import { Tensor, isInstructPix2PixError } from "instruct-pix2pix";
    try { Tensor.from([1]); } catch (error) { console.log(isInstructPix2PixError(error), error.code); }`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: root,
    env: { ...process.env, LIBTORCH: "/nonexistent" },
    encoding: "utf8",
  });
  expect({ stdout, stderr, status }).toEqual({ stdout: "true ERR_LIBTORCH_NOT_FOUND\n", stderr: "", status: 0 });
});
