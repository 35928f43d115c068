/** What is set for terminals. Who set something for JupyterLab's own terminals before has it here, too. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITerminal } from '@jupyterlab/terminal';

export const TERMINAL = 'persistent-terminal-hub:terminal';
/** Whose place ours takes. */
const STOCK = '@jupyterlab/terminal-extension:plugin';

export type Options = Partial<ITerminal.IOptions>;
type Values = Readonly<Record<string, unknown>>;

/** What counts: the person's, else what they had set for the stock terminals, else the administrator's or ours. */
export function optionsOf(composite: Values, user: Values, stock: Values): Options {
  const known = Object.keys(ITerminal.defaultOptions);
  const all = { ...composite, ...stock, ...user };
  return Object.fromEntries(known.flatMap(key => (all[key] === undefined ? [] : [[key, all[key]]])));
}

export class TerminalSettings {
  /** As they are now. */
  options: Options = {};

  constructor(
    private readonly registry: ISettingRegistry,
    private readonly changed: () => void
  ) {}

  async load(): Promise<void> {
    const settings = await this.registry.load(TERMINAL);
    const stock = await this.registry.load(STOCK).then(
      found => found.user as Values,
      () => ({})
    );
    const read = (): void => {
      this.options = optionsOf(settings.composite as Values, settings.user as Values, stock);
      this.changed();
    };
    settings.changed.connect(read);
    read();
  }

  async set(key: keyof ITerminal.IOptions, value: string | number): Promise<void> {
    await this.registry.set(TERMINAL, key, value);
  }
}
