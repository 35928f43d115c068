// The settings as they took effect.

import { useEffect, useState, type ReactNode } from 'react';
import { ask, refusalIn, type Refusal } from './api';
import { Problem } from './bits';
import { matching } from './yaml';

export default function Settings(): ReactNode {
  const [text, setText] = useState<string | null>(null);
  const [query, setQuery] = useState('');
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const load = () => {
    setRefusal(null);
    ask<{ yaml: string }>('GET', 'admin/settings')
      .then(found => setText(found.yaml))
      .catch(error => setRefusal(refusalIn(error)));
  };
  useEffect(load, []);
  const shown = text === null ? [] : matching(text.split('\n'), query);
  return (
    <section className="page" aria-label="Settings">
      <div className="tools">
        <input
          className="field search"
          type="search"
          placeholder="Search settings"
          aria-label="Search settings"
          value={query}
          onChange={event => setQuery(event.target.value)}
        />
        <span className="soft">As they took effect when the service began; secrets are masked.</span>
      </div>
      {refusal && <Problem refusal={refusal} {...(refusal.status === 403 ? {} : { again: load })} />}
      {!refusal && text === null && <span className="skeleton block" />}
      {text !== null && (
        <pre className="settings" tabIndex={0} aria-label="Settings as YAML">
          {shown.length ? shown.join('\n') : 'Nothing matches.'}
        </pre>
      )}
    </section>
  );
}
