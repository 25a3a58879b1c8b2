const { stdout, env } = process;
const colourful = stdout.isTTY && !env.NO_COLOR;
const paint = (code) => (text) => (colourful ? `\x1b[${code}m${text}\x1b[0m` : text);
export const [bold, dim, red, green] = [paint(1), paint(2), paint(31), paint(32)];

/** Rewrites the line on a terminal; elsewhere only finished lines are printed. */
export function line(text, finished = true) {
  if (stdout.isTTY) stdout.write(`\r\x1b[K${text}${finished ? "\n" : ""}`);
  else if (finished) console.log(text);
}

export function bar(done, total, width = 24) {
  const full = Math.round((width * done) / total);
  return `${"█".repeat(full)}${dim("░".repeat(width - full))}`;
}
