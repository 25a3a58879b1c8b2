import { loadImage } from "../../images/index.js";
import type { CommandIo } from "../command.js";
import { runPictures } from "../pictures/run.js";
import { checkStableDiffusionEdit } from "./check.js";
import { edit } from "./edit.js";
import { editXL } from "./edit-xl.js";
import { type EditValues, editOptions } from "./options.js";

const ACTIVITY = { name: "edit", doing: "editing", options: editOptions };

/** Runs `ip2p edit`: the model decides on the pipeline. */
export function runEdit(values: EditValues, io: CommandIo): Promise<number> {
  return runPictures(values, io, ACTIVITY, async ({ signal, warn, tell, family }) => {
    const image = await loadImage(values.image, { signal });
    if ((await family()) === "sdxl") return editXL(values, image, { warn, tell });
    checkStableDiffusionEdit(values);
    return edit(values, image, tell);
  });
}
