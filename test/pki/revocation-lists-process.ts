/** Takes the bundles of a folder one after another, over and over, and says after each what it holds; to be killed. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { certificatesFromPem } from '../../pki/certificate.ts';
import { listsIn } from './lists.ts';

const [directory = '', bundles = '', root = ''] = process.argv.slice(2);
const { lists } = listsIn(directory, certificatesFromPem(readFileSync(root)));
for (const name of readdirSync(bundles).toSorted()) {
  if (lists.take(readFileSync(path.join(bundles, name)))) process.stdout.write(`${name}\n`);
}
process.stdout.write('end\n');
