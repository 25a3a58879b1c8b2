import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { packageRoot } from "../../runtime/platform.js";

/** Where the page is built, in a clone and in the package. */
const FOLDER = join(packageRoot, "dist", "web");

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Nothing from elsewhere, nothing inline, and in no frame: a text that was taken for markup could do nothing. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self' blob: data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
};

/** The web page and its files: a fixed list, so that no path of a request is looked up. It needs no key; what it asks does. */
export function addPage(app: FastifyInstance): void {
  if (!existsSync(join(FOLDER, "index.html"))) {
    app.log.warn(`there is no web page: ${FOLDER} is missing; npm run setup builds it`);
    return;
  }
  for (const name of readdirSync(FOLDER, { recursive: true }) as string[]) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const path = name.replaceAll("\\", "/");
    const content = readFileSync(join(FOLDER, name));
    // The build puts a digest of what they hold into their names.
    const caching = path.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache";
    const etag = `"${createHash("sha256").update(content).digest("base64url").slice(0, 22)}"`;
    const handler = async (request: FastifyRequest, reply: FastifyReply) => {
      reply.headers({ ...HEADERS, etag, "cache-control": caching });
      if (request.headers["if-none-match"] === etag) return reply.code(304).send();
      return reply.type(type).send(content);
    };
    app.get(path === "index.html" ? "/" : `/${path}`, { config: { doc: null } }, handler);
  }
}
