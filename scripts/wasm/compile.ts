/** Compiles the AssemblyScript in `cms/wasm/assembly/` for one curve. The same source gives the same octets everywhere. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { main } from 'assemblyscript/asc';
import { suiteOf } from '../../cms/suite.ts';
import type { CurveName } from '../../pki/certificate.ts';
import { generateCurve } from './generate.ts';
import { parametersOf } from './parameters.ts';

const folder = path.resolve(import.meta.dirname, '../../cms/wasm/assembly');
const compilerOptions = [
  ['--runtime', 'stub'], // nothing is allocated or collected
  ['--enable', 'simd'],
  ['--optimizeLevel', '3'],
  ['--shrinkLevel', '0'],
  ['--noAssert'],
].flat();

export interface CompiledCurve {
  readonly binary: Uint8Array;
  /** The same in the text format. */
  readonly text: string;
}

/**
 * @param entry - a module that exports something else of those in the folder
 * @throws Error with the compiler's messages
 */
export async function compileCurve(curve: CurveName, entry?: string): Promise<CompiledCurve> {
  const sources = new Map(
    readdirSync(folder)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => [name, readFileSync(path.join(folder, name), 'utf8')]),
  );
  sources.set('curve.ts', generateCurve(parametersOf(suiteOf(curve))));
  if (entry !== undefined) sources.set('engine.ts', entry);
  const messages: string[] = [];
  const results = new Map<string, string | Uint8Array>();
  const { error } = await main(
    ['engine.ts', '--outFile', 'curve.wasm', '--textFile', 'curve.wat', ...compilerOptions],
    {
      readFile: (name) => sources.get(name) ?? null,
      writeFile: (name, contents) => void results.set(name, contents),
      listFiles: () => [],
      stderr: { write: (message: Uint8Array | string) => void messages.push(message.toString()) },
    },
  );
  const [binary, text] = [results.get('curve.wasm'), results.get('curve.wat')];
  if (error !== null || !(binary instanceof Uint8Array) || typeof text !== 'string') {
    throw new Error(`the WebAssembly of ${curve} does not compile\n${messages.join('')}`, { cause: error });
  }
  return { binary, text };
}
