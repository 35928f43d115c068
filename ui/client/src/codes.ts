/** Names, close codes and bounds of `pth.v1`, and the one error that its decoders throw. Pure. */

export const SUBPROTOCOL = 'pth.v1';

/** Characters of one text frame. */
export const MAX_CONTROL = 16 * 1024;
/** Payload bytes of one input frame. */
export const MAX_INPUT = 64 * 1024;
/** Payload bytes of one frame from the server, whatever its kind. */
export const MAX_OUTPUT = 1024 * 1024;
/** What a number holds exactly: 8 PiB of output. */
export const MAX_OFFSET = Number.MAX_SAFE_INTEGER;
export const MAX_ROWS = 1000;
export const MAX_COLS = 2000;

/** Why a connection was closed; what a client does about it is `afterClose`. */
export const Code = {
  /** The client left on purpose. */
  normal: 1000,
  /** The line broke; a browser says so of a refused handshake, too. */
  broken: 1006,
  internal: 1011,
  /** The server stops, or the session's process was restarted. */
  reattach: 1012,
  tryLater: 1013,
  protocol: 4400,
  signIn: 4401,
  forbidden: 4403,
  noSession: 4404,
  /** Nothing was heard for too long. */
  timeout: 4408,
  /** A newer connection of the same client took its place. */
  takenOver: 4409,
  ended: 4410,
  tooLarge: 4413,
  locked: 4423,
  flood: 4429
} as const;

const REFUSED: ReadonlySet<number> = new Set<number>([
  Code.protocol,
  Code.signIn,
  Code.forbidden,
  Code.noSession,
  Code.takenOver,
  Code.tooLarge
]);

/** What a client does about a close code: everything that may pass by itself is tried again. */
export function afterClose(code: number): 'locked' | 'ended' | 'refused' | 'reconnecting' {
  if (code === Code.locked) {
    return 'locked';
  }
  if (code === Code.ended) {
    return 'ended';
  }
  return REFUSED.has(code) ? 'refused' : 'reconnecting';
}

/** The other side broke the protocol; `code` is what to close the connection with. */
export class ProtocolError extends Error {
  override readonly name: string = 'ProtocolError';

  constructor(
    message: string,
    readonly code: number = Code.protocol
  ) {
    super(message);
  }
}

/** A message of an unknown type: the other side may be newer, so a client ignores it. */
export class UnknownMessage extends ProtocolError {
  override readonly name = 'UnknownMessage';
}

/** Every number of the client's machine, in bytes and seconds; tests shrink them, nobody else should. */
export interface Limits {
  readonly heartbeat: number;
  readonly deadAfter: number;
  /** The answer to a ping that was sent to find out whether the line is alive. */
  readonly probe: number;
  /** Put into one input frame. */
  readonly inputFrame: number;
  /** Sent ahead of acknowledgements. */
  readonly inputWindow: number;
  /** Kept while it cannot be sent. */
  readonly inputKept: number;
  /** Acknowledged after this much, or after `ackSeconds`. */
  readonly ackBytes: number;
  readonly ackSeconds: number;
  readonly connectWithin: number;
  readonly retryFirst: number;
  /** The longest pause in the first `early` seconds of an outage: a server restarts. */
  readonly retryEarly: number;
  readonly retryLate: number;
  readonly early: number;
  /** A connection that lived this long starts the next outage from the first pause. */
  readonly stableAfter: number;
  readonly lockedRetry: number;
}

export const LIMITS: Limits = {
  heartbeat: 5,
  deadAfter: 20,
  probe: 3,
  inputFrame: 16 * 1024,
  inputWindow: 64 * 1024,
  inputKept: 4 * 1024 * 1024,
  ackBytes: 4 * 1024,
  ackSeconds: 0.02,
  connectWithin: 15,
  retryFirst: 0.1,
  retryEarly: 1,
  retryLate: 10,
  early: 20,
  stableAfter: 5,
  lockedRetry: 10
};
