/** The cover of a locked page. What is behind it is neither painted nor read aloud. */

import type { Status } from '@persistent-terminal-hub/client';
import type { ReactElement } from 'react';

import type { Facts } from './facts.js';
import { Modal } from './Modal.js';

interface Props {
  readonly facts: Facts;
  readonly status: Status | null;
}

function newsOf(status: Status | null): string {
  if (status === null) {
    return 'The workspace does not answer. This page looks again by itself.';
  }
  if (status.lock === 'unknown') {
    return 'The workspace does not know at the moment whether it is locked, and stays closed. This page looks again by itself.';
  }
  return status.hubReachable === false
    ? 'The hub does not answer, and only a login there opens this workspace. It stays locked until then; this page looks again by itself.'
    : '';
}

export function Lock({ facts, status }: Props): ReactElement {
  const here = location.pathname + location.search;
  const login = `${facts.baseUrl}persistent-terminals/lock?next=${encodeURIComponent(here)}`;
  const since = status?.since ? new Date(status.since) : null;
  return (
    <Modal title="This workspace is locked" onClose={() => undefined}>
      <p>
        {since ? (
          <>
            Locked since <time dateTime={since.toISOString()}>{since.toLocaleString()}</time>.
          </>
        ) : (
          'It is locked.'
        )}{' '}
        {status?.reason}
      </p>
      <p>Your programs go on running, and what they print is kept. Nothing is shown and nothing can be typed until you log in again.</p>
      <p role="status">{newsOf(status)}</p>
      <p className="buttons">
        <a className="button" href={login}>
          Log in in this tab
        </a>
        <a className="button first" href={login} target="_blank" rel="noopener" data-autofocus>
          Log in again
        </a>
      </p>
    </Modal>
  );
}
