import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { camelCase } from "../../options/names.js";
import { usage } from "../pictures/check.js";

const GROUP = "Kandinsky 2.2";

/** The options that only models of Kandinsky 2.2 take. */
export const kandinskyOptions = declareOptions({
  prior: {
    type: "string",
    value: "DIR|HUB_ID",
    group: GROUP,
    help: "the prior, which makes image embeddings of the prompt; by default the one that the decoder's model card names",
  },
  prior_num_inference_steps: { type: "integer", min: 2, group: GROUP, help: "steps of the prior; by default 25" },
  prior_guidance_scale: {
    type: "number",
    group: GROUP,
    help: "how strongly the prior follows the prompt; by default 4",
  },
});

type KandinskyValues = Partial<OptionValues<typeof kandinskyOptions>>;

/** @throws `ERR_USAGE` for an option that a model of another family does not take */
export function refuseKandinskyValues(values: KandinskyValues): void {
  for (const name of Object.keys(kandinskyOptions) as (keyof typeof kandinskyOptions)[])
    if (values[camelCase(name) as keyof KandinskyValues] !== undefined)
      throw usage(`--${name} is for Kandinsky 2.2, but the model is of another family`);
}
