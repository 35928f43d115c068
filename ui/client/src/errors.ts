/** What a request to a workspace is refused with, as a sentence and what to do. */

export type ErrorKind =
  | 'sign-in'
  | 'forbidden'
  | 'missing'
  | 'conflict'
  | 'ended'
  | 'invalid'
  | 'locked'
  | 'too-many'
  | 'unreachable';

const KINDS: ReadonlyMap<number, ErrorKind> = new Map<number, ErrorKind>([
  [401, 'sign-in'],
  [403, 'forbidden'],
  [404, 'missing'],
  [409, 'conflict'],
  [410, 'ended'],
  [423, 'locked'],
  [429, 'too-many']
]);

const HINTS: Readonly<Partial<Record<ErrorKind, string>>> = {
  'sign-in': 'Log in again, then try once more.',
  forbidden: 'Your login may have expired: reload the page.',
  unreachable: 'Programs go on. Try again in a moment.',
  locked: 'Log in again to open the workspace.'
};

/** A request that was not done. `message` is a sentence for a person. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly kind: ErrorKind,
    message: string,
    readonly hint: string = HINTS[kind] ?? '',
    /** Of HTTP; 0: there was no answer. */
    readonly status = 0
  ) {
    super(message);
  }
}

function textOf(body: unknown, field: string): string {
  const value: unknown = typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[field] : '';
  return typeof value === 'string' ? value : '';
}

/** The error of an answer; `body` is ours if it has a `message`. */
export function errorOf(status: number, body: unknown): ApiError {
  // 424: a hub's answer for a workspace that does not run.
  const kind = KINDS.get(status) ?? (status >= 500 || status === 424 || status < 400 ? 'unreachable' : 'invalid');
  const message = textOf(body, 'message');
  if (status === 424) {
    return new ApiError(kind, 'The workspace does not run.', 'Start it on the hub’s home page.', status);
  }
  if (message === '') {
    return new ApiError(kind, `The workspace did not do it (status ${status}).`, undefined, status);
  }
  return new ApiError(kind, message, textOf(body, 'hint') || undefined, status);
}
