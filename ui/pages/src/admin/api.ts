// The control service's API, as the browser's own person.

import { serviceBase } from '../common/place';

export interface Refusal {
  readonly status: number;
  readonly message: string;
  readonly hint: string;
}

export class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.message);
  }
}

/** The cookie that the page set, sent back: another site's page cannot. */
export function headers(cookies: string = document.cookie): Record<string, string> {
  // The hub's own cookie of that name has another path and comes after ours.
  const found = /(?:^|;\s*)_xsrf=([^;]*)/.exec(cookies);
  return found?.[1] ? { 'X-XSRFToken': decodeURIComponent(found[1]) } : {};
}

export async function refusalOf(answer: Response): Promise<Refusal> {
  const body: unknown = await answer.json().catch(() => null);
  const said = (body ?? {}) as { message?: unknown; hint?: unknown };
  return {
    status: answer.status,
    message: typeof said.message === 'string' ? said.message : `The service answered ${answer.status}.`,
    hint: typeof said.hint === 'string' ? said.hint : ''
  };
}

export const AWAY: Refusal = {
  status: 0,
  message: 'The service does not answer; nothing is known of what it did.',
  hint: 'Look at the table, then try again.'
};

/** What `work` was refused with, for a person. */
export const refusalIn = (error: unknown): Refusal => (error instanceof Refused ? error.refusal : AWAY);

/** The answer's JSON (null when there is none). Throws Refused. */
export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  const key = method === 'POST' ? { 'Idempotency-Key': crypto.randomUUID?.() ?? String(Math.random()) } : {};
  try {
    answer = await fetch(`${serviceBase()}api/${path}`, {
      method,
      headers: { ...headers(), ...key, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      cache: 'no-store'
    });
  } catch {
    throw new Refused(AWAY);
  }
  if (!answer.ok) {
    throw new Refused(await refusalOf(answer));
  }
  return (answer.status === 204 ? null : await answer.json()) as T;
}

/** A query without what is empty. */
export function query(fields: Record<string, string | number | boolean | null | undefined>): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== '' && value !== null && value !== undefined && value !== false) {
      found.set(name, String(value));
    }
  }
  return found.size ? `?${found}` : '';
}
