/** The sessions of one workspace, over HTTP; `docs/reference/sessions-api.md` says what each request does. */

import { readElsewhere, type OtherWorkspace } from './elsewhere.js';
import { ApiError, errorOf } from './errors.js';
import { fieldsOf, list, number, text, type Fields } from './fields.js';
import { readStatus, type Status } from './status.js';

export interface ApiOptions {
  readonly fetch?: typeof fetch;
  /** What a request that changes something proves that it comes from this page with; by default its cookie. */
  readonly xsrf?: () => string;
  /** Sent with every request: what a client without a cookie identifies itself by. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** How a session ended: of code and signal one is set, or a reason. */
export interface SessionExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly reason: string | null;
  /** Who ended it and why, of one that an administrator ended. */
  readonly message?: string | null;
}
/** An end that was announced. */
export interface SessionWarning {
  readonly code: string;
  readonly seconds: number;
}
export interface Session {
  readonly id: string;
  readonly name: string;
  readonly state: 'active' | 'dormant' | 'ended';
  readonly created: Date | null;
  readonly lastInput: Date | null;
  readonly lastOutput: Date | null;
  readonly lastAttached: Date | null;
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly rows: number;
  readonly cols: number;
  /** Attached connections. */
  readonly clients: number;
  /** Bytes printed so far. */
  readonly bytesOut: number;
  readonly exit: SessionExit | null;
  /** Name of what runs in the foreground; null: the server does not say. */
  readonly program: string | null;
  /** Something else than the shell is in the foreground. */
  readonly busy: boolean;
  /** Seconds. */
  readonly busyFor: number | null;
  /** Seconds until a rule ends it; null: never, or it has ended. */
  readonly expiresIn: number | null;
  readonly warnings: readonly SessionWarning[];
}
/** A session that was just made, and how to attach to it without the hub. */
export interface NewSession extends Session {
  readonly token: string | null;
}
export interface Creation {
  readonly name?: string;
  readonly cwd?: string;
  readonly argv?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly rows?: number;
  readonly cols?: number;
}

function date(value: unknown): Date | null {
  const read = typeof value === 'string' ? new Date(value) : null;
  return read && !Number.isNaN(read.getTime()) ? read : null;
}

function exitOf(value: unknown): SessionExit | null {
  if (typeof value !== 'object' || value === null) {
    return null;
  }
  const { code, signal, reason, message } = value as Fields;
  return { code: number(code), signal: text(signal), reason: text(reason), ...(message ? { message: text(message) } : {}) };
}

function warningsOf(value: unknown): SessionWarning[] {
  return list(value).flatMap(item => {
    const { code, seconds } = fieldsOf(item);
    return typeof code === 'string' && typeof seconds === 'number' ? [{ code, seconds }] : [];
  });
}

/** A session of an answer; null when it is none. */
export function readSession(value: unknown): Session | null {
  const item = fieldsOf(value);
  const { id, name, state } = item;
  if (typeof id !== 'string' || typeof name !== 'string') {
    return null;
  }
  if (state !== 'active' && state !== 'dormant' && state !== 'ended') {
    return null;
  }
  return {
    id,
    name,
    state,
    created: date(item['created']),
    lastInput: date(item['last_input']),
    lastOutput: date(item['last_output']),
    lastAttached: date(item['last_attached']),
    argv: list(item['argv']).filter(one => typeof one === 'string'),
    cwd: text(item['cwd']) ?? '',
    rows: number(item['rows']) ?? 24,
    cols: number(item['cols']) ?? 80,
    clients: number(item['clients']) ?? 0,
    bytesOut: number(item['bytes_out']) ?? 0,
    exit: exitOf(item['exit']),
    program: text(item['program']),
    busy: item['busy'] === true,
    busyFor: number(item['busyFor']),
    expiresIn: number(item['expiresIn']),
    warnings: warningsOf(item['warnings'])
  };
}

/** The `_xsrf` cookie of this page; empty: there is none, or it is not for scripts. */
export function xsrfCookie(): string {
  const found = typeof document === 'undefined' ? null : /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie);
  return found?.[1] ?? '';
}

/** Not asking on behalf of a person: it must not count as activity. */
const QUIET = '?no_track_activity=1';

export class WorkspaceApi {
  readonly root: string;
  private readonly fetch: typeof fetch;

  /** `baseUrl` of the workspace's server, such as `/user/ann/`. */
  constructor(
    baseUrl: string,
    private readonly options: ApiOptions = {}
  ) {
    this.root = `${baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`}persistent-terminals/api/`;
    // As it is at the time of a request: the page may replace it.
    this.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  /** Running sessions, oldest first, then ended ones. */
  async list(): Promise<Session[]> {
    const body = await this.ask('GET', `sessions${QUIET}`);
    if (!Array.isArray(body)) {
      throw notOurs();
    }
    return body.flatMap(item => readSession(item) ?? []);
  }

  async get(session: string): Promise<Session> {
    return sessionOf(await this.ask('GET', `${item(session)}${QUIET}`));
  }

  /** A new session; without `argv` a shell. A running session of this name is a `conflict`. */
  async create(wishes: Creation = {}): Promise<NewSession> {
    const body = await this.ask('POST', 'sessions', wishes);
    return { ...sessionOf(body), token: text(fieldsOf(body)['token']) };
  }

  async rename(session: string, name: string): Promise<Session> {
    return sessionOf(await this.ask('PATCH', item(session), { name }));
  }

  /** End a running session with all its programs; forget one that has ended. */
  async end(session: string): Promise<void> {
    await this.ask('DELETE', item(session));
  }

  /** End it if it runs, and start the same program in the same directory under the same name. */
  async restart(session: string): Promise<NewSession> {
    const { id, name, argv, cwd, rows, cols, state } = await this.get(session);
    if (state !== 'ended') {
      await this.end(id);
    }
    return this.create({ name, rows, cols, ...(argv.length ? { argv } : {}), ...(cwd ? { cwd } : {}) });
  }

  /** Let it live longer without its owner; the seconds that were granted. */
  async extend(session: string, seconds: number): Promise<number> {
    const body = await this.ask('POST', `${item(session)}/extend`, { seconds });
    return number(fieldsOf(body)['granted']) ?? 0;
  }

  /** Whether the workspace is locked; needs no login. Null: something else than a workspace answered. */
  async status(): Promise<Status | null> {
    const { status, body } = await this.request('GET', 'status');
    return readStatus(status, body);
  }

  /** Somebody is there. `leaving`: the page goes away, and the request must outlive it. */
  async presence(leaving = false): Promise<void> {
    await this.ask('POST', 'presence', undefined, { keepalive: leaving });
  }

  /** Ask for a fresh login before anything is shown again. */
  async lock(): Promise<void> {
    await this.ask('POST', 'lock', {});
  }

  /** What the rules are asked about: durations in seconds. */
  async facts(): Promise<Fields> {
    return fieldsOf(await this.ask('GET', `facts${QUIET}`));
  }

  /** The owner's other workspaces and their sessions; the hub asks each of them. */
  async elsewhere(): Promise<OtherWorkspace[]> {
    return readElsewhere(await this.ask('GET', `elsewhere${QUIET}`));
  }

  /** What a page keeps in the workspace, so that it is the same on every device; `{}`: nothing yet. */
  async layout(): Promise<Fields> {
    return fieldsOf(await this.ask('GET', `layout${QUIET}`));
  }

  /** Keep it; at most 32 KiB of JSON. `leaving`: the page goes away, and the request must outlive it. */
  async keepLayout(layout: object, leaving = false): Promise<void> {
    await this.ask('PUT', 'layout', layout, { keepalive: leaving });
  }

  /** What is kept of a session's output, as it was printed. */
  async output(session: string): Promise<Uint8Array> {
    const response = await this.send('GET', `${item(session)}/output${QUIET}`);
    if (!response.ok) {
      throw errorOf(response.status, await response.json().catch(() => null));
    }
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Where what a session printed is to be had as text. */
  outputUrl(session: string): string {
    return `${this.root}${item(session)}/output?format=text`;
  }

  /** Any other resource under `persistent-terminals/api/`. */
  async ask(method: string, path: string, body?: unknown, init: RequestInit = {}): Promise<unknown> {
    const answer = await this.request(method, path, body, init);
    if (answer.status < 200 || answer.status > 299) {
      throw errorOf(answer.status, answer.body);
    }
    return answer.body;
  }

  private async request(
    method: string,
    path: string,
    body?: unknown,
    init: RequestInit = {}
  ): Promise<{ readonly status: number; readonly body: unknown }> {
    const response = await this.send(method, path, body, init);
    let answer: unknown = null;
    if (response.status !== 204) {
      answer = await response.json().catch(() => null);
      if (answer === null && response.ok) {
        throw notOurs(); // a login page, say
      }
    }
    return { status: response.status, body: answer };
  }

  private async send(method: string, path: string, body?: unknown, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(this.options.headers);
    headers.set('Accept', 'application/json');
    const xsrf = (this.options.xsrf ?? xsrfCookie)();
    if (xsrf !== '') {
      headers.set('X-XSRFToken', xsrf);
    }
    const content = body === undefined ? {} : { body: JSON.stringify(body) };
    if (body !== undefined) {
      headers.set('Content-Type', 'application/json');
    }
    try {
      return await this.fetch(this.root + path, {
        credentials: 'same-origin',
        cache: 'no-store',
        ...init,
        ...content,
        method,
        headers
      });
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') {
        throw error;
      }
      throw new ApiError('unreachable', 'The workspace does not answer.');
    }
  }
}

const item = (session: string): string => `sessions/${encodeURIComponent(session)}`;

function notOurs(): ApiError {
  return new ApiError(
    'unreachable',
    'Something else than the workspace answered.',
    'Your login may have expired, or the workspace was stopped: reload the page.'
  );
}

function sessionOf(body: unknown): Session {
  const session = readSession(body);
  if (session === null) {
    throw notOurs();
  }
  return session;
}
