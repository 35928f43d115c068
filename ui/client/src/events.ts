/** What a client's stream asks its host to do, and what it tells it. */

import type { ClientMessage, Exit, Locked, Notice, Refusal, Renamed, Title, Token, Unlocked } from './messages.js';

export type StateName = 'idle' | 'connecting' | 'live' | 'reconnecting' | 'locked' | 'ended' | 'refused';
export type DropReason = 'restarted' | 'forgotten' | 'read_only' | 'full' | 'locked' | 'ended' | 'refused';

/** The honest state of the connection, and since when; `reconnecting` since the line was lost. */
export interface State {
  readonly name: StateName;
  /** Seconds of the host's clock. */
  readonly since: number;
  /** The close code behind `locked`, `ended`, `refused` and `reconnecting`. */
  readonly code?: number;
  readonly message: string;
}

/** Open a WebSocket with subprotocol pth.v1; call `opened` or `closed`. */
export interface Connect {
  readonly event: 'connect';
}
/** Close the WebSocket, and deliver nothing more of it, not even its close. */
export interface CloseSocket {
  readonly event: 'close_socket';
  readonly code: number;
}
export interface SendText {
  readonly event: 'send_text';
  readonly message: ClientMessage;
}
export interface SendBinary {
  readonly event: 'send_binary';
  readonly frame: Uint8Array<ArrayBuffer>;
}
export interface StateChanged {
  readonly event: 'state_changed';
  readonly state: State;
}
/** Reset the emulator: what follows does not continue what it shows. */
export interface ClearScreen {
  readonly event: 'clear_screen';
  readonly reason: string;
  readonly generation: number;
}
/** Give the emulator this size, in order between the outputs before and after. */
export interface SetSize {
  readonly event: 'set_size';
  readonly rows: number;
  readonly cols: number;
}
/**
 * Parse these bytes of the stream, then call `parsed(offset + data.length, generation, now)`.
 *
 * `mayAnswer(offset, generation)`, asked while parsing, says whether queries in it are to be answered; it is
 * the same for all bytes of one Output.
 */
export interface Output {
  readonly event: 'output';
  readonly offset: number;
  readonly data: Uint8Array;
  readonly generation: number;
}
/** Parse these bytes, answering nothing; after the last part call `parsed(offset, generation, now)`. */
export interface KeyframePart {
  readonly event: 'keyframe_part';
  readonly data: Uint8Array;
  readonly offset: number;
  readonly last: boolean;
  readonly generation: number;
}
/** These bytes of the stream will not come by themselves; `fetch` may still get them. */
export interface SkippedOutput {
  readonly event: 'skipped_output';
  readonly start: number;
  readonly stop: number;
}
export interface FetchedOutput {
  readonly event: 'fetched_output';
  readonly offset: number;
  readonly data: Uint8Array;
}
/** The answer to a fetch is complete; it held [start, stop), which may be less than was asked for. */
export interface FetchDone {
  readonly event: 'fetch_done';
  readonly start: number;
  readonly stop: number;
}
/** This much input was not and will not be delivered, and a person should know. */
export interface InputDropped {
  readonly event: 'input_dropped';
  readonly size: number;
  readonly reason: DropReason;
}
export interface Ended {
  readonly event: 'ended';
  readonly exit: Exit;
}
/** For the host to show or keep. */
export interface Told {
  readonly event: 'told';
  readonly message: Title | Renamed | Notice | Refusal | Locked | Unlocked | Token;
}

export type Event =
  | Connect
  | CloseSocket
  | SendText
  | SendBinary
  | StateChanged
  | ClearScreen
  | SetSize
  | Output
  | KeyframePart
  | SkippedOutput
  | FetchedOutput
  | FetchDone
  | InputDropped
  | Ended
  | Told;
