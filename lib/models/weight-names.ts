/** Stem of a model's weight files: diffusers' models have one, transformers' another. */
export type WeightBaseName = "diffusion_pytorch_model" | "model";

/**
 * Candidate names of a model's weight file or index, in order of precedence: if both exist, diffusers' models use the
 * shards and transformers' the single file.
 */
export function weightFileNames(baseName: WeightBaseName, variant?: string | undefined): string[] {
  const single = `${baseName}.${variant === undefined ? "" : `${variant}.`}safetensors`;
  const indices = indexNames(baseName, variant);
  return baseName === "model" ? [single, ...indices] : [...indices, single];
}

/** Whether a name is that of an index. */
export function isWeightIndex(name: string): boolean {
  return name.endsWith(".json");
}

/** The current name and, with a variant, those of older diffusers versions and of other tools. */
function indexNames(baseName: WeightBaseName, variant: string | undefined): string[] {
  if (variant === undefined) return [`${baseName}.safetensors.index.json`];
  return [
    `${baseName}.safetensors.index.${variant}.json`,
    `${baseName}.safetensors.${variant}.index.json`,
    `${baseName}.${variant}.safetensors.index.json`,
  ];
}

/** The variants of which these files hold weights or an index, sorted. */
export function variantsAmong(present: readonly string[], baseName: WeightBaseName): string[] {
  const patterns = [
    /^\.(\w[\w.-]*?)\.safetensors(?:\.index\.json)?$/,
    /^\.safetensors\.index\.(\w[\w.-]*)\.json$/,
    /^\.safetensors\.(\w[\w.-]*)\.index\.json$/,
  ];
  const variants = new Set<string>();
  for (const name of present) {
    if (!name.startsWith(`${baseName}.`)) continue;
    for (const pattern of patterns) {
      const variant = pattern.exec(name.slice(baseName.length))?.[1];
      // The variant of "model.fp16-00001-of-00002.safetensors" is taken from the index.
      if (variant !== undefined && !/-\d{5}-of-\d{5}$/.test(variant)) variants.add(variant);
    }
  }
  return [...variants].sort();
}

/** Whether a file holds weights in a format that can run code when read (pickle). */
export function isPickle(name: string): boolean {
  return /\.(?:bin|ckpt|pt|pth|pkl|pickle)$/.test(name);
}

/** Advice for a model without safetensors. */
export const HOW_TO_CONVERT =
  "Convert the whole model in Python: " +
  'DiffusionPipeline.from_pretrained("MODEL").save_pretrained("CONVERTED", safe_serialization=True)';
