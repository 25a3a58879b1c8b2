import { denoisingCase } from "./denoising.mjs";

/** Image to image with Stable Diffusion: two guided rows per denoising step. */
export const { description, channels, rows, run } = denoisingCase({
  what: "image to image",
  pipeline: "StableDiffusionImg2ImgPipeline",
  channels: 4,
  args: ({ guidanceScale }) => ({ guidanceScale, strength: 0.5 }),
});
