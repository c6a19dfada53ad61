/** One envelope three times: as whoever carries it sees it, as its structure, and opened. */
import type { TemplateResult } from 'lit-html';
import { html, nothing } from 'lit-html';
import type { EnvelopeView } from '../../domain/audit-view.ts';
import type { Reading } from '../../domain/snapshot.ts';
import { formatCount, formatUnit, formatValue } from '../format.ts';

const octetsPerLine = 16;

export function envelopeView({ bytes, hex, structure, readings, fault }: EnvelopeView): TemplateResult {
  const shownBytes = hex.length / 2;
  return html`<details open>
      <summary>Opened${readings === undefined ? '' : `: ${formatCount(readings.length)} values`}</summary>
      ${fault === undefined ? nothing : html`<p class="fault">${fault}</p>`}
      ${readings === undefined ? nothing : readingTable(readings)}
    </details>
    <details>
      <summary>Structure</summary>
      <table>
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
      <pre class="octets">${linesOf(hex)}</pre>
      ${shownBytes < bytes ? html`<p class="quiet">and ${formatCount(bytes - shownBytes)} more</p>` : nothing}
    </details>`;
}

function readingTable(readings: readonly Reading[]): TemplateResult {
  return html`<table>
    <tbody>
      ${readings.map(
        ({ channel, value, unit }) =>
          html`<tr>
            <th scope="row">${channel}</th>
            <td class="number">${formatValue(value)} ${formatUnit(unit ?? null)}</td>
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
