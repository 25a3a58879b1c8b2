/** Whether a text is a decimal number: `-1`, `.5`, `2.`, `1e-4`. */
export function isDecimal(text: string): boolean {
  return /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text);
}
