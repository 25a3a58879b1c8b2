import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { InstructPix2PixError } from "../core/errors.js";
import { warnOnce } from "../core/warn.js";
import { AccessToken } from "./token.js";

/** Longer than any token. */
const MAX_BYTES = 8192;

/** Permission bits for reading by others than the owner. */
const READABLE_BY_OTHERS = 0o044;

/**
 * Reads an access token from a file or a pipe (such as a password manager's); surrounding white space is ignored. Warns
 * once if other users of the machine may read the file.
 *
 * @param option the option that named the file, for messages
 * @throws `ERR_INVALID_ARGUMENT`, without the content, for a file that cannot be read, is empty or holds no token
 */
export async function readTokenFile(path: string, option: string): Promise<string> {
  const { text, open: readable } = await read(path).catch((cause: unknown) => {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${option} ${path} cannot be read (${code ?? message})`, {
      cause,
    });
  });
  const token = text.trim();
  if (token === "") throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `${option} ${path} holds no access token`);
  new AccessToken(token, `${option} ${path}`);
  if (readable) warnOnce(`${path}: other users of this machine may read the access token in it; run chmod 600 on it`);
  return token;
}

/** The text of the file that `hf auth login` writes; empty if there is no such plain file. Never waits for a pipe. */
export async function readStoredToken(path: string): Promise<string> {
  // Windows does not know the flag.
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(() => undefined);
  try {
    return file && (await file.stat()).isFile() ? (await firstBytes(file)).toString("utf8").trim() : "";
  } finally {
    await file?.close();
  }
}

async function read(path: string): Promise<{ text: string; open: boolean }> {
  const file = await open(path, "r");
  try {
    const found = await file.stat();
    const text = (await firstBytes(file)).toString("utf8");
    const shared = process.platform !== "win32" && found.isFile() && (found.mode & READABLE_BY_OTHERS) !== 0;
    return { text, open: shared };
  } finally {
    await file.close();
  }
}

async function firstBytes(file: FileHandle): Promise<Buffer> {
  const buffer = Buffer.alloc(MAX_BYTES);
  let length = 0;
  while (length < MAX_BYTES) {
    const { bytesRead } = await file.read(buffer, length, MAX_BYTES - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}
