/** The YAML in the head of a `README.md` of the hub: what is between its first two `---` lines; undefined if it does not begin with one. */
export function cardHead(readme: string): string | undefined {
  const lines = readme.trimStart().split("\n");
  const isFence = (line: string) => line.startsWith("---") && line.slice(3).trim() === "";
  if (!isFence(lines[0]!)) return undefined;
  const end = lines.findIndex((line, i) => i > 0 && isFence(line));
  return end < 0 ? undefined : lines.slice(1, end).join("\n");
}
