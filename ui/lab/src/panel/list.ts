/** What the side panel makes of a list of sessions. Pure. */

import { kindOf, stateText, type Session } from '@persistent-terminal-hub/client';

/** Those whose name has it. */
export function found<T extends { readonly name: string }>(list: readonly T[], wanted: string): readonly T[] {
  const part = wanted.trim().toLowerCase();
  return part === '' ? list : list.filter(({ name }) => name.toLowerCase().includes(part));
}

/** Running ones as they come; of the ended ones the newest first. */
export function linesOf(list: readonly Session[]): {
  readonly running: readonly Session[];
  readonly ended: readonly Session[];
} {
  const time = ({ created }: Session): number => created?.getTime() ?? 0;
  return {
    running: list.filter(({ state }) => state !== 'ended'),
    ended: list.filter(({ state }) => state === 'ended').sort((a, b) => time(b) - time(a))
  };
}

/** In words, what is worth telling: who came, went, began or finished. */
export function changesOf(before: readonly Session[] | null, now: readonly Session[] | null): string {
  if (before === null || now === null) {
    return '';
  }
  const known = new Map(before.map(one => [one.id, one]));
  const said = now.flatMap(one => {
    const was = known.get(one.id);
    known.delete(one.id);
    if (was === undefined) {
      return one.state === 'ended' ? [] : [`${one.name} was started.`];
    }
    return kindOf(was, false) === kindOf(one, false) ? [] : [`${one.name}: ${stateText(one)}.`];
  });
  return [...said, ...[...known.values()].map(({ name }) => `${name} is gone.`)].join(' ');
}
