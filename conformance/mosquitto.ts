/** Mosquitto's own broker tests, with our broker in the place of its program. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { Checkout } from './checkout.ts';
import { choiceOf, exclusionOf, optionReasons } from './mosquitto-scope.ts';
import { onlyVersion, onlyVersionOfSequences } from './mosquitto-version.ts';
import { runPython } from './run-python.ts';
import type { PythonResult } from './run-python.ts';
import type { Verdict } from './verdict.ts';

export interface MosquittoOptions {
  /** Runs those whose name contains it. */
  readonly only: string;
  /** At a time. */
  readonly jobs: number;
}

interface Task {
  readonly test: string;
  readonly run: (port: number) => Promise<Verdict>;
}

const deadlineMs = 180_000;
/** Four for each job. */
const firstPort = 21_880;
/** They wait for fixed times, and a busy machine makes them miss; one that fails is given a second chance. */
const attempts = 2;
const sequenceScript = 'msg_sequence_test.py';

export async function runMosquitto(
  site: string,
  checkout: Checkout,
  version: 3 | 5,
  { only, jobs }: MosquittoOptions,
): Promise<Verdict[]> {
  const build = prepareBuild(site, checkout.directory);
  const suite = new Suite(site, build, version);
  const tasks = [...suite.scripts(), ...suite.sequences()].filter(({ test }) => test.includes(only));
  const verdicts = new Map<string, Verdict>();
  const queue = [...tasks];
  const work = async (port: number): Promise<void> => {
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      const verdict = await task.run(port);
      console.error(`${verdict.test}: ${verdict.outcome}`);
      verdicts.set(task.test, verdict);
    }
  };
  await Promise.all(Array.from({ length: jobs }, (_, index) => work(firstPort + 4 * index)));
  return tasks.flatMap(({ test }) => verdicts.get(test) ?? []);
}

/** A folder that looks like Mosquitto's after a build, with a program of ours in it. */
function prepareBuild(site: string, checkout: string): string {
  const build = path.join(site, 'build');
  cpSync(path.join(checkout, 'test'), path.join(build, 'test'), { recursive: true });
  // Its broker starts in no time and has two seconds; Node on a busy machine may need more.
  const library = path.join(build, 'test', 'mosq_test.py');
  writeFileSync(
    library,
    readFileSync(library, 'utf8').replace('for i in range(0, 20):', 'for i in range(0, 200):'),
  );
  mkdirSync(path.join(build, 'src'), { recursive: true });
  const program = path.join(build, 'src', 'mosquitto');
  const script = path.join(import.meta.dirname, 'mosquitto-process.ts');
  writeFileSync(
    program,
    `#!/bin/sh\nexec '${process.execPath}' --disable-warning=ExperimentalWarning '${script}' "$@"\n`,
  );
  chmodSync(program, 0o755);
  mkdirSync(path.join(build, 'client'), { recursive: true });
  for (const client of ['mosquitto_pub', 'mosquitto_sub', 'mosquitto_rr']) {
    if (existsSync(`/usr/bin/${client}`))
      symlinkSync(`/usr/bin/${client}`, path.join(build, 'client', client));
  }
  return build;
}

class Suite {
  readonly #site: string;
  readonly #build: string;
  readonly #folder: string;
  readonly #version: 3 | 5;

  constructor(site: string, build: string, version: 3 | 5) {
    this.#site = site;
    this.#build = build;
    this.#folder = path.join(build, 'test', 'broker');
    this.#version = version;
  }

  scripts(): Task[] {
    const list = readFileSync(path.join(this.#folder, 'test.py'), 'utf8');
    // Those that it has commented out are for a Python or a broker of long ago.
    return [...list.matchAll(/^ *\(\d, '\.\/(\d\d-[^']+)'/gm)]
      .map((match) => match[1] ?? '')
      .toSorted()
      .flatMap((file) => this.#scriptTask(file));
  }

  /** One test a data file: each holds up to hundreds of short exchanges. */
  sequences(): Task[] {
    const data = path.join(this.#folder, 'data');
    const script = patchedSequences(readFileSync(path.join(this.#folder, sequenceScript), 'utf8'));
    return readdirSync(data)
      .filter((file) => file.endsWith('.json'))
      .toSorted()
      .map((file) => {
        const test = `sequences ${path.basename(file, '.json')}`;
        const json = onlyVersionOfSequences(readFileSync(path.join(data, file), 'utf8'), this.#version);
        if (json === '[]') return undefined;
        return { test, run: (port: number) => this.#runSequences(test, { script, file, json }, port) };
      })
      .filter((task) => task !== undefined);
  }

  #scriptTask(file: string): Task[] {
    const full = path.join(this.#folder, file);
    const script = onlyVersion(readFileSync(full, 'utf8'), this.#version);
    if (script === undefined) return [];
    const reason = exclusionOf(file);
    if (reason !== undefined) {
      const verdict: Verdict = { test: file, outcome: 'not applicable', remark: reason };
      return [{ test: file, run: () => Promise.resolve(verdict) }];
    }
    writeFileSync(full, script);
    return [{ test: file, run: (port) => this.#runScript(file, port) }];
  }

  async #runScript(file: string, port: number): Promise<Verdict> {
    // It takes a number of ports that it did not ask for as none at all.
    const wanted = Number(
      /get_port\((\d)\)/.exec(readFileSync(path.join(this.#folder, file), 'utf8'))?.[1] ?? 1,
    );
    const ports = Array.from({ length: wanted }, (_, index) => String(port + index));
    let failed: Verdict | undefined;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const { result, untranslatable } = await this.#run(this.#folder, [file, ...ports], port);
      if (untranslatable.length > 0) {
        const remark = untranslatable
          .map((option) => optionReasons[option] ?? `the option ${option}`)
          .join(', ');
        return { test: file, outcome: 'not applicable', remark, output: result.output };
      }
      if (result.passed) {
        return { test: file, outcome: 'passed', ...(attempt > 1 && { remark: 'at the second attempt' }) };
      }
      failed ??= failure(file, result.output);
      if (failed.outcome !== 'failed') break;
    }
    return failed ?? { test: file, outcome: 'failed' };
  }

  async #runSequences(
    test: string,
    { script, file, json }: { readonly script: string; readonly file: string; readonly json: string },
    port: number,
  ): Promise<Verdict> {
    // A copy with this one data file, because the script runs all that lie beside it.
    const folder = mkdtempSync(path.join(this.#build, 'test', 'sequences-'));
    mkdirSync(path.join(folder, 'data'));
    writeFileSync(path.join(folder, 'data', file), json);
    writeFileSync(path.join(folder, sequenceScript), script);
    cpSync(path.join(this.#folder, 'mosq_test_helper.py'), path.join(folder, 'mosq_test_helper.py'));
    const { result } = await this.#run(folder, [sequenceScript, String(port)], port);
    rmSync(folder, { recursive: true, force: true });
    const { output } = result;
    const [, total, succeeded] = /(\d+) tests total\n(\d+) tests succeeded/.exec(output) ?? [];
    const counts = total === undefined ? 'ended before its sum' : `${succeeded} of ${total}`;
    const failures = failuresOf(output);
    const faults = failures.filter(({ reason }) => reason === undefined).map(({ name }) => name);
    const reasons = new Set(failures.flatMap(({ reason }) => reason ?? []));
    const remark = [counts, ...faults, ...reasons].join('; ');
    if (result.passed && total !== undefined && total === succeeded)
      return { test, outcome: 'passed', remark, output };
    const isChoice = total !== undefined && failures.length > 0 && faults.length === 0;
    return { test, outcome: isChoice ? 'other choice' : 'failed', remark, output };
  }

  async #run(
    directory: string,
    args: readonly string[],
    port: number,
  ): Promise<{ result: PythonResult; untranslatable: string[] }> {
    const data = mkdtempSync(path.join(this.#site, `data-${port}-`));
    const report = path.join(data, 'untranslatable.txt');
    const result = await runPython({
      directory,
      args,
      env: {
        BUILD_ROOT: this.#build,
        PLOMBE_CONFORMANCE_SITE: this.#site,
        PLOMBE_CONFORMANCE_VERSION: String(this.#version),
        PLOMBE_CONFORMANCE_DATA: data,
        PLOMBE_CONFORMANCE_REPORT: report,
      },
      deadlineMs,
    });
    const lines = existsSync(report) ? readFileSync(report, 'utf8').split('\n') : [];
    rmSync(data, { recursive: true, force: true });
    return { result, untranslatable: [...new Set(lines.filter((line) => line !== ''))] };
  }
}

/** Two places are changed; what is sent and what is expected is not. */
function patchedSequences(script: string): string {
  return (
    script
      // It ends at the first time-out, with the status of a success; here that is one more failure.
      .replace(/^ +exit\(\)$/m, '')
      // MQTT 5 §4.13.1: a server may say why before it closes, in a CONNACK or a DISCONNECT.
      .replace(
        /^( +)(raise ValueError\("Still connected"\))$/m,
        '$1farewell = data + sock.recv(1000)\n' +
          '$1if self.proto_ver != 5 or farewell[0] not in (0x20, 0xE0) or sock.recv(1) != b"":\n$1    $2',
      )
  );
}

/** @returns each sequence that failed, and why it is no fault where it is none */
function failuresOf(output: string): { name: string; reason: string | undefined }[] {
  const parts = output.split('\u001b[31m').slice(1);
  return parts.map((part) => {
    const [name = '', detail = ''] = part.split('\u001b[0m', 1)[0]?.split(' failed: ') ?? [];
    return { name: name.trim(), reason: choiceOf(name.trim(), detail) };
  });
}

function failure(test: string, output: string): Verdict {
  const reason = choiceOf(test);
  if (reason !== undefined) return { test, outcome: 'other choice', remark: reason, output };
  if (/missing psutil|No module named 'psutil'/.test(output)) {
    return {
      test,
      outcome: 'not applicable',
      remark: "needs Python's psutil, which is not installed",
      output,
    };
  }
  return { test, outcome: 'failed', remark: remarkOf(output), output };
}

function remarkOf(output: string): string {
  const lines = output.split('\n').filter((line) => !line.startsWith('{'));
  return (
    lines.find((line) => line.startsWith('FAIL')) ??
    lines.findLast((line) => /^[\w.]*(Error|Exception|Expired|Refused)/.test(line)) ??
    'no reason given'
  );
}
