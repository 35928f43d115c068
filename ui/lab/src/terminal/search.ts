/** JupyterLab's search (Ctrl+F) in a terminal's scrollback. */

import { MainAreaWidget } from '@jupyterlab/apputils';
import { SearchProvider, type ISearchProvider } from '@jupyterlab/documentsearch';
import type { Widget } from '@lumino/widgets';

import { PersistentTerminal } from './widget.js';

type Shown = MainAreaWidget<PersistentTerminal>;

/** Each reads well under black and under white letters. */
const DECORATIONS = {
  matchBackground: '#8a6d00',
  matchOverviewRuler: '#8a6d00',
  activeMatchBackground: '#c4500a',
  activeMatchColorOverviewRuler: '#c4500a'
};

export class TerminalSearch extends SearchProvider<Shown> {
  readonly isReadOnly = true;
  private query: RegExp | null = null;
  private found: { readonly index: number; readonly count: number } | null = null;

  /** Called only with what is applicable. */
  static createNew(widget: Widget): ISearchProvider {
    return new TerminalSearch(widget as Shown);
  }

  static isApplicable(domain: Widget): domain is Shown {
    return domain instanceof MainAreaWidget && domain.content instanceof PersistentTerminal;
  }

  constructor(widget: Shown) {
    super(widget);
    this.widget.content.search?.onDidChangeResults(({ resultIndex, resultCount }) => {
      this.found = resultCount > 0 ? { index: resultIndex, count: resultCount } : null;
      this._stateChanged.emit();
    });
  }

  override get currentMatchIndex(): number | null {
    return this.found?.index ?? null;
  }

  override get matchesCount(): number | null {
    return this.found?.count ?? null;
  }

  override getInitialQuery(): string {
    return this.widget.content.getSelection() ?? '';
  }

  async startQuery(query: RegExp): Promise<void> {
    this.query = query;
    this.step('findNext');
  }

  async endQuery(): Promise<void> {
    this.query = null;
    await this.clearHighlight();
  }

  async clearHighlight(): Promise<void> {
    this.found = null;
    this.widget.content.search?.clearDecorations();
  }

  async highlightNext(): Promise<undefined> {
    this.step('findNext');
  }

  async highlightPrevious(): Promise<undefined> {
    this.step('findPrevious');
  }

  /** What was printed stays as it is. */
  async replaceCurrentMatch(): Promise<boolean> {
    return false;
  }

  async replaceAllMatches(): Promise<boolean> {
    return false;
  }

  private step(where: 'findNext' | 'findPrevious'): void {
    if (this.query) {
      const { source, flags } = this.query;
      const caseSensitive = !flags.includes('i');
      this.widget.content.search?.[where](source, { regex: true, caseSensitive, decorations: DECORATIONS });
    }
  }
}
