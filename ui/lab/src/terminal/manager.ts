/** JupyterLab's manager of terminals, whose connections are ours. */

import { TerminalManager, type ServerConnection, type Terminal } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';
import { WorkspaceApi, type Session } from '@persistent-terminal-hub/client';

import { PersistentConnection, type Saying, type Surrounding } from './connection.js';

/** The API of this page's own workspace. Its requests do not wait for a lock to open. */
export function apiOf(settings: ServerConnection.ISettings): WorkspaceApi {
  const { fetch, token } = settings;
  return new WorkspaceApi(settings.baseUrl, {
    fetch: (input, init) => fetch.call(null, input as RequestInfo, init),
    ...(token === '' ? {} : { headers: { Authorization: `token ${token}` } })
  });
}

export class PersistentTerminalManager extends TerminalManager {
  readonly api: WorkspaceApi;
  private readonly connections = new Set<PersistentConnection>();
  private readonly wasLocked = new Signal<this, void>(this);
  private readonly hasMoved = new Signal<this, void>(this);
  private readonly hasSaid = new Signal<this, Saying>(this);
  private readonly around: Surrounding;

  constructor(options: TerminalManager.IOptions) {
    super(options);
    this.api = apiOf(this.serverSettings);
    this.around = {
      api: this.api,
      serverSettings: this.serverSettings,
      locked: () => this.wasLocked.emit(),
      renamed: () => this.look(),
      moved: () => this.hasMoved.emit(),
      say: saying => this.hasSaid.emit(saying)
    };
  }

  /** A connection was told that the workspace is locked. */
  get locked(): ISignal<this, void> {
    return this.wasLocked;
  }

  /** A connection was made, cut, or has ended. */
  get moved(): ISignal<this, void> {
    return this.hasMoved;
  }

  /** What a person is to be told about a session. */
  get said(): ISignal<this, Saying> {
    return this.hasSaid;
  }

  /** To a session that is known: it is found again after a rename. */
  attach({ name, id }: Pick<Session, 'name' | 'id'>): PersistentConnection {
    return this.join(new PersistentConnection(name, id, this.around));
  }

  override connectTo({ model }: Pick<Terminal.ITerminalConnection.IOptions, 'model'>): PersistentConnection {
    return this.join(new PersistentConnection(model.name, null, this.around));
  }

  override async shutdown(name: string): Promise<void> {
    const shown = [...this.connections].filter(one => one.name === name);
    await this.endedHere(shown, () => super.shutdown(name));
  }

  override async shutdownAll(): Promise<void> {
    await this.endedHere([...this.connections], () => super.shutdownAll());
  }

  /** The workspace is open again, say: whatever waits tries at once. */
  retry(): void {
    this.connections.forEach(one => one.stream.retry());
    this.look();
  }

  /** What this page ends leaves it: nobody needs to be told. */
  private async endedHere(shown: readonly PersistentConnection[], end: () => Promise<void>): Promise<void> {
    shown.forEach(one => (one.shutHere = true));
    try {
      await end();
      shown.forEach(one => one.dispose());
    } catch (error) {
      shown.forEach(one => (one.shutHere = false));
      throw error;
    }
  }

  private join(connection: PersistentConnection): PersistentConnection {
    this.connections.add(connection);
    connection.disposed.connect(() => {
      this.connections.delete(connection);
      this.look();
    });
    this.look();
    return connection;
  }

  private look(): void {
    void this.refreshRunning().catch(() => undefined); // it looks again by itself
  }
}
