/** `npm run build:wasm`: compiles the WebAssembly of every curve into `cms/wasm/`. A test compares it with its source. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { curveNames } from '../../pki/certificate.ts';
import { compileCurve } from './compile.ts';

const folder = path.resolve(import.meta.dirname, '../../cms/wasm');

for (const curve of curveNames) {
  const { binary } = await compileCurve(curve);
  writeFileSync(path.join(folder, `${curve}.wasm`), binary);
  console.log(`${curve}: ${binary.length} octets`);
}
