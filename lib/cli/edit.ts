import { defineCommand } from "./command.js";
import { editOptions } from "./edit/options.js";
import { checkMaxSizeValue, checkPictureValues } from "./pictures/check.js";

/** `ip2p edit`: edits a picture by an instruction. */
export const editCommand = defineCommand({
  name: "edit",
  summary: "edit a picture by an instruction",
  options: editOptions,
  check: (values) => {
    checkPictureValues(values);
    checkMaxSizeValue(values.maxSize);
  },
  examples: [
    'ip2p edit --model timbrooks/instruct-pix2pix --image photo.jpg --prompt "make it winter" --output winter.png',
    "ip2p edit --model ./my-model --image photo.jpg --prompt 'as a watercolour' --output grid.png --grid --num_images_per_prompt 3",
  ],
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./edit/run.js")).runEdit(values, io),
});
