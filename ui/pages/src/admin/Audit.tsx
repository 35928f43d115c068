// The audit log: the newest first, by pages, with filters; and all of it as a file.

import { useEffect, useState, type FormEvent, type ReactNode } from 'react';
import { serviceBase } from '../common/place';
import { ask, query, refusalIn, type Refusal } from './api';
import { Badge, Name, Problem } from './bits';

interface Filter {
  readonly who: string;
  readonly what: string;
  readonly on: string;
  readonly result: string;
  readonly since: string;
  readonly until: string;
}
interface Entry {
  readonly number: number;
  readonly record: Readonly<Record<string, string | number | null>>;
}
interface Page {
  readonly records: readonly Entry[];
  readonly before: number | null;
}

const NONE: Filter = { who: '', what: '', on: '', result: '', since: '', until: '' };
const FIELDS: readonly [keyof Filter, string, string][] = [
  ['who', 'Who', 'user name'],
  ['what', 'What', 'lock, session.end…'],
  ['on', 'On', 'user/workspace'],
  ['result', 'Result', 'ok, refused…'],
  ['since', 'From', ''],
  ['until', 'Until', '']
];
/** Said in columns of their own. */
const TOLD = new Set(['at', 'who', 'what', 'on', 'result', 'id', 'number', 'previous', 'v']);
/** `datetime-local` has no zone: the reader's own is meant. */
const zoned = (text: string): string => (text ? new Date(text).toISOString() : '');
const fields = (filter: Filter) => ({ ...filter, since: zoned(filter.since), until: zoned(filter.until) });

export default function Audit(): ReactNode {
  const [draft, setDraft] = useState(NONE);
  const [filter, setFilter] = useState(NONE);
  const [entries, setEntries] = useState<readonly Entry[] | null>(null);
  const [before, setBefore] = useState<number | null>(null);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const [busy, setBusy] = useState(false);

  const load = (from: number | null, wanted: Filter) => {
    setBusy(true);
    setRefusal(null);
    ask<Page>('GET', `audit${query({ ...fields(wanted), before: from, limit: 100 })}`)
      .then(page => {
        setEntries(known => (from === null ? page.records : [...(known ?? []), ...page.records]));
        setBefore(page.before);
      })
      .catch(error => setRefusal(refusalIn(error)))
      .finally(() => setBusy(false));
  };
  useEffect(() => load(null, filter), [filter]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setFilter({ ...draft });
  };
  return (
    <section className="page" aria-label="Audit log">
      <form className="tools filters" onSubmit={submit}>
        {FIELDS.map(([name, title, hint]) => (
          <label key={name}>
            {title}
            <input
              className="field"
              type={hint ? 'text' : 'datetime-local'}
              placeholder={hint}
              value={draft[name]}
              onChange={event => setDraft({ ...draft, [name]: event.target.value })}
            />
          </label>
        ))}
        <button type="submit" className="button primary" disabled={busy}>
          Show
        </button>
        <a className="button" href={`${serviceBase()}api/audit${query({ ...fields(filter), format: 'jsonl' })}`} download>
          Export all that matches
        </a>
      </form>
      {refusal && <Problem refusal={refusal} again={() => load(null, filter)} />}
      <div className="scrolls" tabIndex={0} role="region" aria-label="Records">
        <table className="records">
          <thead>
            <tr>
              <th>Time</th>
              <th>Who</th>
              <th>What</th>
              <th>On</th>
              <th>Result</th>
              <th>More</th>
            </tr>
          </thead>
          <tbody>
            {entries === null && !refusal && (
              <tr>
                <td colSpan={6}>
                  <span className="skeleton block" />
                  <span className="hidden-text">Loading</span>
                </td>
              </tr>
            )}
            {entries?.length === 0 && (
              <tr>
                <td colSpan={6}>No record matches.</td>
              </tr>
            )}
            {entries?.map(({ number, record }) => (
              <tr key={number}>
                <td>
                  <time dateTime={String(record['at'])}>{new Date(String(record['at'])).toLocaleString()}</time>
                </td>
                <td>
                  <Name text={String(record['who'] ?? '')} />
                </td>
                <td>{record['what']}</td>
                <td>
                  <Name text={String(record['on'] ?? '')} />
                </td>
                <td>{record['result'] && <Badge state={String(record['result'])} />}</td>
                <td className="soft">
                  {Object.entries(record)
                    .filter(([name, value]) => !TOLD.has(name) && value !== '' && value !== null)
                    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
                    .join(' · ')}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {before !== null && (
        <button type="button" className="button" disabled={busy} onClick={() => load(before, filter)}>
          {busy ? 'One moment…' : 'Older records'}
        </button>
      )}
    </section>
  );
}
