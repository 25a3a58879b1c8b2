import { change, loras, settings } from "../state.js";

/** The server's LoRA adapters, each with how much it counts. */
export function LoraList() {
  if (loras.value.length === 0) return null;
  const { value } = settings;
  const choose = (name: string, weight: number) => {
    const others = Object.entries(value.loras).filter(([each]) => each !== name);
    change({ loras: Object.fromEntries(weight === 0 ? others : [...others, [name, weight]]) });
  };
  return (
    <fieldset class="field">
      <legend>LoRA adapters</legend>
      {loras.value.map((name) => {
        const weight = value.loras[name] ?? 0;
        return (
          <div key={name} class="number lora">
            <label class="check">
              <input
                type="checkbox"
                checked={weight !== 0}
                onChange={(event) => choose(name, event.currentTarget.checked ? 1 : 0)}
              />
              {name}
            </label>
            {weight !== 0 && (
              <input
                type="number"
                {...{ min: -2, max: 2, step: "any", value: weight }}
                aria-label={`How much ${name} counts`}
                onChange={({ currentTarget: { valueAsNumber } }) =>
                  Number.isFinite(valueAsNumber) && choose(name, Math.min(10, Math.max(-10, valueAsNumber)))
                }
              />
            )}
          </div>
        );
      })}
    </fieldset>
  );
}
