import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { run } from "./run.js";

/** A registry's document of a package. */
interface Packument {
  name: string;
  "dist-tags": Record<string, string>;
  versions: Record<string, { dist: { tarball: string; integrity: string; shasum: string } }>;
}

/** What `npm publish` sends. */
interface Publication extends Packument {
  _attachments: Record<string, { data: string }>;
}

/**
 * An npm registry of this process: it takes what is published to it, and asks the registry that npm is configured for
 * about everything else. Package managers meet our tarballs as their users will.
 */
export class LocalRegistry {
  readonly #packages = new Map<string, Packument>();
  readonly #tarballs = new Map<string, Buffer>();
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: unknown) => send(response, 502, { error: String(error) }));
  });
  /** `name@version` of what was published, in that order. */
  readonly published: string[] = [];
  #upstream = "";

  /** The address, with a slash at its end. */
  url = "";

  static async start(): Promise<LocalRegistry> {
    const registry = new LocalRegistry();
    const { stdout } = await run("npm", ["config", "get", "registry"]);
    registry.#upstream = stdout.trim().replace(/\/*$/, "/");
    await new Promise<void>((resolve) => registry.#server.listen(0, "127.0.0.1", resolve));
    registry.url = `http://127.0.0.1:${(registry.#server.address() as AddressInfo).port}/`;
    return registry;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url as string, this.url).pathname).slice(1);
    if (request.method === "PUT") return this.#publish(await bodyOf(request), response);
    if (request.method !== "GET" && request.method !== "HEAD") return send(response, 404, {});
    const tarball = this.#tarballs.get(path);
    if (tarball) return send(response, 200, tarball);
    const published = this.#packages.get(path);
    if (published) return send(response, 200, published);
    if (path.startsWith("-/")) return send(response, 404, {});
    const answer = await fetch(new URL(path.replace("/", "%2f"), this.#upstream), {
      headers: { accept: request.headers.accept ?? "*/*" },
    });
    send(response, answer.status, Buffer.from(await answer.arrayBuffer()));
  }

  #publish(body: Buffer, response: ServerResponse): void {
    const { _attachments, ...packument } = JSON.parse(body.toString()) as Publication;
    const [data] = Object.values(_attachments).map((each) => Buffer.from(each.data, "base64")) as [Buffer];
    for (const [version, manifest] of Object.entries(packument.versions)) {
      const place = `-/tarballs/${packument.name}-${version}.tgz`;
      this.#tarballs.set(place, data);
      this.published.push(`${packument.name}@${version}`);
      const sha512 = createHash("sha512").update(data).digest("base64");
      manifest.dist = { ...manifest.dist, tarball: `${this.url}${place}`, integrity: `sha512-${sha512}` };
    }
    const before = this.#packages.get(packument.name);
    this.#packages.set(packument.name, { ...packument, versions: { ...before?.versions, ...packument.versions } });
    send(response, 201, { ok: true });
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const binary = Buffer.isBuffer(body);
  response.writeHead(status, { "content-type": binary ? "application/octet-stream" : "application/json" });
  response.end(binary ? body : JSON.stringify(body));
}
