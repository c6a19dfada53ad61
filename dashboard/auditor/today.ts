/** What left today: how much, for whom, from which device, and which channels. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { Completeness, Departed, DepartedFor, DepartedFrom } from '../../domain/audit-view.ts';
import { formatAgo, formatBytes, formatCount, formatDateTime } from '../format.ts';
import { deviceLink, emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { table } from '../table.ts';
import { auditor } from './api.ts';
import { completenessCard, completenessTile, incompleteOf } from './completeness.ts';

const reloadMs = 1000;
const channelsShown = 12;

export function createTodayPage(app: App): Page {
  let today: Departed | undefined;
  let completeness: Completeness | undefined;
  const load = async (): Promise<void> => {
    [today, completeness] = await Promise.all([auditor.today(), auditor.completeness()]);
    app.refresh();
    if (!today.isComplete) reload();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Today',
    load,
    changed: (what) => what === 'entries' && reload(),
    stop: () => reload.cancel(),
    view: () =>
      html`${heading(
        'Today',
        today === undefined ? 'Loading…' : `What left the premises since ${formatDateTime(today.sinceMs)}.`,
      )}
      ${today === undefined || completeness === undefined ? nothing : contentOf(today, completeness)}`,
  };
}

function contentOf(today: Departed, completeness: Completeness): TemplateResult {
  const { envelopes, bytes, denied, held, alarms, recipients, devices } = today;
  return html`${today.isComplete ? nothing : html`<p class="quiet" role="status">Still counting…</p>`}
    <section class="tiles" aria-label="Sums">
      ${tile('Left', formatCount(envelopes), `${envelopes === 1 ? 'envelope' : 'envelopes'}, ${formatBytes(bytes)}`)}
      ${tile('Held', formatCount(held), 'since then, for a person to decide')}
      ${tile('Denied', formatCount(denied), 'stayed inside', denied > 0 ? 'overdue' : '')}
      ${tile('Alarms', formatCount(alarms), alarms === 0 ? 'nothing was wrong' : html`<a href="#/ledger">see Ledger</a>`, alarms > 0 ? 'abnormal' : '')}
      ${completenessTile(incompleteOf(completeness))}
    </section>
    ${completenessCard(completeness)}
    ${
      devices.length === 0
        ? emptyList('Nothing left today', 'Whatever a device sends from now on appears here.')
        : html`${recipientTable(recipients)} ${deviceTable(devices)}`
    }`;
}

function tile(name: string, value: string, detail: string | TemplateResult, tone = ''): TemplateResult {
  return html`<div class="tile ${tone}">
    <span>${name}</span><strong>${value}</strong><small>${detail}</small>
  </div>`;
}

function recipientTable(recipients: readonly DepartedFor[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Who can read it</h2>
    ${table(
      ['Recipient', { figure: 'Envelopes' }, { figure: 'Bytes' }],
      recipients.map(
        ({ name, isKnown, envelopes, bytes }) =>
          html`<tr>
            <td>${isKnown ? name : html`<code>${name}</code> ${stateMark('unknown', 'bad')}`}</td>
            <td class="number">${formatCount(envelopes)}</td>
            <td class="number">${formatBytes(bytes)}</td>
          </tr>`,
      ),
    )}
  </section>`;
}

function deviceTable(devices: readonly DepartedFrom[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">From which device</h2>
    ${table(
      [
        'Device',
        { figure: 'Envelopes' },
        { figure: 'Bytes' },
        { figure: 'Held' },
        { figure: 'Denied' },
        'Channels',
        'Last',
      ],
      devices.map(
        (device) =>
          html`<tr>
            <td>${deviceLink(device.device)}</td>
            <td class="number">${formatCount(device.envelopes)}</td>
            <td class="number">${formatBytes(device.bytes)}</td>
            <td class="number">${formatCount(device.held)}</td>
            <td class="number">${formatCount(device.denied)}</td>
            <td class="wrap">${channelsOf(device)}</td>
            <td title=${formatDateTime(device.lastMs)}>${formatAgo(device.lastMs)}</td>
          </tr>`,
      ),
    )}
  </section>`;
}

function channelsOf({ channels }: DepartedFrom): TemplateResult {
  const names = channels.map(({ name, envelopes }) => `${name} (${formatCount(envelopes)})`);
  if (names.length <= channelsShown) return html`${names.join(', ')}`;
  return html`<details>
    <summary>${formatCount(names.length)} channels</summary>
    ${names.join(', ')}
  </details>`;
}
