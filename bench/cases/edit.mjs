import { denoisingCase } from "./denoising.mjs";

/** An edit of one picture: three guided rows per denoising step. */
export const { description, model, rows, run } = denoisingCase({
  what: "edit a picture",
  pipeline: "StableDiffusionInstructPix2PixPipeline",
  model: { channels: 8 },
  args: ({ guidanceScale, imageGuidanceScale }) => ({ guidanceScale, imageGuidanceScale }),
});
