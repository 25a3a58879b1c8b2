import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Environment } from "../../runtime/platform.js";

/** The password for a host in the user's netrc, where `wandb login` puts its key; undefined if there is none. */
export async function passwordFor(host: string, env: Environment): Promise<string | undefined> {
  const name = process.platform === "win32" ? "_netrc" : ".netrc";
  const path = env.NETRC || join(env.HOME || homedir(), name);
  try {
    return parseNetrc(await readFile(path, "utf8")).get(host);
  } catch {
    // An unreadable file counts as missing: the later error says that no key was found, and where to put one.
    return undefined;
  }
}

/** Passwords by host. Comments run from a word that begins with `#` to the end of the line; macros are skipped. */
export function parseNetrc(text: string): Map<string, string> {
  const withoutMacros = text.replace(/^[ \t]*macdef\s[\s\S]*?(\n[ \t]*\n|(?![\s\S]))/gm, "");
  const words = withoutMacros.split("\n").flatMap((line) =>
    line
      .replace(/(^|\s)#.*$/s, "")
      .split(/\s+/)
      .filter(Boolean),
  );
  const passwords = new Map<string, string>();
  let host: string | undefined;
  for (let i = 0; i < words.length; i++) {
    if (words[i] === "machine") host = words[++i];
    else if (words[i] === "default") host = undefined;
    else if (words[i] === "password" && host !== undefined) passwords.set(host, words[++i] ?? "");
    else if (words[i] === "login" || words[i] === "account" || words[i] === "password") i++;
  }
  return passwords;
}
