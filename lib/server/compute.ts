import type { ImagesResult } from "../pipelines/run-options.js";
import type { LoraChoice } from "./adapters.js";
import type { EditFields } from "./fields.js";
import type { RequestPictures } from "./pictures.js";
import { type Progress, runProgress, waitProgress } from "./routes/progress.js";
import { type RunWatcher, runRequest } from "./run.js";
import type { Serving } from "./serving.js";

/** What is to be computed, once it was checked. */
export interface Computation {
  /** The model's name. */
  model: string;
  fields: EditFields;
  pictures: RequestPictures | undefined;
  size: { width: number; height: number } | undefined;
  loras: readonly LoraChoice[];
}

/** What is told while it waits and is computed. */
export interface Watch {
  /** When it is its turn; nothing is loaded or computed before this is done. */
  onBegin?: (() => Promise<void>) | undefined;
  onPreview?: RunWatcher["onPreview"];
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** Computes images when it is their turn. @throws as `runRequest` and `ModelStore.use`; the signal's reason */
export async function compute(
  { queue, store, metrics }: Pick<Serving, "queue" | "store" | "metrics">,
  { model, loras, ...request }: Computation,
  signal: AbortSignal,
  { onBegin, onPreview, onProgress }: Watch = {},
): Promise<ImagesResult> {
  const task = async () => {
    await onBegin?.();
    using held = await store.use(model, loras, signal);
    const stop = metrics.seconds.startTimer({ model });
    const tell = runProgress(onProgress);
    const onStep = (done: number, total: number) => {
      metrics.steps.inc();
      tell(done, total);
    };
    const result = await runRequest(held, request, { signal, onPreview, onStep });
    stop();
    return result;
  };
  return await queue.run(task, signal, (position) => onProgress?.(waitProgress(position, queue)));
}
