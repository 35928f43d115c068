/** What the page says about texts; what it says about sessions is every page's. Pure. */

export { droppedText, kindOf, lossText, nameProblem, span, stateText, type Kind } from '@persistent-terminal-hub/client';

/** Whether a person should look at a text before it is pasted: each line of it could run as a command. */
export function isRisky(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- what a terminal would act on
  return /[\r\n]/.test(text) || /[\u0000-\u0008\u000b-\u001f\u007f]/.test(text);
}

/** A text without what a terminal would act on besides line ends and tabs. */
export function harmless(text: string): string {
  // eslint-disable-next-line no-control-regex -- the same
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, '');
}

/** How many lines it has; an end of the last one is none. */
export function linesOf(text: string): number {
  return text.replace(/(?:\r\n|\r|\n)$/, '').split(/\r\n|\r|\n/).length;
}
