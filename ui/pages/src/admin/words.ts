// Durations, sizes and lists as people read them. Pure.

/** Roughly: `12 s`, `5 min`, `3 h`, `4 days`. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) {
    return `${s} s`;
  }
  if (s < 90 * 60) {
    return `${Math.round(s / 60)} min`;
  }
  if (s < 36 * 3600) {
    return `${Math.round(s / 3600)} h`;
  }
  return `${Math.round(s / 86400)} days`;
}

export const MIB = 2 ** 20;

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${left >= 9.95 || unit === 0 ? Math.round(left) : left.toFixed(1)} ${units[unit]}`;
}

/** Seconds since 1970 of what the hub writes; null if it wrote nothing. */
export function moment(text: string | null): number | null {
  const at = text ? Date.parse(text) / 1000 : NaN;
  return Number.isNaN(at) ? null : at;
}

/** `one`, `one and two`, `one, two and 3 more`. */
export function listed(names: readonly string[], most = 8): string {
  const shown = names.slice(0, most).map(name => `“${name}”`);
  const rest = names.length - shown.length;
  const parts = rest > 0 ? [...shown, `${rest} more`] : shown;
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts[parts.length - 1]}`;
}

export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
