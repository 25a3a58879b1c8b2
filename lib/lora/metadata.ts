import { InstructPix2PixError } from "../core/errors.js";
import { quote } from "../core/quote.js";
import { isObject, parseObject } from "../files/config.js";

/** The header's entry with peft's configurations, as diffusers writes it. */
const ENTRY = "lora_adapter_metadata";

/** What a layer's product is multiplied by; undefined where the header does not say. */
export type ScaleOf = (folder: string, layer: string, rank: number) => number | undefined;

/**
 * Reads peft's configurations in a file's header: `lora_alpha`, `alpha_pattern`, `use_rslora`.
 *
 * @throws `ERR_STATE_DICT` for DoRA and malformed entries
 */
export function parseMetadata(metadata: Readonly<Record<string, string>> | null, path: string): ScaleOf {
  const text = metadata?.[ENTRY];
  if (text === undefined) return () => undefined;
  const entries = parseObject(text, `${path}: ${ENTRY}`, "ERR_STATE_DICT");
  const refuse = (problem: string) => new InstructPix2PixError("ERR_STATE_DICT", `${path}: ${ENTRY}: ${problem}`);
  for (const [name, value] of Object.entries(entries))
    if (name.endsWith(".use_dora") && value === true)
      throw refuse(
        `${quote(name)} is true: DoRA, which scales whole columns of weights, is not supported: only LoRA is`,
      );
  const numberAt = (value: unknown, name: string): number => {
    if (typeof value !== "number" || !Number.isFinite(value)) throw refuse(`${quote(name)} is not a number`);
    return value;
  };
  return (folder, layer, rank) => {
    const alpha = entries[`${folder}.lora_alpha`];
    if (alpha === undefined || alpha === null) return undefined;
    const patterns = entries[`${folder}.alpha_pattern`];
    const own = isObject(patterns) ? Object.entries(patterns).find(([name]) => names(name, layer)) : undefined;
    const value = own ? numberAt(own[1], own[0]) : numberAt(alpha, `${folder}.lora_alpha`);
    return value / (entries[`${folder}.use_rslora`] === true ? Math.sqrt(rank) : rank);
  };
}

/** Whether a name in a pattern is the layer's, or the end of it. */
function names(pattern: string, layer: string): boolean {
  const bare = pattern
    .replace(/^\^/, "")
    .replace(/\$$/, "")
    .replace(/^text_model\./, "");
  return layer === bare || layer.endsWith(`.${bare}`);
}
