/** JSON with bare NaN and Infinity, as W&B's own clients write and its server expects. */
export function toJson(value: unknown): string {
  const marked = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "number" && !Number.isFinite(inner) ? `\0${inner}` : inner,
  );
  return marked.replace(/"\\u0000(NaN|-?Infinity)"/g, "$1");
}
