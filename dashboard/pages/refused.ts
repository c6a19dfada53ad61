/** What the backend refused, and what it found suspicious. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { Alarm, DeadLetter } from '../api.ts';
import { api } from '../api.ts';
import { formatAgo, formatCount, formatDateTime } from '../format.ts';
import { deviceLink, emptyList, heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { table } from '../table.ts';

const reloadMs = 3000;

export function createRefusedPage(app: App): Page {
  let alarms: readonly Alarm[] = [];
  let letters: readonly DeadLetter[] | undefined;
  const load = async (): Promise<void> => {
    [alarms, letters] = await Promise.all([api.alarms(), api.deadLetters()]);
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  return {
    title: 'Refused',
    load,
    changed: reload,
    stop: () => reload.cancel(),
    view: () =>
      html`${heading('Refused', 'Messages that could not be opened or trusted, and alarms. None of them is in the data.')}
      ${
        letters !== undefined && letters.length === 0 && alarms.length === 0
          ? emptyList(
              'Nothing was refused',
              'Every message so far was whole, sealed for us and signed by its device.',
            )
          : nothing
      }
      ${alarms.length === 0 ? nothing : alarmTable(alarms)}
      ${letters === undefined || letters.length === 0 ? nothing : letterTable(letters)}`,
  };
}

/** What each kind of alarm means, in words. */
export const alarmNames: Readonly<Record<string, string>> = {
  equivocation: 'Two different snapshots with one sequence number',
  chain_broken: 'The chain of snapshots does not fit together',
};

function alarmTable(alarms: readonly Alarm[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Alarms</h2>
    ${table(
      ['Device', 'What', { figure: 'Sequence' }, 'State', 'Since'],
      alarms.map(
        (alarm) =>
          html`<tr>
            <td>${deviceLink(alarm.path)}</td>
            <td class="wrap">${alarmNames[alarm.kind] ?? alarm.kind}</td>
            <td class="number">${formatCount(alarm.sequence)}</td>
            <td>${alarm.closedMs === null ? stateMark('open', 'bad') : stateMark('closed', 'quiet')}</td>
            <td title=${formatDateTime(alarm.openedMs)}>${formatAgo(alarm.openedMs)}</td>
          </tr>`,
      ),
    )}
  </section>`;
}

function letterTable(letters: readonly DeadLetter[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Dead letters</h2>
    ${table(
      ['Reason', 'Topic', 'Detail', 'When'],
      letters.map(
        (letter) =>
          html`<tr>
            <td><span class="mark abnormal">${letter.reason}</span></td>
            <td class="path">${letter.topic}</td>
            <td class="wrap">${letter.detail}</td>
            <td title=${formatDateTime(letter.receivedMs)}>${formatAgo(letter.receivedMs)}</td>
          </tr>`,
      ),
    )}
  </section>`;
}
