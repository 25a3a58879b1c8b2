import { defineCommand } from "./command.js";
import { checkGenerateValues } from "./generate/check.js";
import { generateOptions } from "./generate/options.js";

/** `ip2p generate`: makes images from text, and from images and masks. */
export const generateCommand = defineCommand({
  name: "generate",
  summary: "make images from text, or change an image or the masked part of one by text",
  description: [
    "With a text-to-image model, makes images from the prompt alone; with --image, makes a new image from a given one; with --mask as well, fills the white part of the mask. Inpainting models need --image and --mask.",
  ],
  options: generateOptions,
  examples: [
    'ip2p generate --model stable-diffusion-v1-5/stable-diffusion-v1-5 --prompt "a lighthouse at dawn" --output lighthouse.png',
    'ip2p generate --model ./base --image photo.jpg --strength 0.6 --prompt "an oil painting" --output painting.png',
    'ip2p generate --model ./base --image photo.jpg --mask mask.png --padding_mask_crop 32 --prompt "a red door" --output door.png',
    'ip2p generate --model ./sdxl-base --refiner ./sdxl-refiner --prompt "a lighthouse at dawn" --output lighthouse.png',
  ],
  check: checkGenerateValues,
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./generate/run.js")).runGenerate(values, io),
});
