/** What waits for a person: Release, Deny, and a look into each envelope. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { EnvelopeView, HeldItem, HeldList } from '../../domain/audit-view.ts';
import { formatAgo, formatBytes, formatCount, formatDateTime } from '../format.ts';
import { emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { auditor } from './api.ts';
import { envelopeView } from './envelope.ts';

const reloadMs = 300;

interface State {
  list: HeldList | undefined;
  /** The one that is looked into. */
  shown: { readonly id: number; readonly view: EnvelopeView } | undefined;
  /** Those whose decision is on its way. */
  readonly busy: Set<number>;
}

export function createHeldPage(app: App): Page {
  const state: State = { list: undefined, shown: undefined, busy: new Set() };
  const load = async (): Promise<void> => {
    state.list = await auditor.held();
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  const decide = (id: number, outcome: 'released' | 'denied'): void => {
    state.busy.add(id);
    app.refresh();
    app.attempt(async () => {
      try {
        await auditor.decide(id, outcome);
      } finally {
        state.busy.delete(id);
        reload(); // also if somebody else was faster
      }
    });
  };
  const show = (id: number): void =>
    app.attempt(async () => {
      state.shown = state.shown?.id === id ? undefined : { id, view: await auditor.envelope(id) };
      app.refresh();
    });
  return {
    title: 'Held',
    load,
    changed: (what) => what === 'held' && reload(),
    stop: () => reload.cancel(),
    view: () =>
      html`${heading('Held', 'Envelopes that leave only if somebody says so. Those of a device leave in order.')}
      ${listOf(app, state, decide, show)}`,
  };
}

function listOf(
  app: App,
  { list, shown, busy }: State,
  decide: (id: number, outcome: 'released' | 'denied') => void,
  show: (id: number) => void,
): TemplateResult | typeof nothing {
  if (list === undefined) return nothing;
  if (list.mode === 'observe')
    return emptyList('This auditor only looks on', 'With mode: enforce it holds what the policy asks about.');
  if (list.held.length === 0)
    return emptyList(
      'Nothing waits',
      'What the policy asks about appears here as soon as a device sends it.',
    );
  const mayDecide = app.user.role === 'releaser';
  return html`<ul class="task-list wide">
      ${repeat(
        list.held,
        ({ id }) => id,
        (item) => {
          const view = shown?.id === item.id ? shown.view : undefined;
          return html`<li class="card task overdue">
            ${factsOf(item, list.atDeadline)}
            <div class="chips">
              ${mayDecide && item.decision === undefined ? decisionButtons(item, busy, decide) : nothing}
              <button
                class="plain"
                aria-label="${view === undefined ? 'Look inside' : 'Close'} ${nameOf(item)}"
                aria-expanded=${view === undefined ? 'false' : 'true'}
                @click=${() => show(item.id)}
              >
                ${view === undefined ? 'Look inside' : 'Close'}
              </button>
            </div>
            ${view === undefined ? nothing : envelopeView(view, item.asked)}
          </li>`;
        },
      )}
    </ul>
    ${
      list.total > list.held.length
        ? html`<p class="quiet">
            ${formatCount(list.total - list.held.length)} more come up as these are decided.
          </p>`
        : nothing
    }`;
}

function decisionButtons(
  item: HeldItem,
  busy: ReadonlySet<number>,
  decide: (id: number, outcome: 'released' | 'denied') => void,
): TemplateResult {
  const { id } = item;
  const what = nameOf(item);
  // The second click of a double click would meet the next envelope, which has moved up.
  const once = (outcome: 'released' | 'denied') => (event: MouseEvent) => {
    if (event.detail <= 1) decide(id, outcome);
  };
  const isBusy = busy.has(id);
  return html`<button
      class="primary"
      aria-label="Release ${what}"
      ?disabled=${isBusy}
      @click=${once('released')}
    >
      Release
    </button>
    <button class="plain" aria-label="Deny ${what}" ?disabled=${isBusy} @click=${once('denied')}>
      Deny
    </button>`;
}

function factsOf(item: HeldItem, atDeadline: HeldList['atDeadline']): TemplateResult {
  const { decision, asked, channels = [] } = item;
  const others = channels.filter((name) => !asked.includes(name));
  return html`<header>
      <h2 class="path">${item.device}${item.sequence === undefined ? '' : ` #${item.sequence}`}</h2>
      ${
        decision === undefined
          ? nothing
          : stateMark(`${decision.outcome} by ${decision.by}, waits for the one before`, 'busy')
      }
    </header>
    <div class="facts">
      ${fact('Sealed', formatDateTime(item.signingTimeMs ?? null))}
      ${fact('Size', `${formatBytes(item.bytes)}, ${channelText(item)}`)}
      ${fact('For', item.recipients.join(', '))}
      ${fact(
        `Otherwise ${atDeadline ?? 'denied'}`,
        `${formatAgo(item.deadlineMs)} (${formatDateTime(item.deadlineMs)})`,
      )}
      ${fact('Asked about', asked.length === 0 ? 'no policy speaks of it' : asked.join(', '))}
    </div>
    ${
      others.length === 0
        ? nothing
        : html`<details>
            <summary>Also in it: ${formatCount(others.length)} channels that it does not ask about</summary>
            <p class="quiet">${others.join(', ')}</p>
          </details>`
    }`;
}

function channelText({ channelCount = 0 }: HeldItem): string {
  return channelCount === 1 ? '1 channel' : `${formatCount(channelCount)} channels`;
}

function fact(name: string, text: string): TemplateResult {
  return html`<div><span>${name}</span><span>${text}</span></div>`;
}

function nameOf({ device, sequence }: HeldItem): string {
  return `${device} #${sequence ?? '?'}`;
}
