/** The keys of the page. */

import type { ReactElement } from 'react';

import { Modal } from './Modal.js';
import { keysText, OTHERS, SHORTCUTS } from './shortcuts.js';

export function HelpDialog({ onClose }: { readonly onClose: () => void }): ReactElement {
  return (
    <Modal title="Keys of this page" onClose={onClose} wide>
      <table className="shortcuts" tabIndex={-1} data-autofocus>
        <tbody>
          {SHORTCUTS.map(shortcut => (
            <tr key={shortcut.action}>
              <th scope="row">
                <kbd>{keysText(shortcut)}</kbd>
              </th>
              <td>{shortcut.does}</td>
            </tr>
          ))}
          {OTHERS.map(([keys, does]) => (
            <tr key={keys}>
              <th scope="row">
                <kbd>{keys}</kbd>
              </th>
              <td>{does}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="buttons">
        <button type="button" className="first" onClick={onClose}>
          Close
        </button>
      </p>
    </Modal>
  );
}
