import { useRef } from "preact/hooks";
import { drawExample, model, source, takesImage, takesMask, textAlone, useSettings } from "../state.js";
import { dragging, takeFirst } from "./giving.js";
import { MaskEditor } from "./mask-editor.js";
import { useUrl } from "./use-url.js";

const KNOWN = {
  photos: "This small model changes the light, the colours, the weather and the manner of photographs.",
  world: "This small model knows drawings like this one only.",
};

/** The image to change: chosen, dropped, pasted, or an example. */
export function ImageInput() {
  const file = useRef<HTMLInputElement>(null);
  const url = useUrl(source.value?.file);
  const both = model.value?.uses.includes("edit") && model.value.uses.includes("generate");
  return (
    <fieldset>
      <legend>Image</legend>
      {both && (
        <label class="check">
          <input
            type="checkbox"
            checked={textAlone.value}
            onChange={(event) => {
              textAlone.value = event.currentTarget.checked;
            }}
          />
          from text alone
        </label>
      )}
      {takesImage.value && (
        <>
          <div class={dragging.value ? "drop over" : "drop"}>
            {source.value && url ? (
              takesMask.value ? (
                <MaskEditor source={source.value} url={url} />
              ) : (
                <img class="source" src={url} alt={`to change: ${source.value.name}`} />
              )
            ) : (
              <p class="hint">Drop an image here, paste one, or choose a file.</p>
            )}
          </div>
          <div class="buttons">
            <button type="button" onClick={() => file.current?.click()}>
              Choose an image
            </button>
            <input
              ref={file}
              class="unseen"
              type="file"
              accept="image/*"
              aria-label="Image file"
              tabIndex={-1}
              onChange={(event) => {
                takeFirst(event.currentTarget.files);
                event.currentTarget.value = "";
              }}
            />
            {model.value?.built_in && (
              <button type="button" onClick={() => void drawExample()}>
                Another example
              </button>
            )}
          </div>
          {model.value?.built_in && <p class="hint">{KNOWN[model.value.built_in]}</p>}
          {source.value?.settings && (
            <p class="notice">
              This image tells how it was made.{" "}
              <button type="button" onClick={() => useSettings(source.value!.settings!)}>
                Use its settings
              </button>
            </p>
          )}
        </>
      )}
    </fieldset>
  );
}
