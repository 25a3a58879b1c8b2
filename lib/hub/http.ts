import { fetch, Headers, type Response } from "undici";
import { followRedirects, HubConnection, redirectTarget } from "./connection.js";

export interface RequestOptions {
  method?: "GET" | "HEAD";
  headers?: Headers;
  signal?: AbortSignal | undefined;
  /** Instead of those of the connection. */
  retries?: number | undefined;
  /** Stops at a redirect to another host, whose answer is then the redirect itself. */
  stayOnHub?: boolean;
}

/** HTTP for downloads from the hub: questions, with the access token wherever it may go. */
export class HubHttp extends HubConnection {
  /**
   * The answer to a request, also one that says no; of the body nothing is read yet.
   *
   * @throws {@link HubError} "unreachable" after the last repetition, `ERR_ABORTED`
   */
  async request(address: string, options: RequestOptions = {}): Promise<Response> {
    const url = new URL(address);
    return await this.repeat(url, () => this.#follow(url, options), options);
  }

  async #follow(start: URL, { method = "GET", signal, stayOnHub = false, ...rest }: RequestOptions): Promise<Response> {
    const send = async (url: URL) => {
      const headers = new Headers(rest.headers);
      this.authorize(url, headers);
      const { dispatcher } = this;
      return await fetch(url, { method, headers, redirect: "manual", dispatcher, ...(signal && { signal }) });
    };
    return await followRedirects(
      start,
      send,
      (_, from, location) => stayOnHub && !this.isHub(redirectTarget(from, location)),
    );
  }
}
