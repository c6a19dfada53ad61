/** `npm run bench -- NAME`: prints a figure of ours, beside a peer's where there is one. */
import { exitOnSignals } from '../scripts/leash.ts';

const benches: Readonly<Record<string, () => Promise<{ run(args: readonly string[]): Promise<void> }>>> = {
  audit: () => import('./audit.ts'),
  broker: () => import('./broker.ts'),
  'end-to-end': () => import('./end-to-end.ts'),
  ingest: () => import('./ingest.ts'),
  pages: () => import('./pages.ts'),
  pki: () => import('./pki.ts'),
  queries: () => import('./queries.ts'),
  seal: () => import('./seal.ts'),
};

const [name = '', ...args] = process.argv.slice(2);
const load = benches[name];
exitOnSignals();
if (load) {
  await (await load()).run(args);
} else {
  console.error(`usage: npm run bench -- NAME\nNAME is one of: ${Object.keys(benches).join(', ')}`);
  process.exitCode = 2;
}
