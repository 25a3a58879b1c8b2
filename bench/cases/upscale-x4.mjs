import { denoisingCase } from "./denoising.mjs";

/** Stable Diffusion's ×4 upscaler: two guided rows per denoising step, at the size of the small image; --size 128 gives 512². */
export const { description, model, modelName, rows, run } = denoisingCase({
  what: "upscale an image by 4",
  pipeline: "StableDiffusionUpscalePipeline",
  model: { source: "full-size-x4-upscaler", name: "stable-diffusion-x4-upscaler" },
  modelName: "Stable Diffusion's ×4 upscaler",
  args: ({ guidanceScale }) => ({ guidanceScale, noiseLevel: 20 }),
});
