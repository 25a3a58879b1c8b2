import { counted } from "../../core/counted.js";
import { evaluate } from "../../evaluation/evaluate.js";
import { loadWorldModel } from "../../evaluation/model.js";
import { pointTable } from "../../evaluation/points.js";
import { evaluateWorld, type WorldSummary, worldTable } from "../../evaluation/world.js";
import { underscored } from "../../options/names.js";
import { loadAddon } from "../../runtime/load.js";
import { native } from "../../runtime/native.js";
import type { CommandIo } from "../command.js";
import { rounded } from "../json-lines.js";
import { createPairsReporter, type PairsReporter } from "../pairs/reporter.js";
import { reported } from "../reporting.js";
import { type EvaluateValues, evaluateOptions } from "./options.js";

/** Skipped pairs that are named; further ones are only counted. */
const NAMED = 20;

/** Runs `ip2p evaluate`. */
export async function runEvaluate(values: EvaluateValues, io: CommandIo): Promise<number> {
  const reporter = createPairsReporter({ ...values, verb: "editing", declarations: evaluateOptions }, io);
  await reported(
    reporter,
    (message) => reporter.warning(message),
    async () => {
      loadAddon({ libtorch: values.libtorch, env: io.env });
      if (values.numThreads !== undefined) await native().setThreads(values.numThreads);
      const started = performance.now();
      const { text, fields } = values.world ? await ofWorld(values, io, reporter) : await ofPairs(values, io, reporter);
      reporter.done(text, { ...fields, seconds: rounded((performance.now() - started) / 1000) });
    },
  );
  return 0;
}

interface Outcome {
  text: string;
  fields: object;
}

/** What both kinds of evaluation take of the command line about the model. */
function loading({
  dtype,
  quantization,
  device,
  scheduler,
  revision,
  variant,
  cacheDir,
  localFilesOnly,
}: EvaluateValues) {
  return { dtype, quantization, device, scheduler, revision, variant, cacheDir, localFilesOnly };
}

async function ofPairs(values: EvaluateValues, { signal }: CommandIo, reporter: PairsReporter): Promise<Outcome> {
  const { model = "", from = "", output = "", clip, imageGuidanceScales, guidanceScale, numInferenceSteps } = values;
  const { resolution, count, seed, asOriginal } = values;
  const { originalImageColumn, editedImageColumn, editPromptColumn, originalCaptionColumn, editedCaptionColumn } =
    values;
  let named = 0;
  const { points, rows, skipped, files } = await evaluate({
    ...{ model, from, output, clip, imageGuidanceScales, guidanceScale, numInferenceSteps, resolution, count, seed },
    ...{ asOriginal, originalImageColumn, editedImageColumn, editPromptColumn },
    ...{ originalCaptionColumn, editedCaptionColumn, ...loading(values), signal },
    onSkip: ({ where, reason }) => {
      if (named++ < NAMED) reporter.warning(`pair skipped: ${where}: ${reason}`);
    },
    onProgress: ({ done, total }) => reporter.progress(done, total),
  });
  const left = skipped.length > 0 ? `, ${skipped.length.toLocaleString("en")} skipped` : "";
  return {
    text: `${pointTable(points)}\n${counted(rows, "pair")}${left}; ${Object.values(files).join(", ")}`,
    fields: {
      ...{ rows, skipped_rows: skipped.length, files },
      points: points.map(({ imageGuidanceScale, ...means }) => ({
        image_guidance_scale: imageGuidanceScale,
        ...means,
      })),
    },
  };
}

async function ofWorld(values: EvaluateValues, { signal }: CommandIo, reporter: PairsReporter): Promise<Outcome> {
  const { count, size, seed, batch, numInferenceSteps, guidanceScale, imageGuidanceScale, model } = values;
  const pipeline = await loadWorldModel({ ...loading(values), model, signal });
  let summary: WorldSummary;
  try {
    summary = await evaluateWorld({
      ...{ pipeline, count, size, seed, batch, numInferenceSteps, guidanceScale, imageGuidanceScale, signal },
      onProgress: ({ done, total }) => reporter.progress(done, total),
    });
  } finally {
    pipeline.dispose();
  }
  const { families, ...overall } = summary;
  return {
    text: worldTable(summary),
    fields: Object.fromEntries(
      Object.entries({ ...overall, families }).map(([name, value]) => [underscored(name), value]),
    ),
  };
}
