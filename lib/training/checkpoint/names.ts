/** File name of a checkpoint's manifest. */
export const MANIFEST = "manifest.json";

/** The folder of the checkpoint after `step` optimizer steps. */
export function checkpointName(step: number): string {
  return `checkpoint-${step}`;
}

/**
 * Temporary folders, which end in `.tmp`: `written` is an incomplete checkpoint, `replaced` a complete one that is
 * being replaced by another of the same step, `pruned` one that is being removed.
 */
export type Stage = "written" | "replaced" | "pruned";

const SUFFIXES: Readonly<Record<Stage, string>> = {
  written: ".tmp",
  replaced: ".replaced.tmp",
  pruned: ".pruned.tmp",
};

export function temporaryName(step: number, stage: Stage): string {
  return checkpointName(step) + SUFFIXES[stage];
}

/**
 * The new name of another run's or program's checkpoint when its name is needed. This package ignores it, and
 * diffusers' scripts can still read its step.
 */
export function asideName(step: number, owner: string, copy: number): string {
  return `${checkpointName(step)}-of-${owner}${copy > 1 ? `-${copy}` : ""}`;
}

/** The step of a folder named exactly as {@link checkpointName} names it. */
export function stepOf(name: string): number | undefined {
  const step = Number(/^checkpoint-(\d+)$/.exec(name)?.[1]);
  return Number.isSafeInteger(step) && name === checkpointName(step) ? step : undefined;
}

/** Step and stage of a folder named exactly as {@link temporaryName} names it. */
export function stageOf(name: string): { step: number; stage: Stage } | undefined {
  const match = /^(checkpoint-\d+)(\..+)$/.exec(name);
  const step = match ? stepOf(match[1]!) : undefined;
  if (step === undefined) return undefined;
  const stage = (Object.keys(SUFFIXES) as Stage[]).find((key) => SUFFIXES[key] === match![2]);
  return stage && { step, stage };
}

const MAX_NAME_LENGTH = 1024;

/**
 * Whether a name in a manifest stays inside the checkpoint on every platform: relative, with `/` between its parts,
 * none of which is empty, `.`, `..`, ends in a dot or a space, or has a character that is special on Windows.
 */
export function isSafeFileName(name: string): boolean {
  return (
    name.length <= MAX_NAME_LENGTH &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a name must not hold
    name.split("/").every((part) => /^[^\u0000-\u001f\u007f\\/:*?"<>|]+$/.test(part) && !/[. ]$/.test(part))
  );
}

/** Files created by operating systems, which no loader reads. */
export function isSystemFile(name: string): boolean {
  return /^(\..*|Thumbs\.db|desktop\.ini)$/i.test(name.slice(name.lastIndexOf("/") + 1));
}
