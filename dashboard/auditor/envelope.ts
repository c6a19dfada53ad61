/** One envelope three times: as whoever carries it sees it, as its structure, and opened. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { EnvelopeView } from '../../domain/audit-view.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { formatCount, formatQuantity } from '../format.ts';

const octetsPerLine = 16;

/** @param asked - channels that stand first and are marked */
export function envelopeView(
  { bytes, hex, structure, readings, fault }: EnvelopeView,
  asked: readonly string[],
): TemplateResult {
  const shownBytes = hex.length / 2;
  return html`<details open>
      <summary>Opened${readings === undefined ? '' : `: ${formatCount(readings.length)} values`}</summary>
      ${fault === undefined ? nothing : html`<p class="fault">${fault}</p>`}
      ${readings === undefined ? nothing : readingTable(readings, asked)}
    </details>
    <details>
      <summary>Structure</summary>
      <table class="dense">
        <tbody>
          ${structure.map(
            ([name, text]) =>
              html`<tr>
                <th scope="row">${name}</th>
                <td class="wrap"><code>${text}</code></td>
              </tr>`,
          )}
        </tbody>
      </table>
    </details>
    <details>
      <summary>As the DMZ sees it: ${formatCount(bytes)} octets</summary>
      <pre class="octets" tabindex="0" aria-label="Octets">${linesOf(hex)}</pre>
      ${shownBytes < bytes ? html`<p class="quiet">and ${formatCount(bytes - shownBytes)} more</p>` : nothing}
    </details>`;
}

function readingTable(readings: readonly Reading[], asked: readonly string[]): TemplateResult {
  const isAsked = ({ channel }: Reading): boolean => asked.includes(channel);
  const first = readings.filter(isAsked);
  const rest = readings.filter((reading) => !isAsked(reading));
  return html`<table class="dense">
    <tbody>
      ${[...first, ...rest].map(
        ({ channel, value, unit }, index) =>
          html`<tr>
            <th scope="row">
              ${channel}
              ${index < first.length ? html`<span class="mark overdue">asked about</span>` : nothing}
            </th>
            <td class="number">${formatQuantity(value, unit ?? null)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** @returns for example `00000010  30 82 …` */
function linesOf(hex: string): string {
  const octets = hex.match(/../g) ?? [];
  const lines: string[] = [];
  for (let at = 0; at < octets.length; at += octetsPerLine) {
    const place = at.toString(16).padStart(8, '0');
    lines.push(`${place}  ${octets.slice(at, at + octetsPerLine).join(' ')}`);
  }
  return lines.join('\n');
}
