/**
 * A terminal as JupyterLab and its extensions know it, on our stream.
 *
 * Our widget takes the bytes themselves, so that it can say when its emulator has parsed them. Whoever else has a
 * connection hears the stock messages: they are parsed when they are told.
 */

import type { ServerConnection, Terminal } from '@jupyterlab/services';
import { Signal, type ISignal } from '@lumino/signaling';
import { droppedText, TerminalStream, type Exit, type Sink, type WorkspaceApi } from '@persistent-terminal-hub/client';

import { statusOf } from './told.js';

export interface Saying {
  /** As the protocol's notices have it, or `dropped`. */
  readonly code: string;
  readonly message: string;
}

/** What all connections of a page have in common. */
export interface Surrounding {
  readonly api: WorkspaceApi;
  readonly serverSettings: ServerConnection.ISettings;
  /** A connection was told that the workspace is locked. */
  locked(): void;
  /** The session has another name now. */
  renamed(): void;
  /** It was attached to, cut off, or has ended. */
  moved(): void;
  /** Something for the person: an announcement of the server's, or input that is lost. */
  say(saying: Saying): void;
}

const KEY = 'pth-client:';

/** The client id that this tab had for a session before it was loaded anew: what was typed is not typed twice. */
function remembered(session: string): string | undefined {
  try {
    return sessionStorage.getItem(KEY + session) ?? undefined;
  } catch {
    return undefined;
  }
}

function remember(session: string, client: string): void {
  try {
    sessionStorage.setItem(KEY + session, client);
  } catch {
    // then a page that is loaded anew is another client
  }
}

export class PersistentConnection implements Terminal.ITerminalConnection {
  readonly stream: TerminalStream;
  /** Set when it has ended while it was attached. */
  exit: Exit | null = null;
  private screen: Sink | null = null;
  private held = false;
  private opened = false;
  private ended = false;
  private gone = false;
  private status: Terminal.ConnectionStatus = 'connecting';
  private readonly decoder = new TextDecoder();
  private readonly signals = {
    disposed: new Signal<this, void>(this),
    messageReceived: new Signal<this, Terminal.IMessage>(this),
    connectionStatusChanged: new Signal<this, Terminal.ConnectionStatus>(this),
    renamed: new Signal<this, string>(this)
  };

  /** `id` is right also after a rename; without it the name counts. */
  constructor(
    private current: string,
    readonly id: string | null,
    private readonly around: Surrounding
  ) {
    const key = id ?? current;
    const client = remembered(key);
    this.stream = new TerminalStream({
      baseUrl: around.serverSettings.baseUrl,
      session: key,
      sink: {
        write: (data, parsed, offset) => this.write(data, parsed, offset),
        reset: () => (this.screen ? this.screen.reset() : this.tell('\x18\x1bc')),
        resize: (rows, cols) => this.screen?.resize?.(rows, cols)
      },
      size: { rows: 24, cols: 80 },
      visible: false,
      ...(client === undefined ? {} : { client })
    });
    remember(key, this.stream.client);
    this.listen(key);
    // Whoever shows it says so at once; for all others it begins by itself.
    window.setTimeout(() => {
      if (!this.held) {
        this.open();
      }
    });
  }

  // For our widget --------------------------------------------------------------------------------

  /** Do not attach before `open`. */
  hold(): void {
    this.held = true;
  }

  /** Attach. With a screen, the bytes go there. */
  open(screen: Sink | null = null): void {
    this.screen = screen ?? this.screen;
    if (!this.opened && !this.gone) {
      this.opened = true;
      this.stream.open();
    }
  }

  get renamed(): ISignal<this, string> {
    return this.signals.renamed;
  }

  /** Whether it was ended by this page, so that nobody needs to be told. */
  shutHere = false;

  // As JupyterLab wants it ------------------------------------------------------------------------

  get name(): string {
    return this.current;
  }

  get model(): Terminal.IModel {
    return { name: this.current };
  }

  get serverSettings(): ServerConnection.ISettings {
    return this.around.serverSettings;
  }

  get disposed(): ISignal<this, void> {
    return this.signals.disposed;
  }

  get messageReceived(): ISignal<this, Terminal.IMessage> {
    return this.signals.messageReceived;
  }

  get connectionStatusChanged(): ISignal<this, Terminal.ConnectionStatus> {
    return this.signals.connectionStatusChanged;
  }

  get connectionStatus(): Terminal.ConnectionStatus {
    return this.status;
  }

  get isDisposed(): boolean {
    return this.gone;
  }

  send(message: Terminal.IMessage): void {
    const [first, second] = message.content ?? [];
    if (message.type === 'stdin' && typeof first === 'string') {
      this.stream.input(first);
    } else if (message.type === 'set_size' && typeof first === 'number' && typeof second === 'number') {
      this.stream.setVisible(true); // somebody else's widget shows it
      this.stream.resize(first, second);
    }
  }

  /** Try at once. Resolves when it is attached, rejects when it cannot be. */
  reconnect(): Promise<void> {
    this.open();
    this.stream.retry();
    if (this.status === 'connected') {
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const look = (_: unknown, status: Terminal.ConnectionStatus): void => {
        if (status === 'connecting') {
          return;
        }
        this.signals.connectionStatusChanged.disconnect(look);
        if (status === 'connected') {
          resolve();
        } else {
          reject(new Error(this.stream.state.sentence));
        }
      };
      this.signals.connectionStatusChanged.connect(look);
    });
  }

  /** End the session with its programs. */
  async shutdown(): Promise<void> {
    this.shutHere = true;
    try {
      if (!this.ended) {
        await this.around.api.end(this.id ?? this.current);
      }
    } catch (error) {
      this.shutHere = false;
      throw error;
    }
    this.dispose();
  }

  /** Let go of it; the session goes on. */
  dispose(): void {
    if (!this.gone) {
      this.gone = true;
      this.signals.disposed.emit();
      this.stream.close();
      Signal.clearData(this);
    }
  }

  // From the stream -------------------------------------------------------------------------------

  private listen(key: string): void {
    const { stream } = this;
    stream.on('state', ({ condition }) => {
      if (condition === 'locked') {
        this.around.locked();
      }
      const status = statusOf(condition);
      if (status !== this.status) {
        this.status = status;
        this.around.moved();
        this.signals.connectionStatusChanged.emit(status);
      }
    });
    stream.on('ended', exit => {
      this.ended = true;
      this.exit = exit;
      this.signals.messageReceived.emit({ type: 'disconnect', content: [1] });
      if (this.shutHere) {
        this.dispose();
      }
    });
    stream.on('renamed', name => {
      this.current = name;
      this.signals.renamed.emit(name);
      this.around.renamed();
    });
    stream.on('notice', ({ code, message }) => this.around.say({ code, message }));
    stream.on('dropped', ({ size, reason }) =>
      this.around.say({ code: 'dropped', message: `${this.current}: ${droppedText(size, reason)}` })
    );
    stream.on('client', client => remember(key, client));
  }

  private write(data: Uint8Array, parsed: () => void, offset: number | null): void {
    this.tell(this.decoder.decode(data, { stream: true }));
    if (this.screen) {
      this.screen.write(data, parsed, offset);
    } else {
      parsed();
    }
  }

  private tell(text: string): void {
    this.signals.messageReceived.emit({ type: 'stdout', content: [text] });
  }
}
