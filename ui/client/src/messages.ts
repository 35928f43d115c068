/**
 * Control messages of `pth.v1`: their types, and a strict and bounded decoder. Pure.
 *
 * Unknown fields are ignored, so that a newer side may say more; an unknown type or a field of a wrong type or
 * range is a `ProtocolError`. A field that is null counts as absent. `docs/reference/protocol.md` says what
 * each message means.
 */

import { Code, MAX_COLS, MAX_CONTROL, MAX_OFFSET, MAX_ROWS, ProtocolError, UnknownMessage } from './codes.js';

export type Mode = 'rw' | 'watch';

// From the client ---------------------------------------------------------------------------------

export interface Attach {
  readonly type: 'attach';
  /** 32 hexadecimal digits, kept across reconnects. */
  readonly client: string;
  readonly rows: number;
  readonly cols: number;
  /** Empty when the client has nothing of the stream. */
  readonly epoch: string;
  /** The next byte wanted. */
  readonly offset: number;
  /** The highest number of input that this client ever used. */
  readonly input_seq: number;
  readonly visible: boolean;
  readonly mode: Mode;
  readonly token?: string;
}
/** The emulator has parsed everything before `offset`. */
export interface Ack {
  readonly type: 'ack';
  readonly offset: number;
}
export interface Resize {
  readonly type: 'resize';
  readonly rows: number;
  readonly cols: number;
}
export interface Visible {
  readonly type: 'visible';
  readonly visible: boolean;
}
export interface Focus {
  readonly type: 'focus';
}
export interface Fetch {
  readonly type: 'fetch';
  readonly from: number;
  readonly to: number;
}

// Both ways ---------------------------------------------------------------------------------------

export interface Ping {
  readonly type: 'ping';
  readonly id: number;
}
export interface Pong {
  readonly type: 'pong';
  readonly id: number;
}
/** From the server an attach token to keep; from the client a proof on the live connection. */
export interface Token {
  readonly type: 'token';
  readonly token: string;
  readonly expires_in?: number;
}

// From the server ---------------------------------------------------------------------------------

export interface Attached {
  readonly type: 'attached';
  readonly epoch: string;
  readonly end: number;
  readonly input_ack: number;
  readonly answer_from: number;
  readonly responder: boolean;
  readonly rows: number;
  readonly cols: number;
  readonly resumed: boolean;
  readonly mode: Mode;
  /** Without it a reset and a keyframe come first. */
  readonly start?: number;
  readonly reason?: string;
}
export interface Reset {
  readonly type: 'reset';
  readonly reason: string;
}
export interface Keyframe {
  readonly type: 'keyframe';
  readonly offset: number;
  readonly size: number;
  readonly rows: number;
  readonly cols: number;
  /** Nothing that was printed before this offset is on its lines. */
  readonly begin?: number;
  /** So many bytes at its end are the output's own, those before `offset`. */
  readonly own?: number;
}
export interface InputAck {
  readonly type: 'input_ack';
  readonly seq: number;
}
export interface Size {
  readonly type: 'size';
  readonly rows: number;
  readonly cols: number;
  readonly offset: number;
}
export interface Responder {
  readonly type: 'responder';
  readonly responder: boolean;
  readonly from: number;
}
export interface Skipped {
  readonly type: 'skipped';
  readonly from: number;
  readonly to: number;
}
export interface Fetched {
  readonly type: 'fetched';
  readonly from: number;
  readonly to: number;
}
/** The session ended: an exit code, a signal, or a reason without a process. */
export interface Exit {
  readonly type: 'exit';
  readonly code?: number;
  readonly signal?: number;
  readonly reason?: string;
}
export interface Locked {
  readonly type: 'locked';
  readonly message: string;
}
export interface Unlocked {
  readonly type: 'unlocked';
}
/** Something was refused; the connection goes on. */
export interface Refusal {
  readonly type: 'error';
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}
export interface Renamed {
  readonly type: 'renamed';
  readonly name: string;
}
export interface Title {
  readonly type: 'title';
  readonly title: string;
}
/** Something a person should know, such as the end of a TTL. */
export interface Notice {
  readonly type: 'notice';
  readonly code: string;
  readonly message: string;
  readonly seconds?: number;
}

export type ClientMessage = Attach | Ack | Resize | Visible | Focus | Fetch | Ping | Pong | Token;
export type ServerMessage =
  | Attached
  | Reset
  | Keyframe
  | InputAck
  | Size
  | Responder
  | Skipped
  | Fetched
  | Exit
  | Locked
  | Unlocked
  | Refusal
  | Renamed
  | Title
  | Notice
  | Ping
  | Pong
  | Token;

// How each field is checked -----------------------------------------------------------------------

interface Rule {
  readonly check: (value: unknown) => boolean;
  readonly wants: string;
  /** Undefined: the field may be absent. `REQUIRED`: it must be there. Else: what it is when absent. */
  readonly absent: unknown;
}

const REQUIRED = Symbol('required');

function whole(low: number, high: number): Rule {
  return {
    check: value => Number.isInteger(value) && (value as number) >= low && (value as number) <= high,
    wants: `a whole number from ${low} to ${high}`,
    absent: REQUIRED
  };
}

/** Characters are code points, as everywhere in the protocol: a title may be 1000 pictures. */
function short(text: string, limit: number): boolean {
  return text.length <= limit || (text.length <= 2 * limit && Array.from(text).length <= limit);
}

function text(limit: number, pattern?: RegExp, wants = `a text of at most ${limit} characters`): Rule {
  return {
    check: value => typeof value === 'string' && short(value, limit) && (pattern?.test(value) ?? true),
    wants,
    absent: REQUIRED
  };
}

const or = (rule: Rule, absent: unknown): Rule => ({ ...rule, absent });

const OFFSET = whole(0, MAX_OFFSET);
const ROWS = whole(1, MAX_ROWS);
const COLS = whole(1, MAX_COLS);
const BOOL: Rule = { check: value => typeof value === 'boolean', wants: 'true or false', absent: REQUIRED };
const MODE: Rule = {
  check: value => value === 'rw' || value === 'watch',
  wants: 'one of rw, watch',
  absent: 'rw'
};
const EPOCH = text(32, /^[0-9a-f]{0,32}$/, 'at most 32 hexadecimal digits in lower case');
const WORD = text(64, /^[a-z0-9_.-]*$/, 'a short word in lower case');
const SENTENCE = text(2000);
const NAME = text(1000);
const TOKEN = text(8192);
const SECONDS: Rule = {
  check: value => typeof value === 'number' && value >= 0 && value <= 1e10,
  wants: 'a number of seconds',
  absent: undefined
};

type Rules = Readonly<Record<string, Rule>>;
const RANGE: Rules = { from: OFFSET, to: OFFSET };
const NUMBERED: Rules = { id: OFFSET };
const PROOF: Rules = { token: TOKEN, expires_in: SECONDS };

const FROM_CLIENT: ReadonlyMap<string, Rules> = new Map<string, Rules>([
  [
    'attach',
    {
      client: text(32, /^[0-9a-f]{32}$/, '32 hexadecimal digits in lower case'),
      rows: ROWS,
      cols: COLS,
      epoch: or(EPOCH, ''),
      offset: or(OFFSET, 0),
      input_seq: or(OFFSET, 0),
      visible: or(BOOL, true),
      mode: MODE,
      token: or(TOKEN, undefined)
    }
  ],
  ['ack', { offset: OFFSET }],
  ['resize', { rows: ROWS, cols: COLS }],
  ['visible', { visible: BOOL }],
  ['focus', {}],
  ['fetch', RANGE],
  ['ping', NUMBERED],
  ['pong', NUMBERED],
  ['token', PROOF]
]);

const FROM_SERVER: ReadonlyMap<string, Rules> = new Map<string, Rules>([
  [
    'attached',
    {
      epoch: EPOCH,
      end: OFFSET,
      input_ack: OFFSET,
      answer_from: OFFSET,
      responder: BOOL,
      rows: ROWS,
      cols: COLS,
      resumed: BOOL,
      mode: MODE,
      start: or(OFFSET, undefined),
      reason: or(WORD, undefined)
    }
  ],
  ['reset', { reason: WORD }],
  ['keyframe', { offset: OFFSET, size: whole(0, 2 ** 31), rows: ROWS, cols: COLS, begin: or(OFFSET, undefined), own: or(OFFSET, undefined) }],
  ['input_ack', { seq: OFFSET }],
  ['size', { rows: ROWS, cols: COLS, offset: OFFSET }],
  ['responder', { responder: BOOL, from: OFFSET }],
  ['skipped', RANGE],
  ['fetched', RANGE],
  [
    'exit',
    { code: or(whole(0, 255), undefined), signal: or(whole(1, 128), undefined), reason: or(WORD, undefined) }
  ],
  ['locked', { message: or(SENTENCE, '') }],
  ['unlocked', {}],
  ['error', { code: WORD, message: SENTENCE, hint: or(SENTENCE, '') }],
  ['renamed', { name: NAME }],
  ['title', { title: NAME }],
  ['notice', { code: WORD, message: SENTENCE, seconds: SECONDS }],
  ['ping', NUMBERED],
  ['pong', NUMBERED],
  ['token', PROOF]
]);

function decode(frame: string, known: ReadonlyMap<string, Rules>): Record<string, unknown> {
  if (!short(frame, MAX_CONTROL)) {
    throw new ProtocolError(`A control message may have at most ${MAX_CONTROL} characters.`, Code.tooLarge);
  }
  let raw: unknown;
  try {
    raw = JSON.parse(frame);
  } catch {
    raw = null;
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new ProtocolError('A text frame must be one JSON object.');
  }
  const fields = raw as Readonly<Record<string, unknown>>;
  const type = fields['type'];
  const rules = typeof type === 'string' ? known.get(type) : undefined;
  if (rules === undefined) {
    // What was sent is not repeated: it may be anything, and errors get logged.
    throw new UnknownMessage('A control message of a type that is not part of pth.v1 in this direction.');
  }
  const message: Record<string, unknown> = { type };
  for (const [name, rule] of Object.entries(rules)) {
    const value = fields[name] ?? null;
    if (value === null) {
      if (rule.absent === REQUIRED) {
        throw new ProtocolError(`${String(type)}: ${name} is missing; it must be ${rule.wants}.`);
      }
      if (rule.absent !== undefined) {
        message[name] = rule.absent;
      }
    } else if (rule.check(value)) {
      message[name] = value;
    } else {
      throw new ProtocolError(`${String(type)}: ${name} must be ${rule.wants}.`);
    }
  }
  return message;
}

/** A control message that a server sent; throws `ProtocolError`. */
export function decodeServer(frame: string): ServerMessage {
  return decode(frame, FROM_SERVER) as unknown as ServerMessage;
}

/** A control message that a client sent; throws `ProtocolError`. */
export function decodeClient(frame: string): ClientMessage {
  return decode(frame, FROM_CLIENT) as unknown as ClientMessage;
}

/** The text frame of a message; what is undefined is left out. */
export function encode(message: ClientMessage | ServerMessage): string {
  const frame = JSON.stringify(message);
  if (!short(frame, MAX_CONTROL)) {
    throw new RangeError(`a ${message.type} message of ${frame.length} characters would not be accepted`);
  }
  return frame;
}
