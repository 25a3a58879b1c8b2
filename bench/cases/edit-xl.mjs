import { denoisingCase } from "./denoising.mjs";

/** An edit with Stable Diffusion XL, at the size of the image: three guided rows per denoising step. */
export const { description, model, modelName, rows, run } = denoisingCase({
  what: "edit an image with Stable Diffusion XL",
  pipeline: "StableDiffusionXLInstructPix2PixPipeline",
  model: { source: "full-size-sdxl-edit", name: "stable-diffusion-xl-edit", dtype: "bfloat16" },
  modelName: "Stable Diffusion XL InstructPix2Pix",
  args: ({ guidanceScale, imageGuidanceScale, size }) => ({
    ...{ guidanceScale, imageGuidanceScale },
    ...{ height: size, width: size },
  }),
});
