/** In the status bar, for a moment: how the keyboard leaves a terminal. */

import type { IStatusBar } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import type { Tracker } from './opener.js';

/** Milliseconds. */
const SHOWN = 1_500;

export class Hint {
  private readonly changed = new Signal<this, void>(this);
  private timer = 0;

  constructor(statusBar: IStatusBar, tracker: Tracker, trans: TranslationBundle) {
    const item = new Widget();
    item.addClass('jp-StatusBar-TextItem');
    item.node.textContent = trans.__('Press Escape twice to leave terminal focus.');
    statusBar.registerStatusItem('persistent-terminal-hub:escape-hint', {
      item,
      align: 'middle',
      rank: 10,
      isActive: () => this.timer !== 0,
      activeStateChanged: this.changed
    });
    tracker.widgetAdded.connect((_, { content }) => {
      content.escapeHintRequested.connect(() => this.show());
    });
  }

  private show(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.changed.emit();
    }, SHOWN);
    this.changed.emit();
  }
}
