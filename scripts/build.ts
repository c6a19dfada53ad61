/** `npm run build`: compiles the programs to dist/ for the published package and copies what is not TypeScript. */
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const dist = path.join(root, 'dist');
/** Folders with files that programs read at run time beside their own modules. */
const assetFolders = ['bpm', 'broker', 'cms', 'dashboard', 'auditor'];

rmSync(dist, { recursive: true, force: true });
const compiler = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);

for (const folder of assetFolders) {
  const names = readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' });
  const shipped = names.filter((candidate) => !candidate.includes(`assembly${path.sep}`));
  for (const name of shipped.filter((candidate) =>
    /\.(bpmn|yaml|html|css|svg|json|wasm|java)$/.test(candidate),
  )) {
    cpSync(path.join(root, folder, name), path.join(dist, folder, name));
  }
}
