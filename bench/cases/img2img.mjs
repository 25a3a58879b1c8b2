import { denoisingCase } from "./denoising.mjs";

/** Image to image with Stable Diffusion: two guided rows per denoising step. */
export const { description, model, rows, run } = denoisingCase({
  what: "image to image",
  pipeline: "StableDiffusionImg2ImgPipeline",
  model: { channels: 4 },
  args: ({ guidanceScale }) => ({ guidanceScale, strength: 0.5 }),
});
