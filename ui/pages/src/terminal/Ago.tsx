/** How long ago, kept right. */

import { useEffect, useState, type ReactElement } from 'react';

import { span } from './words.js';

export function Ago({ since }: { readonly since: Date }): ReactElement {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  const seconds = Math.max(0, (now - since.getTime()) / 1000);
  return (
    <time dateTime={since.toISOString()} title={since.toLocaleString()} aria-live="off">
      {seconds < 1 ? 'just now' : `${span(seconds)} ago`}
    </time>
  );
}
