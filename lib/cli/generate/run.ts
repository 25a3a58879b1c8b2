import { loadImage } from "../../images/index.js";
import type { CommandIo } from "../command.js";
import { isKandinsky } from "../pictures/family.js";
import type { PictureJob } from "../pictures/job.js";
import { runPictures } from "../pictures/run.js";
import { checkStableDiffusionValues } from "./check.js";
import { controlled, controlPictures } from "./controlled.js";
import { imageToImage } from "./image-to-image.js";
import { inpainting } from "./inpainting.js";
import { kandinsky } from "./kandinsky.js";
import { refuseKandinskyValues } from "./kandinsky-options.js";
import { KINDS } from "./kinds.js";
import { type GenerateValues, generateOptions } from "./options.js";
import { textToImage } from "./text-to-image.js";

const ACTIVITY = { name: "generate", doing: "generating", options: generateOptions };

/** Runs `ip2p generate`: what is given decides on the pipeline. */
export function runGenerate(values: GenerateValues, io: CommandIo): Promise<number> {
  return runPictures(values, io, ACTIVITY, async ({ signal, warn, tell, family }) => {
    const image = values.image === undefined ? undefined : await loadImage(values.image, { signal });
    const mask = values.mask === undefined ? undefined : await loadImage(values.mask, { signal });
    const pictures = values.controlnet && (await controlPictures(values, image, signal));
    const found = await family();
    if (isKandinsky(found))
      return (await kandinsky(values, found, { image, mask, warn, tell }, io)) as unknown as PictureJob;
    refuseKandinskyValues(values);
    if (found === "sd") checkStableDiffusionValues(values);
    const kind = KINDS[found];
    if (pictures) return controlled(values, kind, { image, pictures });
    if (!image) return textToImage(values, kind);
    return mask ? inpainting(values, kind, { image, mask, warn, tell }) : imageToImage(values, kind, image, tell);
  });
}
