/** A table, which scrolls by itself where the page is too narrow for it. */
import type { TemplateResult } from 'lit-html';
import { html } from 'lit-html';

/** Its heading; of figures, which stand at the right. */
export type Column = string | TemplateResult | { readonly figure: string };

/** @param rows - a `<tr>` each, as lit-html takes them */
export function table(columns: readonly Column[], rows: unknown): TemplateResult {
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          ${columns.map((column) =>
            typeof column === 'object' && 'figure' in column
              ? html`<th scope="col" class="number">${column.figure}</th>`
              : html`<th scope="col">${column}</th>`,
          )}
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
  </div>`;
}
