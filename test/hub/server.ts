import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface RepositoryContent {
  /** Name → content. */
  files: Record<string, string | Buffer>;
  /** Branch, tag or refs/pr/N → commit. */
  revisions?: Record<string, string>;
  /** Who may read it: everybody, bearers of this token, or no one yet (gated). */
  access?: { token: string } | "gated";
}

export interface LoggedRequest {
  /** "hub" or, of the storage that large files are redirected to, "cdn". */
  host: "hub" | "cdn";
  method: string;
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** A test's replacement of the normal answer; undefined: none. */
export type Fault = (request: LoggedRequest, response: ServerResponse) => "handled" | undefined;

export const COMMIT = "1".repeat(39);

/** The commit number `n` of every repository. */
export function commit(n: number): string {
  return COMMIT + n.toString(16);
}

export function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

export function gitHash(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/** Files of these kinds are large ones, whatever their size. */
function isLarge(name: string): boolean {
  return /\.(?:safetensors|bin|ckpt)$/.test(name);
}

/**
 * A local server that speaks the Hugging Face hub's protocol as far as downloading goes: revisions, paged listings,
 * small files by themselves (some by way of a relative redirect), large ones by a redirect to another origin.
 */
export class HubServer {
  readonly requests: LoggedRequest[] = [];
  readonly repositories = new Map<string, RepositoryContent>();
  fault: Fault | undefined;
  /** Entries of a page of a listing. */
  pageSize = 5;
  /** Whether the storage answers ranges. */
  ranges = true;
  readonly #hub: Server;
  readonly #cdn: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer("hub", request, response));
    this.#cdn = createServer((request, response) => this.#answer("cdn", request, response));
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    for (const one of [server.#hub, server.#cdn])
      await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", () => resolve()));
    return server;
  }

  async stop(): Promise<void> {
    for (const one of [this.#hub, this.#cdn]) {
      one.closeAllConnections();
      await new Promise((resolve) => one.close(resolve));
    }
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get cdnUrl(): string {
    return `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`;
  }

  reset(): void {
    this.requests.length = 0;
    this.repositories.clear();
    this.fault = undefined;
    this.pageSize = 5;
    this.ranges = true;
  }

  /** Paths asked for, with their methods, e.g. `GET /a/b/resolve/…`. */
  asked(pattern: RegExp): string[] {
    return this.requests.map(({ method, path }) => `${method} ${path}`).filter((line) => pattern.test(line));
  }

  #answer(host: "hub" | "cdn", request: IncomingMessage, response: ServerResponse): void {
    const logged: LoggedRequest = {
      host,
      method: request.method!,
      path: request.url!,
      authorization: request.headers.authorization,
      range: request.headers.range,
    };
    this.requests.push(logged);
    if (this.fault?.(logged, response) === "handled") return;
    const url = new URL(request.url!, "http://localhost");
    const path = url.pathname.split("/").slice(1).map(decodeURIComponent);
    if (host === "cdn") this.#store(url, logged, response);
    else if (path[0] === "api" && path[1] === "resolve-cache") this.#resolve(path.slice(2), logged, response, true);
    else if (path[0] === "api") this.#api(path.slice(2), url, logged, response);
    else this.#resolve(path, logged, response, false);
  }

  /** The repository and the commit meant, or an answer that says why not. */
  #find(owner: string, name: string, revision: string, request: LoggedRequest, response: ServerResponse) {
    const repository = this.repositories.get(`${owner}/${name}`);
    const access = repository?.access;
    if (!repository || (typeof access === "object" && request.authorization !== `Bearer ${access.token}`)) {
      refuse(response, request.authorization ? 404 : 401, "RepoNotFound", "Repository not found");
      return undefined;
    }
    const revisions = repository.revisions ?? { main: commit(0) };
    const found = revisions[revision] ?? Object.values(revisions).find((one) => one === revision);
    if (!found) {
      refuse(response, 404, "RevisionNotFound", `Invalid rev id: ${revision}`);
      return undefined;
    }
    return { repository, found };
  }

  #api([owner, name, what, ...rest]: string[], url: URL, request: LoggedRequest, response: ServerResponse): void {
    const revision = what === undefined ? "main" : what === "revision" ? rest.join("/") : rest[0]!;
    const there = this.#find(owner!, name!, revision, request, response);
    if (!there) return;
    const { repository, found } = there;
    if (what !== "tree") {
      const siblings = Object.keys(repository.files).map((rfilename) => ({ rfilename }));
      const id = `${owner}/${name}`;
      const info = { _id: "0", id, modelId: id, sha: found, private: false, gated: false, tags: [], siblings };
      send(response, { ...info, downloads: 0, likes: 0, lastModified: "2024-01-01T00:00:00.000Z" });
      return;
    }
    const entries = Object.entries(repository.files).map(([path, text]) => {
      const content = Buffer.from(text);
      const lfs = { oid: sha256(content), size: content.length, pointerSize: 130 };
      const oid = isLarge(path) ? gitHash(Buffer.from(`pointer ${lfs.oid}`)) : gitHash(content);
      return { type: "file", oid, size: content.length, path, ...(isLarge(path) && { lfs }) };
    });
    const folders = new Set(entries.flatMap(({ path }) => (path.includes("/") ? path.split("/")[0]! : [])));
    const all = [...[...folders].map((path) => ({ type: "directory", oid: "0", size: 0, path })), ...entries];
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const next = new URL(url.href);
    next.searchParams.set("cursor", String(start + this.pageSize));
    if (start + this.pageSize < all.length)
      response.setHeader("link", `<${this.url}${next.pathname}${next.search}>; rel="next"`);
    send(response, all.slice(start, start + this.pageSize));
  }

  #resolve(path: string[], request: LoggedRequest, response: ServerResponse, direct: boolean): void {
    const [owner, name, , revision, ...file] = path;
    const there = this.#find(owner!, name!, revision!, request, response);
    if (!there) return;
    const { repository, found } = there;
    response.setHeader("x-repo-commit", found);
    if (repository.access === "gated") {
      refuse(response, request.authorization ? 403 : 401, "GatedRepo", "Access to this model is restricted.");
      return;
    }
    const text = repository.files[file.join("/")];
    if (text === undefined) {
      refuse(response, 404, "EntryNotFound", "Entry not found");
      return;
    }
    const content = Buffer.from(text);
    if (isLarge(file.at(-1)!)) {
      response.setHeader("x-linked-etag", `"${sha256(content)}"`);
      response.setHeader("x-linked-size", content.length);
      response.setHeader("etag", '"of-the-redirect"');
      const key = `${owner}/${name}/${file.join("/")}`;
      redirect(response, `${this.cdnUrl}/${encodeURIComponent(key)}?Signature=signed-secret`);
    } else if (!direct && file.at(-1) === "config.json") {
      redirect(response, `/api/resolve-cache/${path.map(encodeURIComponent).join("/")}`, 307);
    } else {
      response.setHeader("etag", `"${gitHash(content)}"`);
      this.#send(content, request, response);
    }
  }

  #store(url: URL, request: LoggedRequest, response: ServerResponse): void {
    const [owner, name, ...file] = decodeURIComponent(url.pathname.slice(1)).split("/");
    const text = this.repositories.get(`${owner}/${name}`)?.files[file.join("/")];
    if (text === undefined || url.searchParams.get("Signature") !== "signed-secret") {
      response.writeHead(403).end();
      return;
    }
    response.setHeader("etag", '"of-the-storage"');
    this.#send(Buffer.from(text), request, response);
  }

  #send(content: Buffer, request: LoggedRequest, response: ServerResponse): void {
    const from = /^bytes=(\d+)-$/.exec(request.range ?? "")?.[1];
    if (from !== undefined && this.ranges) {
      const start = Number(from);
      if (start >= content.length) {
        response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
        return;
      }
      response.statusCode = 206;
      response.setHeader("content-range", `bytes ${start}-${content.length - 1}/${content.length}`);
      content = content.subarray(start);
    }
    response.setHeader("content-length", content.length);
    response.end(request.method === "HEAD" ? undefined : content);
  }
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  response.writeHead(status, { "x-error-code": code, "x-error-message": message, "content-type": "application/json" });
  response.end(JSON.stringify({ error: message }));
}

function redirect(response: ServerResponse, location: string, status = 302): void {
  response.writeHead(status, { location }).end();
}

function send(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(value));
}
