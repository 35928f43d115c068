/** What a person should know, at the edge of the page. */

import type { ReactElement } from 'react';

import type { Toast } from './store.js';
import type { Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly toasts: readonly Toast[];
}

export function Toasts({ workspace, toasts }: Props): ReactElement {
  return (
    <div className="toasts" role="log" aria-label="Messages">
      {toasts.map(toast => {
        const { offer } = toast;
        return (
          <div key={toast.id} className="toast" data-bad={toast.bad}>
            <p>{toast.text}</p>
            {offer && (
              <button
                type="button"
                onClick={() => {
                  workspace.dismiss(toast.id);
                  if (offer.what === 'extend') {
                    void workspace.extend(offer.session);
                  } else {
                    workspace.openId(offer.session);
                  }
                }}
              >
                {offer.what === 'extend' ? 'Extend' : 'Show'}
              </button>
            )}
            <button type="button" aria-label="Dismiss" onClick={() => workspace.dismiss(toast.id)}>
              ×
            </button>
          </div>
        );
      })}
    </div>
  );
}
