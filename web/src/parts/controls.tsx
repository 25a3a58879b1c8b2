import {
  cancel,
  change,
  chooseModel,
  limits,
  model,
  models,
  running,
  settings,
  suggestions,
  takesImage,
} from "../state.js";
import { LoraList } from "./lora-list.js";
import { NumberField } from "./number-field.js";
import { SeedField } from "./seed-field.js";

/** What is asked for. */
export function Controls() {
  const { value } = settings;
  const instructed = model.value?.instructed ?? true;
  return (
    <>
      {models.value.length > 1 && (
        <label class="field">
          Model
          <select value={value.model} onChange={(event) => chooseModel(event.currentTarget.value)}>
            {models.value.map(({ id }) => (
              <option key={id} value={id}>
                {id}
              </option>
            ))}
          </select>
        </label>
      )}
      <label class="field">
        {instructed ? "Instruction" : "Prompt"}
        <textarea
          rows={2}
          value={value.prompt}
          placeholder={instructed ? "what to change" : "what the image shows"}
          onInput={(event) => change({ prompt: event.currentTarget.value })}
        />
      </label>
      {suggestions.value.length > 0 && takesImage.value && (
        <fieldset class="chips" aria-label="Examples of instructions">
          {suggestions.value.map((text) => (
            <button key={text} type="button" onClick={() => change({ prompt: text })}>
              {text}
            </button>
          ))}
        </fieldset>
      )}
      <div class="buttons">
        {running.value ? (
          <button type="button" class="primary" onClick={cancel}>
            Cancel
          </button>
        ) : (
          <button type="submit" class="primary" disabled={!model.value}>
            {takesImage.value ? "Edit" : "Make"}
          </button>
        )}
        <span class="hint">Ctrl+Enter starts, Esc cancels</span>
      </div>
      <details open>
        <summary>Settings</summary>
        <div class="grid">
          <NumberField
            label="Text guidance"
            hint="how strongly the words are followed"
            {...{ name: "guidance_scale", min: 1, max: 20, step: 0.1 }}
          />
          {instructed ? (
            <NumberField
              label="Image guidance"
              hint="how closely the image is kept"
              {...{ name: "image_guidance_scale", min: 1, max: 5, step: 0.05 }}
            />
          ) : (
            takesImage.value && (
              <NumberField
                label="Strength"
                hint="how much of the image changes"
                {...{ name: "strength", min: 0, max: 1, step: 0.05 }}
              />
            )
          )}
          <NumberField
            label="Steps"
            hint="more take longer"
            {...{ name: "num_inference_steps", min: 1, max: limits.value?.steps.maximum ?? 100, step: 1 }}
          />
          <NumberField
            label="Proposals"
            hint="images at once"
            {...{ name: "n", min: 1, max: limits.value?.images ?? 1, step: 1 }}
          />
          <SeedField />
          <label class="field">
            Scheduler
            <select value={value.scheduler} onChange={(event) => change({ scheduler: event.currentTarget.value })}>
              <option value="">the model's own</option>
              {limits.value?.schedulers.map((name) => (
                <option key={name} value={name}>
                  {name.replace(/Scheduler$/, "")}
                </option>
              ))}
            </select>
          </label>
          {!takesImage.value && (
            <label class="field">
              Size
              <input
                value={value.size}
                placeholder={model.value?.size ?? "auto"}
                pattern="[1-9][0-9]*x[1-9][0-9]*"
                title="WIDTHxHEIGHT"
                onInput={(event) => change({ size: event.currentTarget.value })}
              />
            </label>
          )}
        </div>
        <LoraList />
        <label class="field">
          Not wanted
          <input
            value={value.negative_prompt}
            placeholder="a negative prompt"
            onInput={(event) => change({ negative_prompt: event.currentTarget.value })}
          />
        </label>
      </details>
    </>
  );
}
