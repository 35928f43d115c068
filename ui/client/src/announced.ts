/** What `api/sessions` announces. Pure. */

/** A session that ends soon. */
export interface Announced {
  readonly id: string;
  readonly name: string;
  /** `ttl` or `max_age`. */
  readonly code: string;
  /** Seconds left when the server was asked. */
  readonly seconds: number;
}

/** All announced ends of an answer; what cannot be understood is left out. */
export function announcedIn(body: unknown): Announced[] {
  const list: unknown = Array.isArray(body) ? body : (body as { sessions?: unknown } | null)?.sessions;
  if (!Array.isArray(list)) {
    return [];
  }
  return list.flatMap((session: { id?: unknown; name?: unknown; warnings?: unknown } | null) => {
    if (typeof session?.id !== 'string' || !Array.isArray(session.warnings)) {
      return [];
    }
    const { id } = session;
    const name = typeof session.name === 'string' ? session.name : id;
    return session.warnings.flatMap((warning: { code?: unknown; seconds?: unknown } | null) =>
      typeof warning?.code === 'string' && typeof warning.seconds === 'number'
        ? [{ id, name, code: warning.code, seconds: warning.seconds }]
        : []
    );
  });
}

/** Those not shown yet. `shown` remembers, and forgets what no longer holds: announced again, it is new. */
export function fresh(announced: readonly Announced[], shown: Set<string>): Announced[] {
  const key = (one: Announced): string => `${one.code} ${one.id}`;
  const found = announced.filter(one => !shown.has(key(one)));
  shown.clear();
  announced.forEach(one => shown.add(key(one)));
  return found;
}

/** For a person. */
export function sentence(one: Announced): string {
  const minutes = Math.max(1, Math.round(one.seconds / 60));
  const span = minutes < 120 ? `${minutes} minute${minutes === 1 ? '' : 's'}` : `${Math.round(minutes / 60)} hours`;
  const why = one.code === 'max_age' ? 'it reaches its maximum age' : 'nobody has used it for long';
  return `Terminal session ${one.name} ends in ${span}: ${why}.`;
}
