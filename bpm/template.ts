/** Texts with placeholders, such as `{device} is abnormal`. A value is put in as it is, and is not read again. */
import type { Variables } from './expression.ts';

const placeholder = /\{([A-Za-z][A-Za-z0-9]*)\}/g;

/** @returns the names between braces */
export function placeholdersOf(text: string): string[] {
  return Array.from(text.matchAll(placeholder), (match) => match[1] ?? '');
}

/** A placeholder whose variable is not set becomes a dash. */
export function fillTemplate(text: string, variables: Variables): string {
  return text.replace(placeholder, (_, name: string) =>
    Object.hasOwn(variables, name) ? String(variables[name]) : '–',
  );
}
