import { useState } from "preact/hooks";

/** Two images over each other, of which a slider shows parts; or side by side. */
export function Compare({ before, after }: { before: string; after: string }) {
  const [at, setAt] = useState(50);
  const [beside, setBeside] = useState(false);
  return (
    <>
      <div class={beside ? "compare beside" : "compare"}>
        <img class="before" src={before} alt="before" />
        <img class="after" src={after} alt="after" style={beside ? {} : { clipPath: `inset(0 0 0 ${at}%)` }} />
        {!beside && (
          <>
            <div class="line" style={{ left: `${at}%` }} />
            <input
              type="range"
              {...{ min: 0, max: 100, value: at }}
              aria-label="How much of the image before is shown"
              onInput={(event) => setAt(event.currentTarget.valueAsNumber)}
            />
          </>
        )}
      </div>
      <label class="check">
        <input type="checkbox" checked={beside} onChange={(event) => setBeside(event.currentTarget.checked)} />
        side by side
      </label>
    </>
  );
}
