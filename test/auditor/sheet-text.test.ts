import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import type { DataSheet } from '../../domain/audit-device-view.ts';
import { sheetHtml, sheetMarkdown } from '../../auditor/page/sheet-text.ts';

const naughty = JSON.parse(
  readFileSync(path.resolve(import.meta.dirname, '../../../shared/data/naughty_strings/blns.json'), 'utf8'),
) as string[];

const sheet: DataSheet = {
  title: 'Data sheet',
  madeMs: 0,
  sections: naughty.map((text) => ({
    title: text,
    articles: text,
    paragraphs: [text],
    table: { columns: [text], rows: [[text]] },
  })),
};

test('sheetHtml: whatever a device or a policy says is text', () => {
  const html = sheetHtml(sheet);
  const tags = new Set(Array.from(html.matchAll(/<[^>]*>/g), ([tag]) => tag.replace(/ .*/, '>')));
  const own = ['!doctype', 'html', 'head', 'meta', 'title', 'style', 'body', 'h1', 'h2', 'p', 'section'];
  const table = ['table', 'thead', 'tbody', 'tr', 'th', 'td'];
  const allowed = new Set([...own, ...table].flatMap((name) => [`<${name}>`, `</${name}>`]));
  assert.deepEqual(
    [...tags].filter((tag) => !allowed.has(tag)),
    [],
  );
  const cells = Array.from(html.matchAll(/<td>([^<]*)<\/td>/g), ([, cell = '']) =>
    cell.replaceAll(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code))),
  );
  assert.deepEqual(cells, naughty);
});

test('sheetMarkdown: no text ends a cell, a row or a paragraph, or becomes HTML', () => {
  const lines = sheetMarkdown(sheet).split('\n');
  const rows = lines.filter((line) => line.startsWith('| '));
  assert.equal(rows.length, 3 * naughty.length);
  for (const row of rows) assert.equal(row.match(/(?<!\\)\|/g)?.length, 2, row);
  for (const line of lines) assert.ok(!/(?<!\\)[<>&]/.test(line), line);
});
