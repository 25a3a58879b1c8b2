import { useState } from "preact/hooks";
import type { Job, JobSamples, JobStep } from "../api.js";
import { fitImage } from "../image-files.js";
import { longestOf, models, source } from "../state.js";
import { cancelJob, datasets, forgetJob, isOver, jobs, samples, steps, train } from "../training.js";
import { SampleView } from "./sample-view.js";

const NUMBERS = [
  { name: "max_train_steps", label: "Training steps", min: 1, value: 500 },
  { name: "resolution", label: "Resolution", min: 8, value: 64 },
  { name: "train_batch_size", label: "Batch size", min: 1, value: 4 },
  { name: "learning_rate", label: "Learning rate", min: 0, value: 0.0001 },
] as const;

/** Training jobs, and the form for another one. */
export function Training() {
  if (!jobs.value) return null;
  return (
    <section class="panel history" aria-labelledby="training">
      <h2 id="training">Training</h2>
      {datasets.value.length > 0 && <TrainingForm />}
      <ul class="jobs">
        {jobs.value.map((job) => (
          <TrainingJob key={job.id} job={job} all={steps.value[job.id] ?? []} made={samples.value[job.id] ?? []} />
        ))}
      </ul>
    </section>
  );
}

function TrainingForm() {
  const [dataset, setDataset] = useState(datasets.value[0]!);
  const [model, setModel] = useState(models.value[0]?.id ?? "");
  const [sampled, setSampled] = useState("");
  const [every, setEvery] = useState(1);
  const [numbers, setNumbers] = useState<Record<string, number>>(
    Object.fromEntries(NUMBERS.map(({ name, value }) => [name, value])),
  );
  const choice = (label: string, value: string, names: readonly string[], take: (name: string) => void) => (
    <label class="field">
      {label}
      <select value={value} onChange={(event) => take(event.currentTarget.value)}>
        {names.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
  const base = models.value.find(({ id }) => id === model);
  // The recipes count differently, as diffusers' scripts do.
  const [unit, interval] = base?.class_name.includes("XL")
    ? (["steps", "validation_steps"] as const)
    : (["epochs", "validation_epochs"] as const);
  const sampling = async () => {
    if (sampled.trim() === "" || !source.value || !base) return {};
    const image = await fitImage(source.value, longestOf(base));
    return { validation_prompt: sampled, image, [interval]: every };
  };
  return (
    <form
      aria-label="Training"
      onSubmit={(event) => {
        event.preventDefault();
        void train(async () => ({ dataset, model, ...numbers, ...(await sampling()) }));
      }}
    >
      <div class="grid">
        {choice("Data set", dataset, datasets.value, setDataset)}
        {choice(
          "Start from",
          model,
          models.value.map(({ id }) => id),
          setModel,
        )}
        {NUMBERS.map(({ name, label, min }) => (
          <label key={name} class="field">
            {label}
            <input
              type="number"
              {...{ min, step: "any", value: numbers[name] }}
              onChange={({ currentTarget: { valueAsNumber } }) => setNumbers({ ...numbers, [name]: valueAsNumber })}
            />
          </label>
        ))}
        <label class="field">
          Edit for samples
          <input
            value={sampled}
            disabled={!source.value}
            placeholder={source.value ? "none" : "choose an image above first"}
            onInput={(event) => setSampled(event.currentTarget.value)}
          />
          <span class="hint">what to do with the image above, to see what is learnt</span>
        </label>
        <label class="field">
          Samples after every … {unit}
          <input
            type="number"
            {...{ min: 1, step: 1, value: every, disabled: sampled.trim() === "" }}
            onChange={({ currentTarget: { valueAsNumber } }) => valueAsNumber >= 1 && setEvery(valueAsNumber)}
          />
        </label>
      </div>
      <button type="submit">Train</button>
    </form>
  );
}

interface TrainingJobProps {
  job: Job;
  all: readonly JobStep[];
  made: readonly JobSamples[];
}

function TrainingJob({ job, all, made }: TrainingJobProps) {
  const { state, step, total_steps: total, seconds_left: left, position, error, model } = job;
  const last = all.at(-1);
  return (
    <li>
      <div class="buttons">
        <strong>{state}</strong>
        <span class="hint">
          {state === "queued" && position !== null && `${position} before it`}
          {state === "running" && step !== null && `step ${step} of ${total}, about ${Math.round(left ?? 0)} s left`}
          {model !== null && `the model is in ${model}`}
          {error?.message}
        </span>
        <button type="button" onClick={() => void (isOver(job) ? forgetJob(job) : cancelJob(job))}>
          {isOver(job) ? "Remove" : "Cancel training"}
        </button>
      </div>
      {all.length > 1 && <LossPlot all={all} />}
      {last?.train_loss != null && (
        <span class="hint">
          loss {last.train_loss.toPrecision(3)} at step {last.step}
        </span>
      )}
      {made.length > 0 && <SampleView all={made} />}
    </li>
  );
}

const [WIDTH, HEIGHT] = [600, 120];

/** The loss by step. */
function LossPlot({ all }: { all: readonly JobStep[] }) {
  const known = all.filter(({ train_loss: loss }) => loss !== null) as { step: number; train_loss: number }[];
  if (known.length < 2) return null;
  const most = Math.max(...known.map(({ train_loss: loss }) => loss)) || 1;
  const [first, last] = [known[0]!.step, known.at(-1)!.step];
  const points = known
    .map(({ step, train_loss: loss }) => {
      const x = ((step - first) / (last - first)) * WIDTH;
      return `${x.toFixed(1)},${((1 - loss / most) * (HEIGHT - 4) + 2).toFixed(1)}`;
    })
    .join(" ");
  const label = `Loss from step ${first} to ${last}, at most ${most.toPrecision(3)}`;
  return (
    <svg class="loss" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label} preserveAspectRatio="none">
      <title>{label}</title>
      <polyline points={points} />
    </svg>
  );
}
