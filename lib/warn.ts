const told = new Set<string>();

/** Emits a Node process warning, each text once per JavaScript environment. */
export function warnOnce(message: string): void {
  if (told.has(message)) return;
  told.add(message);
  process.emitWarning(message, { type: "InstructPix2PixWarning" });
}
