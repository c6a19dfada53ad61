/** The same rights for HiveMQ, which has no file for them: as an extension in Java that looks at the certificate. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { enrolmentPurpose } from '../../pki/extensions.ts';
import type { RoleTable } from './roles.ts';
import { everyoneReads } from './roles.ts';

const source = path.join(import.meta.dirname, 'hivemq', 'PlombeAccess.java');

/** @returns a Java class, whose first lines say how it is built and what else has to be set */
export function hivemqExtension(roles: RoleTable): string {
  const rows = [...roles].flatMap(([identity, role]) =>
    (['publish', 'subscribe'] as const).flatMap((action) =>
      role[action].map((filter) => `{${[identity, action, filter].map(javaString).join(', ')}},`),
    ),
  );
  return readFileSync(source, 'utf8')
    .replace('// the roles', () => lines(rows))
    .replace('// what everyone reads', () => lines(everyoneReads.map((filter) => `${javaString(filter)},`)))
    .replace('"the enrolment purpose"', () => javaString(enrolmentPurpose));
}

function lines(texts: readonly string[]): string {
  return texts.join(`\n${' '.repeat(8)}`);
}

/** A filter may hold anything but NUL. A `\u` counts before the text is a string, so it never stands for what ends one. */
function javaString(text: string): string {
  const escaped = Array.from({ length: text.length }, (_, index) => {
    const character = text.charAt(index);
    if (/[ !#-[\]-~]/.test(character)) return character;
    const code = text.charCodeAt(index);
    return code < 0x100
      ? `\\${code.toString(8).padStart(3, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`;
  });
  return `"${escaped.join('')}"`;
}
