import { fetch, Headers, type Response } from "undici";
import { followRedirects, HubConnection, redirectTarget } from "./connection.js";

export interface RequestOptions {
  method?: "GET" | "HEAD";
  headers?: Headers;
  signal?: AbortSignal | undefined;
  /** Override the connection's options. */
  retries?: number | undefined;
  /** Returns a redirect to another host instead of following it. */
  stayOnHub?: boolean;
}

/** HTTP for downloads from the hub, with the access token where allowed. */
export class HubHttp extends HubConnection {
  /**
   * The response to a request, of any status; its body is not read yet.
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
