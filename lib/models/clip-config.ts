import { isObject } from "../files/config.js";
import { type JsonObject, unsupported } from "./schema.js";

/**
 * The configuration of a part of a CLIP, in the `config.json` of the whole: keys that describe no shape and that old files hold by
 * the dozen are left out.
 *
 * @param known the part's keys
 * @throws `ERR_CONFIG` if it is no object
 */
export function partOfClipConfig(
  config: JsonObject,
  part: "text" | "vision",
  { where, known }: { where: string; known: object },
): JsonObject {
  // As in transformers, the older key counts where both are there.
  const key = config[`${part}_config_dict`] == null ? `${part}_config` : `${part}_config_dict`;
  const value = config[key] ?? {};
  if (!isObject(value)) throw unsupported(where, key, value, "an object");
  return Object.fromEntries(Object.entries(value).filter(([name]) => Object.hasOwn(known, name)));
}
