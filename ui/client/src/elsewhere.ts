/** The owner's other workspaces, as the hub tells of them through this one. Pure. */

import { fieldsOf, list, text } from './fields.js';

export interface OtherSession {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  /** In words, such as `busy with python for 3 minutes`. */
  readonly text: string;
}
export interface OtherWorkspace {
  readonly name: string;
  readonly title: string;
  readonly url: string;
  readonly state: string;
  /** The state in words. */
  readonly badge: string;
  /** How many sessions there are; empty: it does not run. */
  readonly summary: string;
  readonly sessions: readonly OtherSession[];
}

const said = (value: unknown): string => text(value) ?? '';
/** Nothing but a web address becomes a link. */
const link = (value: unknown): string => (/^(?:\/(?!\/)|https?:\/\/)/.test(said(value)) ? said(value) : '');

/** From the answer; what is no workspace is left out. */
export function readElsewhere(body: unknown): OtherWorkspace[] {
  return list(fieldsOf(body)['workspaces'])
    .map(fieldsOf)
    .filter(({ url }) => link(url) !== '')
    .map(({ name, title, url, state, badge, summary, sessions }) => ({
      name: said(name),
      title: said(title),
      url: link(url),
      state: said(state),
      badge: said(badge),
      summary: said(summary),
      sessions: list(sessions)
        .map(fieldsOf)
        .map(({ id, name, state, text: words }) => ({ id: said(id), name: said(name), state: said(state), text: said(words) }))
    }));
}
