/** The tables of the device page. */
import type { TemplateResult } from 'lit-html';
import { html } from 'lit-html';
import type { LatestValue } from '../../domain/view.ts';
import type { CommandItem, Device } from '../api.ts';
import {
  channelTail,
  formatAgo,
  formatCount,
  formatDate,
  formatDateTime,
  formatUnit,
  formatValue,
} from '../format.ts';
import { stateMark } from '../marks.ts';
import { table } from '../table.ts';

/** @param choose - called with the channel that shall be charted */
export function valuesCard(
  latest: readonly LatestValue[],
  charted: string | undefined,
  choose: (channel: string) => void,
): TemplateResult {
  const groups = [...Map.groupBy(latest, ({ group }) => group)].toSorted(([a], [b]) => a.localeCompare(b));
  return html`<section class="card">
    <h2>Latest values <span class="quiet">${formatCount(latest.length)}</span></h2>
    <div class="value-groups">
      ${groups.map(
        ([group, values]) =>
          html`<section>
            <h3>${group}</h3>
            <ul>
              ${values.map(
                (reading) =>
                  html`<li>
                    ${
                      typeof reading.value === 'string'
                        ? html`<span class="name">${channelTail(reading.channel)}</span>`
                        : html`<button
                            class="name"
                            title="Chart ${reading.channel}"
                            aria-pressed=${reading.channel === charted}
                            @click=${() => choose(reading.channel)}
                          >
                            ${channelTail(reading.channel)}
                          </button>`
                    }
                    <span class="value" title=${formatDateTime(reading.timeMs)}
                      >${formatValue(reading.value)} <small>${formatUnit(reading.unit)}</small></span
                    >
                  </li>`,
              )}
            </ul>
          </section>`,
      )}
    </div>
  </section>`;
}

export function gapsCard(device: Device): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Gaps</h2>
    ${
      device.gaps.length === 0
        ? html`<p class="inset quiet">No snapshot is missing.</p>`
        : table(
            ['Missing', { figure: 'Snapshots' }, 'Noticed'],
            device.gaps.map(
              ({ fromSequence, toSequence, openedMs }) =>
                html`<tr>
                  <td>
                    ${formatCount(fromSequence)}${toSequence === fromSequence ? '' : ` to ${formatCount(toSequence)}`}
                  </td>
                  <td class="number">${formatCount(toSequence - fromSequence + 1)}</td>
                  <td title=${formatDateTime(openedMs)}>${formatAgo(openedMs)}</td>
                </tr>`,
            ),
          )
    }
  </section>`;
}

const certificateNames: Readonly<Record<string, string>> = {
  sig: 'Signature',
  enc: 'Key agreement',
  tls: 'Connection',
};

export function certificatesCard(device: Device): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Certificates</h2>
    ${
      device.certificates.length === 0
        ? html`<p class="inset quiet">None was published yet.</p>`
        : table(
            ['For', 'SHA-256', 'Valid until'],
            device.certificates.map(
              ({ kind, subject, sha256, notAfterMs }) =>
                html`<tr>
                  <td title=${subject}>${certificateNames[kind] ?? kind}</td>
                  <td><code title=${sha256}>${sha256.slice(0, 16)}…</code></td>
                  <td title=${formatDateTime(notAfterMs)}>${formatDate(notAfterMs)}</td>
                </tr>`,
            ),
          )
    }
  </section>`;
}

const commandTones: Readonly<Record<string, 'good' | 'bad' | 'busy' | 'quiet'>> = {
  done: 'good',
  refused: 'bad',
  expired: 'quiet',
  sent: 'busy',
  delivered: 'busy',
};

export function commandsCard(commands: readonly CommandItem[]): TemplateResult {
  return html`<section class="card flush">
    <h2 class="inset">Commands</h2>
    ${
      commands.length === 0
        ? html`<p class="inset quiet">None was sent yet.</p>`
        : table(
            ['Command', 'State', 'By', 'Sent', 'Result'],
            commands.map(
              ({ name, state, issuedBy, issuedMs, detail }) =>
                html`<tr>
                  <td>${name}</td>
                  <td>${stateMark(state, commandTones[state] ?? 'quiet')}</td>
                  <td>${issuedBy}</td>
                  <td title=${formatDateTime(issuedMs)}>${formatAgo(issuedMs)}</td>
                  <td class="wrap">${detail}</td>
                </tr>`,
            ),
          )
    }
  </section>`;
}
