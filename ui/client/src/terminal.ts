/** One terminal session on a page: what it prints goes into a sink, what is typed goes to it, for ever. */

import { WorkspaceApi, type ApiOptions } from './api.js';
import { Code } from './codes.js';
import { Connection } from './connection.js';
import { Emitter } from './emitter.js';
import type { DropReason, Event } from './events.js';
import { Feeder, type Sink } from './feeder.js';
import type { Exit, Mode, Notice, Refusal } from './messages.js';
import type { Own } from './output.js';
import { describe, type Condition } from './sentences.js';
import { ClientStream } from './stream.js';
import { surroundings, type Surroundings } from './surroundings.js';

/** What an extension asks for when nobody says how long: a day. The server grants what the rules allow. */
const EXTEND = 24 * 3600;

export interface TerminalOptions {
  /** Of the workspace's server, such as `/user/ann/`; absolute outside a page. */
  readonly baseUrl: string;
  /** Id or name of the session; an id stays right when the session is renamed. */
  readonly session: string;
  /** 32 hexadecimal digits that name this client across reloads of its page; made anew by default. */
  readonly client?: string;
  readonly sink: Sink;
  readonly size: { readonly rows: number; readonly cols: number };
  readonly visible?: boolean;
  readonly mode?: Mode;
  /** An attach token; a page with a cookie needs none. */
  readonly token?: string;
  readonly api?: ApiOptions;
  readonly around?: Surroundings;
}

/** How it is, for a person. */
export interface TerminalState {
  readonly condition: Condition;
  /** Since when; `reconnecting`: since the line was lost. */
  readonly since: Date;
  /** The close code behind it, if there is one. */
  readonly code: number | undefined;
  readonly sentence: string;
  readonly hint: string;
}

export interface TerminalEvents {
  readonly state: TerminalState;
  /** The PTY has another size: the emulator is given it through the sink. */
  readonly size: { readonly rows: number; readonly cols: number };
  /** The screen starts anew; `reason` as in the protocol. */
  readonly cleared: string;
  /** These bytes were left out; `fetch` may get them. */
  readonly skipped: { readonly start: number; readonly stop: number };
  /** Input that is not delivered and never will be. */
  readonly dropped: { readonly size: number; readonly reason: DropReason };
  readonly ended: Exit;
  readonly title: string;
  readonly renamed: string;
  readonly notice: Notice;
  readonly refused: Refusal;
  /** This client's id has changed: another page had the same. */
  readonly client: string;
}

/** A new client id. */
export function newClient(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('');
}

/** Where a session's stream is. */
export function socketUrl(baseUrl: string, session: string): string {
  const here = typeof location === 'undefined' ? undefined : location.href;
  const base = new URL(baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`, here);
  const url = new URL(`persistent-terminals/ws/sessions/${encodeURIComponent(session)}`, base);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

interface Fetching {
  readonly parts: Uint8Array[];
  readonly done: (result: Fetched | null) => void;
}
export interface Fetched {
  readonly start: number;
  readonly data: Uint8Array;
}

export class TerminalStream extends Emitter<TerminalEvents> {
  readonly api: WorkspaceApi;
  private readonly stream: ClientStream;
  private readonly connection: Connection;
  private readonly feeder: Feeder;
  private readonly encoder = new TextEncoder();
  private fetching: Fetching | null = null;

  constructor(private readonly options: TerminalOptions) {
    super();
    const around = options.around ?? surroundings();
    this.api = new WorkspaceApi(options.baseUrl, options.api);
    this.stream = new ClientStream(options.client ?? newClient(), {
      ...options.size,
      random: around.random,
      mode: options.mode ?? 'rw',
      visible: options.visible ?? true,
      ...(options.token === undefined ? {} : { token: options.token })
    });
    const url = socketUrl(options.baseUrl, options.session);
    this.connection = new Connection(url, this.stream, event => this.handle(event), around);
    this.feeder = new Feeder(options.sink, (offset, generation) =>
      this.connection.do(this.stream.parsed(offset, generation, this.connection.now))
    );
  }

  // State -----------------------------------------------------------------------------------------

  get state(): TerminalState {
    const { name, code, message } = this.stream.state;
    return { ...describe(name, code, message), since: this.connection.since, code };
  }

  get client(): string {
    return this.stream.client;
  }

  /** What was granted: `rw`, or only to watch. */
  get mode(): Mode {
    return this.stream.mode;
  }

  /** The newest attach token: attaches also while the hub is away. */
  get token(): string | undefined {
    return this.stream.token;
  }

  /** Offset behind the last byte that arrived; null while no screen is whole. */
  get offset(): number | null {
    return this.stream.offset;
  }

  /** The process whose output is shown; empty before the first. An offset means something only with it. */
  get epoch(): string {
    return this.stream.epoch;
  }

  /** Offset behind what was printed before this client came, or came anew: what follows is news. */
  get known(): number | null {
    return this.stream.known;
  }

  /** Offset behind the last byte that there was when the server answered last: some of it may be on its way. */
  get end(): number | null {
    return this.stream.end;
  }

  /** Nothing that was printed before this offset was shown since the screen began anew; null: not known. */
  get begin(): number | null {
    return this.stream.begin;
  }

  /** What of the last keyframe is the output itself; null: nothing, or there was none. */
  get own(): Own | null {
    return this.stream.own;
  }

  /** Bytes that were typed and are not in the session yet. */
  get unsent(): number {
    return this.stream.input.kept;
  }

  // What the page does ----------------------------------------------------------------------------

  /** Attach. Listeners are added before. */
  open(): this {
    this.connection.start();
    return this;
  }

  /** Type this: exactly once, through every cut. What cannot be delivered is told by `dropped`. */
  input(data: string | Uint8Array): void {
    this.connection.do(this.stream.type(this.bytes(data)));
  }

  /** Whether the emulator is to answer a query that it is parsing at this moment. */
  get mayAnswer(): boolean {
    const { current } = this.feeder;
    return current !== null && this.stream.mayAnswer(current.offset, current.generation);
  }

  /** The emulator's own answer to a query that it is parsing at this moment; nobody typed it. */
  answer(data: string | Uint8Array): void {
    const { current } = this.feeder;
    if (current !== null) {
      this.connection.do(this.stream.answer(this.bytes(data), current.offset, current.generation));
    }
  }

  /** The window has this size: a wish. The emulator gets its size through the sink. */
  resize(rows: number, cols: number): void {
    this.connection.do(this.stream.resize(rows, cols));
  }

  /** The terminal got the keyboard. */
  focus(): void {
    this.connection.do(this.stream.focus());
  }

  /** Whether the terminal can be seen. */
  setVisible(visible: boolean): void {
    this.connection.do(this.stream.setVisible(visible));
  }

  /** Try at once: a person asked, or the reason of a refusal may be gone (a fresh login, an unlock). */
  retry(): void {
    const { name } = this.stream.state;
    if (name === 'idle' || name === 'refused') {
      this.connection.start();
    } else {
      this.connection.nudge();
    }
  }

  /** Let the session live longer; the seconds that were granted. */
  extend(seconds: number = EXTEND): Promise<number> {
    return this.api.extend(this.options.session, seconds);
  }

  /** Bytes of the journal beside the stream, at most 256 KiB; null when the line was cut meanwhile. */
  fetch(start: number, stop: number): Promise<Fetched | null> {
    if (this.fetching !== null || this.stream.state.name !== 'live') {
      return Promise.resolve(null);
    }
    return new Promise(resolve => {
      this.fetching = { parts: [], done: resolve };
      this.connection.do(this.stream.fetch(start, stop));
    });
  }

  /** Detach; the session goes on. */
  close(): void {
    this.connection.stop();
    this.fetched(null);
  }

  // What the machine says -------------------------------------------------------------------------

  private handle(event: Event): void {
    switch (event.event) {
      case 'clear_screen':
        this.feeder.take(event);
        this.emit('cleared', event.reason);
        break;
      case 'set_size':
        this.feeder.take(event);
        this.emit('size', { rows: event.rows, cols: event.cols });
        break;
      case 'output':
      case 'keyframe_part':
        this.feeder.take(event);
        break;
      case 'skipped_output':
        this.emit('skipped', { start: event.start, stop: event.stop });
        break;
      case 'fetched_output':
        this.fetching?.parts.push(event.data);
        break;
      case 'fetch_done':
        this.fetched(event.start);
        break;
      case 'input_dropped':
        this.emit('dropped', { size: event.size, reason: event.reason });
        break;
      case 'ended':
        this.emit('ended', event.exit);
        break;
      case 'told':
        this.told(event.message);
        break;
      case 'state_changed':
        this.changed(event.state.name === 'refused' && event.state.code === Code.takenOver);
        break;
      default:
    }
  }

  private told(message: Extract<Event, { event: 'told' }>['message']): void {
    switch (message.type) {
      case 'title':
        this.emit('title', message.title);
        break;
      case 'renamed':
        this.emit('renamed', message.name);
        break;
      case 'notice':
        this.emit('notice', message);
        break;
      case 'error':
        if (message.code === 'busy') {
          this.fetched(null);
        }
        this.emit('refused', message);
        break;
      default:
    }
  }

  private changed(takenOver: boolean): void {
    if (this.stream.state.name !== 'live') {
      this.fetched(null);
    }
    if (takenOver) {
      // A page was duplicated together with its client id, and both are used: this one gets another.
      this.stream.client = newClient();
      this.emit('client', this.stream.client);
      this.connection.start();
      return;
    }
    this.emit('state', this.state);
  }

  private fetched(start: number | null): void {
    const { fetching } = this;
    this.fetching = null;
    if (fetching === null) {
      return;
    }
    if (start === null) {
      fetching.done(null);
      return;
    }
    const data = new Uint8Array(fetching.parts.reduce((size, part) => size + part.length, 0));
    let at = 0;
    for (const part of fetching.parts) {
      data.set(part, at);
      at += part.length;
    }
    fetching.done({ start, data });
  }

  private bytes(data: string | Uint8Array): Uint8Array {
    return typeof data === 'string' ? this.encoder.encode(data) : data;
  }
}
