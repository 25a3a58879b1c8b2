import { denoisingCase } from "./denoising.mjs";

/** Kandinsky 2.2's prior, with its text and image encoders: two guided rows per denoising step. */
export const { description, model, modelName, rows, run } = denoisingCase({
  what: "image embeddings by Kandinsky 2.2's prior",
  pipeline: "KandinskyV22PriorPipeline",
  model: { source: "full-size-kandinsky22-prior", name: "kandinsky-2-2-prior" },
  modelName: "Kandinsky 2.2's prior",
  given: { prompt: true },
  args: () => ({ guidanceScale: 4 }),
  // UnCLIPScheduler spaces its timesteps from the last one to 0.
  fewestSteps: 2,
});
