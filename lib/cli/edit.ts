import { defineCommand } from "./command.js";
import { checkEditValues } from "./edit/check.js";
import { editOptions } from "./edit/options.js";

/** `ip2p edit`: edits an image by an instruction. */
export const editCommand = defineCommand({
  name: "edit",
  summary: "edit an image by an instruction",
  options: editOptions,
  check: checkEditValues,
  examples: [
    'ip2p edit --model timbrooks/instruct-pix2pix --image photo.jpg --prompt "make it winter" --output winter.png',
    "ip2p edit --model ./my-model --image photo.jpg --prompt 'as a watercolour' --output grid.png --grid --num_images_per_prompt 3",
  ],
  // Loaded lazily, so that the help appears at once.
  run: async (values, io) => (await import("./edit/run.js")).runEdit(values, io),
});
