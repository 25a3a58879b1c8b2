/** A part of a pipeline that adapters change, by the name of the pipeline's component. */
export type LoraComponent = "unet" | "textEncoder" | "textEncoder2";

/** How parts are called in files with names of diffusers and peft, and in messages. */
export const LORA_FOLDERS: Readonly<Record<LoraComponent, string>> = {
  unet: "unet",
  textEncoder: "text_encoder",
  textEncoder2: "text_encoder_2",
};

/** What a tensor of an adapter's file is: up·down is the addition, and alpha scales it. */
export type LoraRole = "up" | "down" | "alpha";

/** A tensor's name, taken apart. */
export interface LoraName {
  component: LoraComponent;
  /** The layer as the file names it; with underscores instead of dots where the file is kohya's. */
  layer: string;
  flat: boolean;
  role: LoraRole;
}

const KOHYA = { unet: "lora_unet_", textEncoder: "lora_te_", textEncoder2: "lora_te2_" } as const;

/** What the names of kohya's scripts begin with, by the family of the base model. */
export const KOHYA_PREFIXES = { sd: KOHYA, sdxl: { ...KOHYA, textEncoder: "lora_te1_" } } as const;

const FLAT_PREFIXES = Object.values(KOHYA_PREFIXES).flatMap((prefixes) =>
  (Object.keys(prefixes) as LoraComponent[]).map((component) => [prefixes[component], component] as const),
);

/** The endings of peft, whose tensors may carry the adapter's name, of diffusers, and of kohya's scripts. */
const ENDING =
  /(?:\.lora_([AB])(?:\.(?!weight$)[\w-]+)?\.weight|[._]lora(?:_linear_layer)?[._](down|up)\.weight|(?:[._]lora(?:_linear_layer)?)?\.(alpha))$/;

/** Takes a name apart; undefined if it is none of an adapter's. */
export function parseLoraName(name: string): LoraName | undefined {
  const ending = ENDING.exec(name);
  if (!ending) return undefined;
  const [, letter, direction, alpha] = ending;
  const role: LoraRole = alpha ? "alpha" : letter === "A" || direction === "down" ? "down" : "up";
  const path = name.slice(0, ending.index);
  for (const [prefix, component] of FLAT_PREFIXES)
    if (path.startsWith(prefix)) return { component, layer: path.slice(prefix.length), flat: true, role };
  const bare = path.startsWith("base_model.model.") ? path.slice("base_model.model.".length) : path;
  for (const component of ["unet", "textEncoder", "textEncoder2"] as const) {
    const prefix = `${LORA_FOLDERS[component]}.`;
    if (bare.startsWith(prefix)) return { component, layer: bare.slice(prefix.length), flat: false, role };
  }
  return { component: "unet", layer: bare, flat: false, role };
}

/** What other kinds of adapters have in their files. */
const OTHER_KINDS: readonly (readonly [RegExp, string])[] = [
  [/dora_scale|lora_magnitude_vector/, "DoRA, which scales whole columns of weights"],
  [/\.hada_/, "a LoHa adapter"],
  [/\.lokr_/, "a LoKr adapter"],
  [/\.lora_mid\./, "a LoCon adapter with Tucker decomposition"],
  [/\.oft_|\.boft_/, "an OFT adapter"],
  [/\.ia3_|on_input$/, "an IA³ adapter"],
  [/\.diff(?:_b)?$|\.w_norm$|\.b_norm$/, "full differences of weights"],
  [/lora_B\.bias$|lora_up\.bias$/, "LoRA with biases"],
  [
    /^(?:lora_)?transformer[._]|double_blocks|single_blocks|joint_blocks/,
    "an adapter for a transformer, such as FLUX or SD 3",
  ],
  [/^bundle_emb|^clip_[lg]$|^emb_params$/, "textual inversion"],
];

/** What else a tensor of this name belongs to, in words. */
export function otherKind(name: string): string | undefined {
  return OTHER_KINDS.find(([pattern]) => pattern.test(name))?.[1];
}
