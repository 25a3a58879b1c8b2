import { loadImage } from "../../images/index.js";
import type { CommandIo } from "../command.js";
import { runPictures } from "../pictures/run.js";
import { imageToImage } from "./image-to-image.js";
import { inpainting } from "./inpainting.js";
import { type GenerateValues, generateOptions } from "./options.js";
import { textToImage } from "./text-to-image.js";

const ACTIVITY = { name: "generate", doing: "generating", options: generateOptions };

/** Runs `ip2p generate`: what is given decides on the pipeline. */
export function runGenerate(values: GenerateValues, io: CommandIo): Promise<number> {
  return runPictures(values, io, ACTIVITY, async ({ signal, warn, tell }) => {
    if (values.image === undefined) return textToImage(values);
    const image = await loadImage(values.image, { signal });
    if (values.mask === undefined) return imageToImage(values, image, tell);
    return inpainting(values, { image, mask: await loadImage(values.mask, { signal }), warn, tell });
  });
}
