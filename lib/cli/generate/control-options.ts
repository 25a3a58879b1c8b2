import { declareOptions, type OptionValues } from "../../options/declaration.js";
import { usage } from "../pictures/check.js";

const GROUP = "ControlNet";

/** Options for images that ControlNets lead by. */
export const controlOptions = declareOptions({
  controlnet: {
    type: "strings",
    value: "DIR|HUB_ID",
    group: GROUP,
    help: "a ControlNet for the model, which leads it by an image; repeat the flag for several",
  },
  control_image: {
    type: "strings",
    value: "FILE|URL",
    group: GROUP,
    help: "the image that the ControlNet sees: edges, a depth map, a pose; one for each --controlnet, in their order; with --control canny by default --image",
  },
  control: {
    type: "strings",
    choices: ["none", "canny"],
    group: GROUP,
    help: "what is made of --control_image: canny finds its edges; by default none, the image itself; one for all, or one for each --controlnet",
  },
  canny_low_threshold: {
    type: "number",
    min: 0,
    default: 100,
    group: GROUP,
    help: "the gradient that canny's edges exceed everywhere",
  },
  canny_high_threshold: {
    type: "number",
    min: 0,
    default: 200,
    group: GROUP,
    help: "the gradient that they exceed somewhere",
  },
  controlnet_conditioning_scale: {
    type: "numbers",
    value: "X,…",
    group: GROUP,
    help: "how much the control image counts: one number, or one for each --controlnet; by default 1, and 0.8 with --image",
  },
  control_guidance_start: {
    type: "numbers",
    value: "X,…",
    min: 0,
    max: 1,
    group: GROUP,
    help: "the fraction of the steps at which control begins, likewise; by default 0",
  },
  control_guidance_end: {
    type: "numbers",
    value: "X,…",
    min: 0,
    max: 1,
    group: GROUP,
    help: "the fraction of the steps at which control ends, likewise; by default 1",
  },
  guess_mode: {
    type: "boolean",
    group: GROUP,
    help: 'let the control image count without a prompt: --prompt "" and a --guidance_scale of 3 to 5',
  },
});

type ControlValues = OptionValues<typeof controlOptions> &
  Readonly<Partial<Record<"image" | "mask" | "refiner" | "maxSize", unknown>>> & { guidanceRescale: number };

/** The options that only go with `--controlnet`. */
const NEEDS_CONTROLNET = {
  control_image: "controlImage",
  control: "control",
  controlnet_conditioning_scale: "controlnetConditioningScale",
  control_guidance_start: "controlGuidanceStart",
  control_guidance_end: "controlGuidanceEnd",
} as const;

/** The options that pipelines with ControlNets do not have. */
const WITHOUT_CONTROLNET = { mask: "mask", refiner: "refiner", max_size: "maxSize" } as const;

/** @throws `ERR_USAGE` for options that do not go together */
export function checkControlValues(values: ControlValues): void {
  const { controlnet: nets, image, control, controlImage } = values;
  if (nets === undefined) {
    for (const [name, key] of Object.entries(NEEDS_CONTROLNET))
      if (values[key] !== undefined) throw usage(`--${name} is for a ControlNet: give --controlnet too`);
    if (values.guessMode) throw usage("--guess_mode is for a ControlNet: give --controlnet too");
    return;
  }
  for (const [name, key] of Object.entries(WITHOUT_CONTROLNET))
    if (values[key] !== undefined) throw usage(`--${name} does not go with --controlnet`);
  if (values.guidanceRescale !== 0) throw usage("--guidance_rescale does not go with --controlnet");
  for (const [name, key] of Object.entries(NEEDS_CONTROLNET)) {
    const given = values[key]?.length;
    const oneForAll = name !== "control_image" && given === 1;
    if (given !== undefined && given !== nets.length && !oneForAll)
      throw usage(`--${name} has ${given} values for ${nets.length} of --controlnet`);
  }
  const { controlGuidanceStart: starts = [0], controlGuidanceEnd: ends = [1] } = values;
  const at = (list: readonly number[], i: number) => list[list.length === 1 ? 0 : i]!;
  for (const i of nets.keys())
    if (at(starts, i) >= at(ends, i))
      throw usage(`--control_guidance_start ${at(starts, i)} must be below --control_guidance_end ${at(ends, i)}`);
  const made = (i: number) => control?.[control.length === 1 ? 0 : i] === "canny";
  if (controlImage === undefined && !(image !== undefined && nets.every((_, i) => made(i))))
    throw usage("--controlnet needs --control_image, or --image and --control canny");
}
