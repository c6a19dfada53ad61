/** `npm run check`: types, lint, format, dead code, then the tests (floors among them). Stops at the first failure. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const bin = path.join(root, 'node_modules', '.bin');

const steps: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['types', path.join(bin, 'tsc'), '-p', 'tsconfig.json'],
  ['lint', path.join(bin, 'oxlint'), '--type-aware', '--deny-warnings'],
  ['format', path.join(bin, 'prettier'), '--check', '.'],
  ['dead code', path.join(bin, 'knip')],
  ['tests', process.execPath, path.join(root, 'scripts', 'test.ts')],
];

// The tools' own launchers begin with `#!/usr/bin/env node`: let them find the Node that runs this.
const env = {
  ...process.env,
  PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env['PATH'] ?? ''}`,
};
for (const [name, command, ...args] of steps) {
  console.log(`── ${name}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env });
  if (status !== 0) {
    console.error(`check: ${name} failed`);
    process.exit(1);
  }
}
