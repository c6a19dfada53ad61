/** Loads the WebAssembly of a curve: `assembly/` is its source, `npm run build:wasm` compiles it. */
import { readFileSync } from 'node:fs';
import type { CurveName } from '../../pki/certificate.ts';

/** What `assembly/engine.ts` exports; addresses are octets into `memory`. */
export interface CurveModule {
  readonly memory: WebAssembly.Memory;
  readonly exchange: WebAssembly.Global<'i32'>;
  readonly point: WebAssembly.Global<'i32'>;
  readonly affineBytes: WebAssembly.Global<'i32'>;
  freeMemory(): number;
  readPoint(): number;
  readScalar(): number;
  addAssociated(): number;
  recode(count: number): number;
  makeComb(table: number, teeth: number, blocks: number, columns: number): number;
  multiplyFixed(index: number, table: number, teeth: number, blocks: number, columns: number): void;
  addImplicit(point: number, table: number, teeth: number, blocks: number, columns: number): void;
  multiplySum(): number;
  writeSums(count: number): number;
  negateFirst(mask: number): void;
  wipe(count: number): void;
}

export function loadCurveModule(curve: CurveName): CurveModule {
  const octets = readFileSync(new URL(`${curve}.wasm`, import.meta.url));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(octets));
  // The test of the build compares the file with its source, so these are its exports.
  return instance.exports as unknown as CurveModule;
}
