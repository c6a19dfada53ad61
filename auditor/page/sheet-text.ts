/** A data sheet as a file: Markdown, or HTML that prints. */
import type { DataSheet, SheetSection, SheetTable } from '../../domain/audit-device-view.ts';

export function sheetMarkdown({ title, madeMs, sections }: DataSheet): string {
  const parts = sections.flatMap(({ title: heading, articles, paragraphs, table }) => [
    `## ${markdown(heading)}`,
    `_Regulation (EU) 2023/2854, ${markdown(articles)}_`,
    ...paragraphs.map(markdown),
    ...(table === undefined ? [] : [markdownTable(table)]),
  ]);
  return `${[`# ${markdown(title)}`, `Made ${timeText(madeMs)}.`, ...parts].join('\n\n')}\n`;
}

function markdownTable({ columns, rows }: SheetTable): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(markdown).join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

/** So that no text is markup: ASCII punctuation may be escaped anywhere (CommonMark §2.4), and a line end would end a cell. */
function markdown(text: string): string {
  return text.replaceAll(/[\r\n]+/g, ' ').replaceAll(/[\\`*_{}[\]<>#|~&]/g, '\\$&');
}

const style = `
body { font: 11pt/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #18222d; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-bottom: 0 }
.articles { color: #566472; font-size: 0.85rem; margin-top: 0 }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem }
th, td { border: 1px solid #c8d0d8; padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid } tr { break-inside: avoid } }
`;

export function sheetHtml({ title, madeMs, sections }: DataSheet): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p>Made ${escaped(timeText(madeMs))}.</p>
${sections.map(sectionHtml).join('\n')}
</body>
</html>
`;
}

function sectionHtml({ title, articles, paragraphs, table }: SheetSection): string {
  return `<section>
<h2>${escaped(title)}</h2>
<p class="articles">Regulation (EU) 2023/2854, ${escaped(articles)}</p>
${paragraphs.map((text) => `<p>${escaped(text)}</p>`).join('\n')}
${table === undefined ? '' : tableHtml(table)}
</section>`;
}

function tableHtml({ columns, rows }: SheetTable): string {
  const line = (tag: 'th' | 'td', cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>
<thead>${line('th', columns)}</thead>
<tbody>
${rows.map((row) => line('td', row)).join('\n')}
</tbody>
</table>`;
}

/** Whatever a device or a policy says is text (HTML §13.1.2). */
function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
