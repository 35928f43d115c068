/** The one client of a workspace that every page uses: `pth.v1`, the sessions' API, lock and presence. */

export { announcedIn, fresh, sentence, type Announced } from './announced.js';
export {
  readSession,
  WorkspaceApi,
  xsrfCookie,
  type ApiOptions,
  type Creation,
  type NewSession,
  type Session,
  type SessionExit,
  type SessionWarning
} from './api.js';
export { listen } from './beacon.js';
export { afterClose, Code, LIMITS, ProtocolError, SUBPROTOCOL, type Limits } from './codes.js';
export { Connection } from './connection.js';
export { readElsewhere, type OtherSession, type OtherWorkspace } from './elsewhere.js';
export { ApiError, errorOf, type ErrorKind } from './errors.js';
export type { DropReason, Event, State, StateName } from './events.js';
export type { Sink } from './feeder.js';
export type { Exit, Mode, Notice, Refusal } from './messages.js';
export type { Own } from './output.js';
export { Judge, Throttle } from './presence.js';
export { describe, exitText, type Condition } from './sentences.js';
export { CLOSED_BY_LOCK, LOCKED, readStatus, type Status } from './status.js';
export { ClientStream, type StreamOptions } from './stream.js';
export type { Socket, Surroundings } from './surroundings.js';
export {
  newClient,
  socketUrl,
  TerminalStream,
  type Fetched,
  type TerminalEvents,
  type TerminalOptions,
  type TerminalState
} from './terminal.js';
export { Watch, type Told } from './watch.js';
export { droppedText, kindOf, lossText, nameProblem, span, stateText, type Kind } from './words.js';
export { XtermAdapter, type Typist, type XtermLike } from './xterm.js';
