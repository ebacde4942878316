/** Requests to the server: JSON both ways, the CSRF token with everything that changes something. */

import type { Fault, LinkReport, Page } from "./types";

/** A refusal in words for people; `detail` is empty when the server did not answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
  ) {
    super(detail || `status ${status}`);
  }
}

export interface Api {
  setPaused(id: number, paused: boolean): Promise<LinkReport>;
  setLanguage(code: string): Promise<void>;
}

export function createApi(page: Page): Api {
  const csrf = { "X-CSRFToken": page.csrf, Accept: "application/json" };
  return {
    async setPaused(id, paused) {
      const response = await post(`${page.urls.api}/links/${id}/${paused ? "pause" : "resume"}`, csrf);
      return (await response.json()) as LinkReport;
    },
    async setLanguage(code) {
      if (page.urls.language) await post(page.urls.language, csrf, new URLSearchParams({ language: code }));
    },
  };
}

async function post(url: string, headers: HeadersInit, body: BodyInit | null = null): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { method: "POST", headers, body, credentials: "same-origin" });
  } catch {
    throw new ApiError(0, "");
  }
  if (response.ok) return response;
  const fault = (await response.json().catch(() => undefined)) as Partial<Fault> | undefined;
  throw new ApiError(response.status, fault?.detail ?? `${response.status} ${response.statusText}`);
}
