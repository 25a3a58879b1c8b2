import { declareOptions } from "../../options/declaration.js";
import { trainOptions } from "../../training/options.js";

const { original_image_column, edited_image_column, edit_prompt_column } = trainOptions;
const group = "Columns";

/** The columns of a user's own pairs, as `ip2p train` declares them. */
export const columnOptions = declareOptions({
  original_image_column: { ...original_image_column, group },
  edited_image_column: { ...edited_image_column, group },
  edit_prompt_column: { ...edit_prompt_column, group },
});
