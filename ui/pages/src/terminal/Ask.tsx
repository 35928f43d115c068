/** A question that the page asks before it does something. */

import type { ApiError } from '@persistent-terminal-hub/client';
import { useState, type FormEvent, type ReactElement, type ReactNode } from 'react';

import { Modal } from './Modal.js';

interface AskProps {
  readonly title: ReactNode;
  readonly does: string;
  readonly bad?: boolean;
  readonly problem?: string;
  /** It can be done at once: its button has the keyboard. */
  readonly ready?: boolean;
  readonly onClose: () => void;
  /** Null: done. */
  readonly work: () => Promise<ApiError | null>;
  readonly children: ReactNode;
}

/** A form that stays open, with the reason, while what it asks for cannot be done. */
export function Ask({ title, does, bad = false, problem = '', ready = false, onClose, work, children }: AskProps): ReactElement {
  const [failed, setFailed] = useState<ApiError | null>(null);
  const [doing, setDoing] = useState(false);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (problem !== '' || doing) {
      return;
    }
    setDoing(true);
    const error = await work();
    setDoing(false);
    setFailed(error);
    if (error === null) {
      onClose();
    }
  };
  return (
    <Modal title={title} onClose={onClose}>
      <form onSubmit={event => void submit(event)}>
        {children}
        <p className="problem" role="alert">
          {problem || (failed ? `${failed.message} ${failed.hint}` : '')}
        </p>
        <p className="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" data-autofocus={ready || undefined} className={bad ? 'first bad' : 'first'} disabled={doing || problem !== ''}>
            {doing ? 'One moment…' : does}
          </button>
        </p>
      </form>
    </Modal>
  );
}
