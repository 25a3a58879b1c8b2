import { useId } from "preact/hooks";
import { change, settings } from "../state.js";

/** The seed of the noise: a random one each time, or the same. */
export function SeedField() {
  const id = useId();
  const { seed, randomSeed } = settings.value;
  return (
    <div class="field">
      <label for={id}>Seed</label>
      <input
        id={id}
        type="number"
        {...{ min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: seed, disabled: randomSeed }}
        onChange={(event) => {
          const { valueAsNumber } = event.currentTarget;
          if (Number.isSafeInteger(valueAsNumber) && valueAsNumber >= 0) change({ seed: valueAsNumber });
        }}
      />
      <label class="check">
        <input
          type="checkbox"
          checked={randomSeed}
          onChange={(event) => change({ randomSeed: event.currentTarget.checked })}
        />
        another one each time
      </label>
    </div>
  );
}
