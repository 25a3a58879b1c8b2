import { denoisingCase } from "./denoising.mjs";

/** An edit of one image: three guided rows per denoising step. */
export const { description, model, rows, run } = denoisingCase({
  what: "edit an image",
  pipeline: "StableDiffusionInstructPix2PixPipeline",
  model: { channels: 8 },
  args: ({ guidanceScale, imageGuidanceScale }) => ({ guidanceScale, imageGuidanceScale }),
});
