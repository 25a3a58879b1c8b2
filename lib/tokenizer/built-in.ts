import { fileURLToPath } from "node:url";

/**
 * The folder of CLIP's tokenizer, for `CLIPTokenizer.fromPretrained`: the vocabulary that every Stable Diffusion model
 * uses, which models in a single file lack.
 */
export const builtInTokenizer: string = fileURLToPath(new URL("../../models/clip-tokenizer", import.meta.url));
