/** `npm run soak -- kills|nodes|plug|enforce|connections|renewal|fuzz|recording`: the long proofs. Ends with 1 if anything happened that must not. */
import { parseArgs } from 'node:util';
import { exitOnSignals } from '../scripts/leash.ts';
import { soakBacklog } from './backlog.ts';
import { soakConnections } from './connections.ts';
import { soakEnforce } from './enforce.ts';
import { soakFuzz } from './fuzz.ts';
import { soakIngest } from './ingest.ts';
import { soakKills } from './kills.ts';
import type { Soak, SoakOptions } from './outcome.ts';
import { soakNodes } from './nodes.ts';
import { soakPlug } from './plug.ts';
import { soakRecording } from './recording.ts';
import { soakRenewal } from './renewal.ts';

const soaks: Readonly<Record<string, Soak>> = {
  backlog: soakBacklog,
  kills: soakKills,
  nodes: soakNodes,
  plug: soakPlug,
  connections: soakConnections,
  renewal: soakRenewal,
  fuzz: soakFuzz,
  ingest: soakIngest,
  enforce: soakEnforce,
  recording: soakRecording,
};

const usage = `usage: npm run soak -- backlog|kills|nodes|plug|connections|renewal|fuzz|ingest|enforce|recording [options]

  backlog      a broker starts with a million queued messages
  kills        a broker is killed again and again under traffic of QoS 1 and 2
  nodes        three nodes and Redis are killed, and Redis is set back or wiped, under the same traffic
  plug         device agents, two brokers, a bad wire between them, a backend: all of it killed at random
  connections  thousands of mutual-TLS connections with traffic
  renewal      a device agent is killed before every step of a renewal and of a hand-over
  fuzz         hostile octets for the packet reader, and whether its memory grows
  ingest       backends and their database server are killed at random while snapshots come
  enforce      a customer's auditor, broker and agents are killed at random while a person decides what leaves
  recording    NASA's C-MAPSS FD001 and FD002 through the whole chain, and every value compared with the files

  --minutes N      how long (10); not of kills, renewal and recording
  --kills N        how many (100)
  --connections N  how many (5000)
  --rate N         messages a second of plug (500)
  --seed S         of what is random (1)

Progress goes to stderr; one line of JSON to stdout in the end. The exit status is 1 after any violation.`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      minutes: { type: 'string', default: '10' },
      kills: { type: 'string', default: '100' },
      connections: { type: 'string', default: '5000' },
      rate: { type: 'string', default: '500' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  const name = positionals[0] ?? '';
  const soak = soaks[name];
  const numbers = Object.entries(values).map(([key, value]) => [key, Number(value)] as const);
  if (values.help || soak === undefined || numbers.some(([, value]) => !(value >= 0))) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  const { minutes, kills, connections, rate, seed } = values;
  const options: SoakOptions = {
    minutes: Number(minutes),
    kills: Number(kills),
    connections: Number(connections),
    rate: Number(rate),
    seed: Number(seed),
    onProgress: (line) => console.error(`soak: ${line}`),
  };
  const startMs = performance.now();
  const { violations, figures } = await soak(options);
  const seconds = Math.round((performance.now() - startMs) / 1000);
  console.log(JSON.stringify({ soak: name, seconds, ...figures, violations }));
  return violations.length === 0 ? 0 : 1;
}

exitOnSignals();
process.exitCode = await main();
