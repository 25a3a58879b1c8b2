import { useEffect, useState } from "preact/hooks";
import { fetchImage, type JobSamples } from "../api.js";
import { useUrl } from "./use-url.js";

/** Samples of training: the newest, until a slider goes back to earlier ones. */
export function SampleView({ all }: { all: readonly JobSamples[] }) {
  const [chosen, choose] = useState<number>();
  const newest = all.length - 1;
  const at = Math.min(chosen ?? newest, newest);
  const { step, images } = all[at]!;
  return (
    <figure class="samples">
      <div class="strip">
        {images.map((path, i) => (
          <Sample key={path} path={path} text={`Sample ${i + 1} after step ${step}`} />
        ))}
      </div>
      <figcaption class="hint">samples after step {step}</figcaption>
      {newest > 0 && (
        <input
          type="range"
          {...{ min: 0, max: newest, value: at }}
          aria-label="Samples of which step"
          aria-valuetext={`after step ${step}`}
          onInput={({ currentTarget: { valueAsNumber } }) =>
            choose(valueAsNumber === newest ? undefined : valueAsNumber)
          }
        />
      )}
    </figure>
  );
}

function Sample({ path, text }: { path: string; text: string }) {
  const [image, setImage] = useState<Blob>();
  useEffect(() => {
    let shown = true;
    // A job may be removed meanwhile, and its images with it.
    void fetchImage(path).then(
      (fetched) => shown && setImage(fetched),
      () => {},
    );
    return () => {
      shown = false;
    };
  }, [path]);
  const url = useUrl(image);
  return url ? <img src={url} alt={text} /> : <span class="placeholder" />;
}
