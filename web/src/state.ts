import { computed, effect, signal } from "@preact/signals";
import {
  ApiError,
  fetchExample,
  fetchLimits,
  fetchLoras,
  fetchModels,
  type Limits,
  type Model,
  type Progress,
  requestImages,
} from "./api.js";
import { type Run, remember } from "./history.js";
import { fitImage, readSource, type Source } from "./image-files.js";
import { clearMask, hasMask, maskImage } from "./mask.js";
import { DEFAULTS, defaultsFor, readSettings, type Settings } from "./settings.js";

const STORED = "ip2p-settings";

export const models = signal<readonly Model[]>([]);
/** Names of the LoRA adapters that the server has. */
export const loras = signal<readonly string[]>([]);
export const limits = signal<Limits | undefined>(undefined);
export const keyNeeded = signal(false);
export const settings = signal<Settings>({ ...DEFAULTS, ...readSettings(localStorage.getItem(STORED) ?? "") });
export const source = signal<Source | undefined>(undefined);
/** Instructions that suit the source. */
export const suggestions = signal<readonly string[]>([]);
/** Whether images are made from text alone although the model also takes one. */
export const textAlone = signal(false);
export const result = signal<Run | undefined>(undefined);
/** Which of its images is shown. */
export const shown = signal(0);
export const problem = signal("");
/** What a screen reader says. */
export const announced = signal("");

/** A request under way. */
export interface Running {
  abort: AbortController;
  progress: Progress | undefined;
  preview: Blob | undefined;
}
export const running = signal<Running | undefined>(undefined);

export const model = computed(() => models.value.find(({ id }) => id === settings.value.model));
export const takesImage = computed(() => {
  const uses = model.value?.uses ?? [];
  return uses.includes("edit") && !(textAlone.value && uses.includes("generate"));
});
export const takesMask = computed(() => takesImage.value && (model.value?.uses.includes("inpaint") ?? false));

const COMMON = [
  "make it winter",
  "make it a watercolour painting",
  "turn the sky into a sunset",
  "make it look like a pencil drawing",
  "as if it were at night",
  "add fireworks to the sky",
];

effect(() => localStorage.setItem(STORED, JSON.stringify(settings.value)));

export function change(changes: Partial<Settings>): void {
  settings.value = { ...settings.value, ...changes };
}

export function chooseModel(id: string): void {
  takeModel(id);
  if (model.value?.built_in && (!source.value || isExample(source.value))) void drawExample();
}

function takeModel(id: string): void {
  const chosen = models.value.find((each) => each.id === id);
  if (!chosen) return;
  change({ model: id, ...defaultsFor(chosen) });
  if (!chosen.built_in) suggestions.value = chosen.instructed ? COMMON : [];
}

/** Asks the server what it has. A built-in model gets an image that it knows, so that it can be tried at once. */
export async function connect(): Promise<void> {
  try {
    const [found, adapters, bounds] = await Promise.all([fetchModels(), fetchLoras(), fetchLimits()]);
    models.value = found;
    loras.value = adapters;
    const kept = Object.entries(settings.value.loras).filter(([name]) => adapters.includes(name));
    change({ loras: Object.fromEntries(kept) });
    limits.value = bounds;
    keyNeeded.value = false;
    if (!model.value) takeModel(found[0]!.id);
    else if (!model.value.built_in && model.value.instructed) suggestions.value = COMMON;
    if (model.value?.built_in && !source.value) await drawExample();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) keyNeeded.value = true;
    else fail(error);
  }
}

const EXAMPLE = "example.png";

/** Whether an image came from the server, so that it may be replaced by one that suits another model. */
const isExample = ({ name }: Source) => name === EXAMPLE;

/** Takes an image that the chosen built-in model knows. */
export async function drawExample(): Promise<void> {
  const kind = model.value?.built_in;
  if (!kind) return;
  try {
    const { image, instructions } = await fetchExample(kind, Math.floor(Math.random() * 1_000_000));
    if (model.value?.built_in !== kind) return;
    await takeFile(image, EXAMPLE);
    suggestions.value = instructions;
    change({ prompt: instructions[0]! });
  } catch (error) {
    fail(error);
  }
}

/** Takes an image that was chosen, dropped or pasted. */
export async function takeFile(file: Blob, name: string): Promise<void> {
  try {
    source.value = await readSource(file, name);
    clearMask();
    problem.value = "";
    result.value = undefined;
    announced.value = `${name}, ${source.value.width} by ${source.value.height} pixels`;
  } catch (error) {
    fail(error);
  }
}

/** Sends the request, and shows what comes. */
export async function start(): Promise<void> {
  const asked = settings.value;
  const chosen = model.value;
  if (!chosen || running.value) return;
  const from = takesImage.value ? source.value : undefined;
  if (takesImage.value && !from) return fail(new Error("choose an image first"));
  if (asked.prompt.trim() === "") return fail(new Error("say what to do first"));
  const abort = new AbortController();
  const show = (news: Partial<Running>) => {
    if (running.value?.abort === abort) running.value = { ...running.value, ...news };
  };
  running.value = { abort, progress: undefined, preview: undefined };
  problem.value = "";
  announced.value = "started";
  try {
    const image = from && (await fitImage(from, longestOf(chosen)));
    const mask = from && image && takesMask.value && hasMask.value ? await maskFor(from, image) : undefined;
    const { images, seed } = await requestImages(
      { settings: asked, model: chosen, image, mask, previews: limits.value!.previews },
      { onProgress: (progress) => show({ progress }), onPreview: (preview) => show({ preview }) },
      abort.signal,
    );
    const done = { time: Date.now(), settings: { ...asked, seed }, source: image, images };
    showRun(await remember(done));
    change({ seed });
    announced.value = images.length === 1 ? "the image is ready" : `${images.length} images are ready`;
  } catch (error) {
    if (abort.signal.aborted) announced.value = "cancelled";
    else fail(error);
  } finally {
    running.value = undefined;
  }
}

export function cancel(): void {
  running.value?.abort.abort();
}

export function showRun(run: Run): void {
  result.value = run;
  shown.value = 0;
}

/** Goes back to a run of the history: its image, its settings with the seed fixed, and its results. */
export async function restore(run: Run): Promise<void> {
  if (run.source) await takeFile(run.source, "image.png");
  useSettings(run.settings);
  showRun(run);
}

/** Takes settings over; a model that the server does not have is left out. */
export function useSettings({ model: name, loras: asked = {}, ...others }: Partial<Settings>): void {
  const kept = Object.fromEntries(Object.entries(asked).filter(([each]) => loras.value.includes(each)));
  const known = models.value.some(({ id }) => id === name);
  change({ ...others, loras: kept, randomSeed: false, ...(known && { model: name! }) });
}

/** Pixels along the longer side of an image that a model can use. */
export function longestOf({ size }: Model): number {
  return Math.max(...(size ?? "1024x1024").split("x").map(Number));
}

async function maskFor(from: Source, image: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(image);
  const { width, height } = bitmap;
  bitmap.close();
  return await maskImage(from, { width, height });
}

function fail(error: unknown): void {
  problem.value = error instanceof Error ? error.message : String(error);
}
