import { defineCommand } from "./command.js";
import { checkUpscaleValues } from "./upscale/check.js";
import { upscaleOptions } from "./upscale/options.js";

/** `ip2p upscale`: makes images larger. */
export const upscaleCommand = defineCommand({
  name: "upscale",
  summary: "make an image 2 or 4 times as large on each side",
  description: [
    "With --scale 2 the latent upscaler, with --scale 4 Stable Diffusion's upscaler: each takes a model of its own. A prompt that says what the image shows helps; it can be left out. Large images need --tile, or memory grows with their size.",
  ],
  options: upscaleOptions,
  examples: [
    "ip2p upscale --scale 2 --model stabilityai/sd-x2-latent-upscaler --image photo.jpg --output large.png",
    'ip2p upscale --scale 4 --model stabilityai/stable-diffusion-x4-upscaler --image photo.jpg --prompt "a harbour in winter" --output large.png --tile',
  ],
  check: checkUpscaleValues,
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./upscale/run.js")).runUpscale(values, io),
});
