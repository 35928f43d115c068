/** What a person should know, at the edge of the page. */

import type { ReactElement } from 'react';

import type { Toast, Workspace } from './workspace.js';

interface Props {
  readonly workspace: Workspace;
  readonly toasts: readonly Toast[];
}

export function Toasts({ workspace, toasts }: Props): ReactElement {
  return (
    <div className="toasts" role="log" aria-label="Messages">
      {toasts.map(toast => {
        const { extend } = toast;
        return (
          <div key={toast.id} className="toast" data-bad={toast.bad}>
            <p>{toast.text}</p>
            {extend !== undefined && (
              <button
                type="button"
                onClick={() => {
                  workspace.dismiss(toast.id);
                  void workspace.extend(extend);
                }}
              >
                Extend
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
