import { InstructPix2PixError } from "../core/errors.js";
import { checkOptions, optionNames } from "../core/known-options.js";
import { quote } from "../core/quote.js";

/** What an AutoPipeline is for. */
export type Task = "text2image" | "image2image" | "inpainting";

interface FamilyOptions {
  controlnet?: boolean;
}

const OPTIONS = optionNames<FamilyOptions>()({ controlnet: true });

interface Family {
  /** The class of each task. */
  readonly classes: Readonly<Record<Task, string>>;
  /** Other classes of the family, which are parts of these. */
  readonly parts?: readonly string[];
}

/** The classes of a family that follows diffusers' scheme of names. */
const named = (family: string): Family => ({
  classes: {
    text2image: `${family}Pipeline`,
    image2image: `${family}Img2ImgPipeline`,
    inpainting: `${family}InpaintPipeline`,
  },
});

/** Families of pipelines that share components, as in diffusers' AutoPipeline. */
const FAMILIES: readonly Family[] = [
  named("StableDiffusion"),
  named("StableDiffusionControlNet"),
  named("StableDiffusionXL"),
  named("StableDiffusionXLControlNet"),
  {
    classes: {
      text2image: "KandinskyV22CombinedPipeline",
      image2image: "KandinskyV22Img2ImgCombinedPipeline",
      inpainting: "KandinskyV22InpaintCombinedPipeline",
    },
    parts: ["KandinskyV22Pipeline", "KandinskyV22Img2ImgPipeline", "KandinskyV22InpaintPipeline"],
  },
];

/** The end of a class name that "ControlNet" is inserted before; other tasks' classes end in the last of these. */
const ENDS: Readonly<Record<Task, readonly string[]>> = {
  text2image: ["Pipeline"],
  image2image: ["Img2ImgPipeline", "Pipeline"],
  inpainting: ["InpaintPipeline", "Pipeline"],
};
const MARKS: Readonly<Record<Task, string>> = { text2image: "Pipeline", image2image: "Img2Img", inpainting: "Inpaint" };

/**
 * The class of diffusers for a task, among the relatives of another class.
 *
 * @param options.controlnet whether a ControlNet is given, which the class of that name does not have
 * @throws `ERR_CONFIG` for a class without relatives for the task
 */
export function classNameFor(task: Task, className: string, options?: FamilyOptions): string {
  const { controlnet = false } = checkOptions(options, OPTIONS);
  const wanted = controlnet ? withControlNet(task, className) : className;
  const family = FAMILIES.find(({ classes, parts = [] }) => [...Object.values(classes), ...parts].includes(wanted));
  if (family) return family.classes[task];
  const given = controlnet ? " with a ControlNet" : "";
  const single = /InstructPix2Pix|Upscale|Prior/.test(className) ? ": load it by its own class" : "";
  throw new InstructPix2PixError(
    "ERR_CONFIG",
    `there is no pipeline for ${task} that is related to ${quote(className)}${given}${single}`,
  );
}

function withControlNet(task: Task, className: string): string {
  const ends = ENDS[task];
  const end = className.includes(MARKS[task]) ? ends[0]! : ends.at(-1)!;
  return className.replace(end, `ControlNet${end}`);
}
