import type { TrainOptions } from "./options.js";

/** The probabilities of conditioning dropout, which exclude one another. */
export interface ConditioningDropout {
  /** Of dropping the text alone. */
  text: number;
  /** Of dropping the image alone. */
  image: number;
  both: number;
}

/** Those of a run's options; undefined if none is given, so that nothing is drawn. */
export function dropoutOf(
  options: Pick<TrainOptions, "conditioningDropoutProb" | "textDropoutProb" | "imageDropoutProb" | "bothDropoutProb">,
): ConditioningDropout | undefined {
  const { conditioningDropoutProb: p, textDropoutProb, imageDropoutProb, bothDropoutProb } = options;
  if (p !== undefined) return { text: p, image: p, both: p };
  if ([textDropoutProb, imageDropoutProb, bothDropoutProb].every((each) => each === undefined)) return undefined;
  return { text: textDropoutProb ?? 0, image: imageDropoutProb ?? 0, both: bothDropoutProb ?? 0 };
}
