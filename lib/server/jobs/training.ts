import { open } from "node:fs/promises";
import { join } from "node:path";
import { StringDecoder } from "node:string_decoder";
import { processStart } from "../../files/process-start.js";
import type { OptionDeclaration } from "../../options/declaration.js";
import { startDetached } from "../../runtime/child-process.js";
import { packageRoot } from "../../runtime/platform.js";
import { trainOptions } from "../../training/options.js";
import type { Schema } from "../fields.js";
import type { TrainingProcess } from "./job.js";
import type { StartTicket } from "./start-ticket.js";

/** Options whose values name nothing on the server's disk or elsewhere. */
const HARMLESS = Object.entries(trainOptions as Readonly<Record<string, OptionDeclaration>>).filter(
  ([, { type, choices, secret, group }]) =>
    !secret && group !== "Hub" && (["integer", "number", "bigint", "boolean"].includes(type) || choices !== undefined),
);

/** Characters of the instruction for samples at most. */
const MAX_PROMPT = 4000;

/** Fields of a training job beside its model, data set and image: the options of `ip2p train` that name no files. */
export function trainingFields(): Record<string, Schema> {
  const types: Partial<Record<OptionDeclaration["type"], string>> = { bigint: "integer" };
  const fields = Object.fromEntries(
    HARMLESS.map(([name, { type, help, min, max, choices }]) => [
      name,
      {
        type: types[type] ?? type,
        description: help,
        ...(min !== undefined && { minimum: Number(min) }),
        ...(typeof max === "number" && { maximum: max }),
        ...(choices && { enum: choices }),
      },
    ]),
  );
  const description = "of a training job: an instruction for image, by which samples are made while it trains";
  return { ...fields, validation_prompt: { type: "string", minLength: 1, maxLength: MAX_PROMPT, description } };
}

/** What a training process is started with. */
export interface TrainingRun {
  /** The base model's folder or id. */
  model: string;
  /** The data set's folder. */
  dataset: string;
  fields: Readonly<Record<string, unknown>>;
  /** The image that samples are made of, and the option that names it; undefined without samples. */
  image: { option: "val_image_url" | "val_image_url_or_path"; path: string } | undefined;
  /** Where the model goes. */
  output: string;
  /** What it prints is added to this file. */
  log: string;
  /** That the process begins by taking. */
  ticket: StartTicket;
}

/** Starts `ip2p train` in a process that outlives this one, from the newest checkpoint if there is one. */
export async function startTraining(run: TrainingRun): Promise<TrainingProcess> {
  const { model, dataset, fields, image, output, log, ticket } = run;
  const flags = HARMLESS.flatMap(([name, { type }]) => {
    const value = fields[name];
    if (value === undefined || value === false) return [];
    return type === "boolean" ? [`--${name}`] : [`--${name}`, String(value)];
  });
  const fixed = {
    ...{ pretrained_model_name_or_path: model, train_data_dir: dataset, output_dir: output },
    ...{ resume_from_checkpoint: "latest", report_to: "none" },
    ...(image && { [image.option]: image.path, validation_prompt: String(fields.validation_prompt) }),
  };
  // An instruction may begin with a dash.
  const always = Object.entries(fixed).map(([name, value]) => `--${name}=${value}`);
  const program = join(packageRoot, "dist", "server", "jobs", "training-process.js");
  const args = [program, ticket.path, "train", ...always, ...flags, "--json"];
  const pid = await startDetached(process.execPath, args, { output: log });
  return { pid, started: await processStart(pid) };
}

/** The system tells when it was booted in whole seconds, which move by one when its clock is adjusted. */
const TOLERANCE_MS = 2500;

/** Whether a process runs that was started then: its number may have been given to another one meanwhile. */
export async function isRunning({ pid, started }: TrainingProcess): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const now = await processStart(pid);
  return started === undefined || now === undefined || Math.abs(now - started) < TOLERANCE_MS;
}

/** Ends a process, if it still is that one. */
export async function endProcess(training: TrainingProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (!(await isRunning(training))) return;
  try {
    process.kill(training.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A line that a training process printed. */
export interface TrainingEvent {
  event: string;
  [field: string]: unknown;
}

const CHUNK = 1 << 20;

/** Reads what a training process prints, from where it stopped the last time. */
export class TrainingLog {
  readonly #path: string;
  readonly #decoder = new StringDecoder("utf8");
  #position = 0;
  #rest = "";

  constructor(path: string) {
    this.#path = path;
  }

  /** The whole lines that came since. */
  async next(): Promise<TrainingEvent[]> {
    const file = await open(this.#path).catch(() => undefined);
    if (!file) return [];
    const events: TrainingEvent[] = [];
    const buffer = Buffer.alloc(CHUNK);
    try {
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, CHUNK, this.#position);
        if (bytesRead === 0) return events;
        this.#position += bytesRead;
        const lines = (this.#rest + this.#decoder.write(buffer.subarray(0, bytesRead))).split("\n");
        this.#rest = lines.pop()!;
        events.push(...lines.flatMap(eventOf));
      }
    } finally {
      await file.close();
    }
  }
}

function eventOf(line: string): TrainingEvent[] {
  if (!line.startsWith("{")) return []; // warnings
  try {
    const event = JSON.parse(line) as TrainingEvent;
    return typeof event?.event === "string" ? [event] : [];
  } catch {
    return [];
  }
}
