/** The ledger: its state, who has signed for it, its verification, and the alarms in it. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { AlarmItem, LedgerCheckState, LedgerFinding, LedgerState } from '../../domain/audit-view.ts';
import { formatAgo, formatBytes, formatCount, formatDateTime } from '../format.ts';
import { heading, stateMark } from '../marks.ts';
import type { App, Page } from '../page.ts';
import { atMostEvery } from '../page.ts';
import { table } from '../table.ts';
import { auditor } from './api.ts';

const reloadMs = 500;

const modeTexts = {
  observe: 'observe: it looks on',
  enforce: 'enforce: nothing leaves unreleased',
} as const;

export function createLedgerPage(app: App): Page {
  let ledger: LedgerState | undefined;
  let alarms: readonly AlarmItem[] = [];
  const load = async (): Promise<void> => {
    const before = ledger?.alarms;
    ledger = await auditor.ledger();
    if (ledger.alarms !== before) alarms = await auditor.alarms();
    app.refresh();
  };
  const reload = atMostEvery(reloadMs, () => app.attempt(load));
  const verify = (): void => app.attempt(() => auditor.verify());
  return {
    title: 'Ledger',
    load,
    changed: reload,
    stop: () => reload.cancel(),
    view: () => {
      const isRunning = ledger?.verification.state === 'running';
      const button = html`<button class="primary" ?disabled=${isRunning} @click=${verify}>Verify</button>`;
      return html`${heading('Ledger', 'What is written here cannot be changed without anybody noticing.', button)}
      ${ledger === undefined ? nothing : html`${stateOf(ledger)} ${verificationOf(ledger.verification)}`}
      ${alarms.length === 0 ? nothing : alarmTable(alarms)}`;
    },
  };
}

function stateOf(ledger: LedgerState): TemplateResult {
  const { signed, countersigned, leaves } = ledger;
  return html`<section class="card">
    <h2>${ledger.scope}</h2>
    <div class="facts">
      ${fact('Mode', modeTexts[ledger.mode])}
      ${fact('Broker', ledger.isConnected ? 'connected' : 'not connected')}
      ${fact('Entries about envelopes', `${formatCount(ledger.entries)}, ${formatBytes(ledger.bytes)}`)}
      ${fact('Alarms', formatCount(ledger.alarms))} ${fact('Entries in all', formatCount(leaves))}
      ${fact(
        'Signed',
        signed === undefined
          ? 'not since the start'
          : `${formatCount(signed.size)} entries, ${formatDateTime(signed.timeMs)}`,
      )}
      ${fact(
        'Countersigned by the vendor',
        countersigned === 0 ? 'nothing yet' : `up to entry ${formatCount(countersigned - 1)}`,
      )}
      <div class="wide"><span>Root</span><code>${ledger.root}</code></div>
      <div class="wide"><span>Origin</span><code>${ledger.origin}</code></div>
    </div>
  </section>`;
}

function fact(name: string, text: string): TemplateResult {
  return html`<div><span>${name}</span><span>${text}</span></div>`;
}

function verificationOf(verification: LedgerCheckState): TemplateResult {
  return html`<section class="card" role="status">
    <h2>Verification</h2>
    ${verificationText(verification)}
  </section>`;
}

function verificationText(verification: LedgerCheckState): TemplateResult {
  if (verification.state === 'never') return html`<p>Not since the start of the auditor.</p>`;
  if (verification.state === 'failed')
    return html`<p>${stateMark('failed', 'bad')} ${verification.reason}</p>`;
  if (verification.state === 'running') {
    const percent = Math.floor(verification.share * 100);
    return html`<p>${stateMark('running', 'busy')} ${percent} %, asked for by ${verification.by}</p>
      <progress max="100" value=${percent} aria-label="Verified"></progress>`;
  }
  const { finding, atMs, by } = verification;
  const mark =
    finding.fault === undefined ? stateMark('as it was written', 'good') : stateMark('not right', 'bad');
  return html`<p>${mark} ${formatAgo(atMs)}, asked for by ${by}</p>
    ${findingOf(finding)}`;
}

function findingOf(finding: LedgerFinding): TemplateResult {
  const { fault, gaps, gapCount, forks, forkCount, signers } = finding;
  return html`${
      fault === undefined
        ? nothing
        : html`<p class="fault">
            From entry ${formatCount(fault.leaf)} on (${fault.reason}): ${fault.detail}
          </p>`
    }
    <p>
      ${formatCount(finding.passages)} envelopes in ${formatCount(finding.leaves)}
      entries;${
        signers.length === 0
          ? ' no head is signed yet'
          : ` ${formatCount(finding.signedSize)} signed by ${signers.map(({ commonName }) => commonName).join(' and ')}`
      }${
        finding.comparedSize === 0
          ? ''
          : `; the vendor's head of ${formatCount(finding.comparedSize)} entries was compared`
      }.
    </p>
    <p>
      ${gapCount === 0 ? 'No number of a device is missing.' : `Numbers are missing (${formatCount(gapCount)}):`}
    </p>
    <ul>
      ${gaps.map(
        ({ stream, from, to }) =>
          html`<li>
            <span class="path">${stream}</span> ${from === to ? `#${from}` : `#${from} to #${to}`}
          </li>`,
      )}
    </ul>
    <p>
      ${forkCount === 0 ? 'No number was used twice.' : `Numbers were used twice (${formatCount(forkCount)}):`}
    </p>
    <ul>
      ${forks.map(({ stream, sequence }) => html`<li><span class="path">${stream}</span> #${sequence}</li>`)}
    </ul>`;
}

function alarmTable(alarms: readonly AlarmItem[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Alarms</h2>
    ${table(
      [{ figure: 'Entry' }, 'Topic', { figure: 'Sequence' }, 'Reason', 'Detail', 'What became of it', 'When'],
      alarms.map(
        (alarm) =>
          html`<tr>
            <td class="number">${formatCount(alarm.number)}</td>
            <td class="path">${alarm.topic}</td>
            <td class="number">${alarm.sequence ?? '–'}</td>
            <td><span class="mark abnormal">${alarm.reason}</span></td>
            <td class="wrap">${alarm.detail}</td>
            <td>${alarm.outcome}</td>
            <td title=${formatDateTime(alarm.timeMs)}>${formatAgo(alarm.timeMs)}</td>
          </tr>`,
      ),
    )}
  </section>`;
}
