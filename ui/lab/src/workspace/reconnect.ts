/** After a lock or a cut: what was closed is opened again at once, where JupyterLab would wait or has given up. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog } from '@jupyterlab/apputils';
import type { Kernel } from '@jupyterlab/services';

/** Milliseconds for JupyterLab's own attempts, which the requests that waited set going. */
const OWN_ATTEMPTS = 1_500;

interface WithKernel {
  readonly sessionContext?: { readonly session?: { readonly kernel?: Kernel.IKernelConnection | null } | null };
}

/** Kernels of notebooks, consoles and whatever else has one; each once. */
function kernelsOf(app: JupyterFrontEnd): Set<Kernel.IKernelConnection> {
  const found = new Set<Kernel.IKernelConnection>();
  for (const area of ['main', 'left', 'right', 'down']) {
    for (const widget of app.shell.widgets(area)) {
      for (const owner of [widget as WithKernel, (widget as { content?: WithKernel }).content]) {
        const kernel = owner?.sessionContext?.session?.kernel;
        if (kernel && !kernel.isDisposed) {
          found.add(kernel);
        }
      }
    }
  }
  return found;
}

/** Reconnect kernels, and refresh what JupyterLab knows of what runs. Terminals come back by themselves. */
export async function reconnect(app: JupyterFrontEnd): Promise<void> {
  const quietly = (work: Promise<unknown>): void =>
    void work.catch(error => console.warn('A connection is not back yet:', error));

  const { kernels, sessions, terminals } = app.serviceManager;
  for (const manager of [kernels, sessions, terminals]) {
    quietly(manager.refreshRunning());
  }
  await new Promise(resolve => window.setTimeout(resolve, OWN_ATTEMPTS));
  for (const kernel of kernelsOf(app)) {
    if (kernel.connectionStatus !== 'connected') {
      quietly(kernel.reconnect());
    }
  }
}

/** Dialogs that came up while the page was covered: they tell of errors that are over. */
export class Leftovers {
  private readonly before = new Set<Dialog<unknown>>();

  /** The cover comes. */
  remember(): void {
    this.before.clear();
    Dialog.tracker.forEach(dialog => void this.before.add(dialog));
  }

  /** The cover goes. */
  close(): void {
    Dialog.tracker.forEach(dialog => {
      if (!this.before.has(dialog)) {
        dialog.reject();
      }
    });
    this.before.clear();
  }
}
