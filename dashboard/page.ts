/** What a page is, and what it may ask of the application around it. */
import type { TemplateResult } from 'lit-html';
import type { User } from './http.ts';

export interface SnapshotEvent {
  readonly path: string;
  readonly sequence: number;
  readonly timeMs: number;
  /** How many snapshots of the device are stored now. */
  readonly stored: number;
}

/** @returns what was typed into a field of a form */
export function fieldText(form: HTMLFormElement, name: string): string {
  const value = new FormData(form).get(name);
  return typeof value === 'string' ? value : '';
}

/** For `ref`: lit calls it with an element when it comes, and with undefined when it goes. */
export function focusOnce(element: Element | undefined): void {
  if (element instanceof HTMLElement) element.focus();
}

export interface Page {
  readonly title: string;
  view(): TemplateResult;
  /** Loads what the page shows; called again when a connection came back. */
  load(): Promise<void>;
  snapshots?(events: readonly SnapshotEvent[]): void;
  changed?(what: string): void;
  stop?(): void;
}

export interface App {
  readonly user: User;
  /** Draws the page again, soon. */
  refresh(): void;
  /** Runs an action whose failure the user should see. */
  attempt(action: () => Promise<void>): void;
}

/** @returns `action`, run at once and then at most every `intervalMs`, however often it is asked for */
export function atMostEvery(intervalMs: number, action: () => void): { (): void; cancel(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let lastMs = -Infinity;
  const run = (): void => {
    timer = undefined;
    lastMs = performance.now();
    action();
  };
  const ask = (): void => {
    timer ??= setTimeout(run, Math.max(0, lastMs + intervalMs - performance.now()));
  };
  return Object.assign(ask, { cancel: () => clearTimeout(timer) });
}
