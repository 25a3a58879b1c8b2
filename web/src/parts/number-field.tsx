import { useId } from "preact/hooks";
import type { Settings } from "../settings.js";
import { change, settings } from "../state.js";

type NumberSetting = {
  [K in keyof Settings]: Settings[K] extends number ? K : never;
}[keyof Settings];

interface NumberFieldProps {
  label: string;
  hint: string;
  name: NumberSetting;
  min: number;
  max: number;
  step: number;
}

/** A number with a slider and a field. */
export function NumberField({ label, hint, name, min, max, step }: NumberFieldProps) {
  const id = useId();
  const value = settings.value[name];
  const take = (event: { currentTarget: HTMLInputElement }) => {
    const { valueAsNumber } = event.currentTarget;
    if (Number.isFinite(valueAsNumber)) change({ [name]: valueAsNumber });
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <div class="number">
        <input type="range" {...{ min, max, step, value }} aria-label={`${label}, slider`} onInput={take} />
        <input
          id={id}
          type="number"
          {...{ min, max, value }}
          step={step < 1 ? "any" : step}
          aria-describedby={`${id}-hint`}
          onChange={take}
        />
      </div>
      <span class="hint" id={`${id}-hint`}>
        {hint}
      </span>
    </div>
  );
}
