import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as it came in, after its body. */
export interface UploadRequest {
  /** "hub", or the storage that large files go to, which is another origin. */
  host: "hub" | "storage";
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

/** What happens instead of a proper answer: nothing unusual; a status; a cut connection, before or after the work. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string | Buffer }
  | "reset"
  | "hang"
  | "lose answer"
  | undefined;

interface Answer {
  status: number;
  body?: unknown;
  more?: Record<string, string>;
}

interface Repository {
  files: Map<string, Buffer>;
  commits: { summary: string; paths: string[] }[];
}

export interface Account {
  name: string;
  role: "read" | "write" | "fineGrained";
  /** Owners of repositories that it may make. */
  mayCreate: string[];
  /** Owners of repositories that it may write to. */
  mayWrite: string[];
}

const SMALL = 4096;

/**
 * A local server that speaks the Hugging Face hub's protocol as far as uploading goes: whoami, creating repositories,
 * preupload, git LFS's batch with storage on another origin in one piece or in several, commits as lines of JSON. It
 * refuses what the real one would: wrong hashes and sizes, content without a length, commits of blobs that it lacks.
 */
export class UploadServer {
  readonly accounts = new Map<string, Account>();
  readonly repositories = new Map<string, Repository>();
  readonly blobs = new Map<string, Buffer>();
  readonly requests: UploadRequest[] = [];
  fault: (request: UploadRequest) => Fault | Promise<Fault> = () => undefined;
  /** Bytes of a request's body after which the connection breaks. */
  cutAfter: (line: string) => number = () => Number.POSITIVE_INFINITY;
  /** Bytes of the parts of a large file; undefined: sent whole. */
  partSize: number | undefined;
  readonly #hub: Server;
  readonly #storage: Server;
  readonly #parts = new Map<string, Buffer>();

  private constructor() {
    this.#hub = createServer((request, response) => void this.#handle("hub", request, response));
    this.#storage = createServer((request, response) => void this.#handle("storage", request, response));
  }

  static async start(): Promise<UploadServer> {
    const server = new UploadServer();
    for (const one of [server.#hub, server.#storage]) {
      one.listen(0, "127.0.0.1");
      await once(one, "listening");
    }
    return server;
  }

  async stop(): Promise<void> {
    for (const one of [this.#hub, this.#storage]) {
      one.closeAllConnections();
      await new Promise((resolve) => one.close(resolve));
    }
  }

  reset(): void {
    for (const all of [this.accounts, this.repositories, this.blobs, this.#parts]) all.clear();
    this.requests.length = 0;
    this.fault = () => undefined;
    this.cutAfter = () => Number.POSITIVE_INFINITY;
    this.partSize = undefined;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get storageUrl(): string {
    return `http://127.0.0.1:${(this.#storage.address() as AddressInfo).port}`;
  }

  /** Requests, as `METHOD /path`. */
  asked(pattern: RegExp): string[] {
    return this.requests.map(({ method, path }) => `${method} ${path}`).filter((line) => pattern.test(line));
  }

  async #handle(host: "hub" | "storage", incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url, headers } = incoming;
    const chunks: Buffer[] = [];
    const limit = this.cutAfter(`${method} ${url}`);
    let length = 0;
    try {
      for await (const chunk of incoming) {
        chunks.push(chunk as Buffer);
        length += (chunk as Buffer).length;
        if (length > limit) incoming.socket.destroy();
      }
    } catch {
      return;
    }
    const request = { host, method: method!, path: url!, headers, body: Buffer.concat(chunks) };
    this.requests.push(request);
    const fault = await this.fault(request);
    if (fault === "hang") return;
    if (fault === "reset") incoming.socket.destroy();
    else if (typeof fault === "object") response.writeHead(fault.status, fault.headers).end(fault.body);
    else {
      const { status, body, more } = host === "hub" ? this.#answer(request) : this.#store(request);
      if (fault === "lose answer") incoming.socket.destroy();
      else {
        response.writeHead(status, { "content-type": "application/json", ...more });
        response.end(body === undefined ? undefined : JSON.stringify(body));
      }
    }
  }

  #answer(request: UploadRequest): Answer {
    const { pathname } = new URL(request.path, this.url);
    if (pathname.startsWith("/complete/")) return this.#complete(pathname.slice("/complete/".length), request);
    const account = this.accounts.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "");
    if (!account) return no(401, "Invalid credentials in Authorization header");
    if (pathname === "/api/whoami-v2") {
      const auth = { type: "access_token", accessToken: { displayName: "test", role: account.role } };
      return { status: 200, body: { type: "user", id: "1", name: account.name, orgs: [], auth } };
    }
    if (pathname === "/api/repos/create") return this.#create(account, JSON.parse(request.body.toString()));
    const [, owner, name, what] =
      /^\/(?:api\/models\/)?([^/]+)\/([^/]+?)(?:\.git)?\/(preupload\/main|commit\/main|info\/lfs\/objects\/batch)$/.exec(
        pathname,
      ) ?? [];
    const repository = this.repositories.get(`${owner}/${name}`);
    if (!repository) return no(404, "Repository not found");
    if (what === "preupload/main") return preupload(JSON.parse(request.body.toString()));
    if (!account.mayWrite.includes(owner!)) return no(403, "Forbidden: pass `create_pr=1` to create a Pull Request");
    return what === "commit/main"
      ? this.#commit(`${owner}/${name}`, repository, request)
      : this.#batch(JSON.parse(request.body.toString()));
  }

  #create(account: Account, { name, organization, type }: Record<string, string>) {
    const id = `${organization}/${name}`;
    if (type !== "model") return no(400, "not a model");
    if (!account.mayCreate.includes(organization!)) return no(403, "You don't have the rights to create a model");
    if (this.repositories.has(id)) return no(409, "You already created this model repo");
    this.repositories.set(id, { files: new Map(), commits: [] });
    return { status: 200, body: { url: `${this.url}/${id}`, id: "0123", name: id } };
  }

  #batch({ objects, transfers }: { objects: { oid: string; size: number }[]; transfers: string[] }) {
    if (!transfers.includes("basic")) return no(400, "no common transfer");
    const answers = objects.map(({ oid, size }) => {
      if (this.blobs.has(oid)) return { oid, size };
      const key = `${oid}?size=${size}&Signature=signed-secret`;
      if (this.partSize === undefined) return { oid, size, actions: { upload: { href: `${this.storageUrl}/${key}` } } };
      const header: Record<string, string> = { chunk_size: String(this.partSize) };
      for (let part = 1; (part - 1) * this.partSize < size; part++)
        header[String(part).padStart(5, "0")] = `${this.storageUrl}/${key}&part=${part}`;
      return { oid, size, actions: { upload: { href: `${this.url}/complete/${oid}`, header } } };
    });
    return { status: 200, body: { transfer: this.partSize === undefined ? "basic" : "multipart", objects: answers } };
  }

  #store({ path, headers, body, method }: UploadRequest): Answer {
    const { pathname, searchParams } = new URL(path, this.storageUrl);
    const oid = pathname.slice(1);
    if (method !== "PUT" || searchParams.get("Signature") !== "signed-secret") return no(403, "bad signature");
    if (headers["content-length"] === undefined) return no(411, "MissingContentLength");
    const part = searchParams.get("part");
    if (part !== null) {
      const etag = `"${randomBytes(4).toString("hex")}"`;
      this.#parts.set(`${oid}-${part}-${etag}`, body);
      return { status: 200, more: { etag } };
    }
    return this.#keep(oid, body);
  }

  #complete(oid: string, request: UploadRequest) {
    const { parts } = JSON.parse(request.body.toString()) as { parts: { partNumber: number; etag: string }[] };
    const pieces = parts.map(({ partNumber, etag }) => this.#parts.get(`${oid}-${partNumber}-${etag}`));
    return pieces.includes(undefined) ? no(400, "InvalidPart") : this.#keep(oid, Buffer.concat(pieces as Buffer[]));
  }

  #keep(oid: string, content: Buffer) {
    if (createHash("sha256").update(content).digest("hex") !== oid) return no(400, "BadDigest");
    this.blobs.set(oid, content);
    return { status: 200 };
  }

  #commit(id: string, repository: Repository, request: UploadRequest) {
    const lines = request.body.toString().split("\n");
    const operations = lines.map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const [header, ...files] = operations;
    if (header?.key !== "header" || !header.value.summary) return no(400, "no header");
    const changes = new Map<string, Buffer>();
    for (const { key, value } of files) {
      const content = key === "lfsFile" ? this.blobs.get(value.oid!) : Buffer.from(value.content!, "base64");
      if (content === undefined) return no(400, `LFS pointer to an object that does not exist: ${value.path}`);
      if (key === "lfsFile" && content.length !== Number(value.size)) return no(400, "wrong size");
      changes.set(value.path!, content);
    }
    for (const [path, content] of changes) repository.files.set(path, content);
    repository.commits.push({ summary: header.value.summary, paths: [...changes.keys()].sort() });
    const oid = createHash("sha1").update(`${id} ${repository.commits.length}`).digest("hex");
    return { status: 200, body: { commitOid: oid, commitUrl: `${this.url}/${id}/commit/${oid}`, success: true } };
  }
}

function preupload({ files }: { files: { path: string; size: number; sample: string }[] }) {
  const modes = files.map(({ path, size, sample }) => ({
    path,
    shouldIgnore: false,
    uploadMode: path.endsWith(".safetensors") || (size > SMALL && sample) ? "lfs" : "regular",
  }));
  return { status: 200, body: { files: modes } };
}

function no(status: number, error: string) {
  return { status, body: { error }, more: { "x-error-message": error } };
}
