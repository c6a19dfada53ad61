import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { faultOf, fuzz, reproduce } from '../../fuzz/fuzzer.ts';
import { Generator } from '../../fuzz/generator.ts';
import { mutated } from '../../fuzz/mutate.ts';
import { targetNames } from '../../fuzz/target-names.ts';
import { readForest, writeForest } from '../../fuzz/tlv.ts';
import type { World } from '../../fuzz/world.ts';

// V8 counts blocks only of what is loaded after it was told to, so nothing of cms/ is before the first test.
let loaded: World | undefined;
async function theWorld(): Promise<World> {
  const { loadWorld } = await import('../../fuzz/world.ts');
  return (loaded ??= loadWorld());
}

async function targetsOf(world: World) {
  const { targetsIn } = await import('../../fuzz/targets.ts');
  return targetsIn(world);
}

test('fuzz: a short run over everything that reads finds nothing', async () => {
  const found: string[] = [];
  const end = await fuzz({
    targets: targetNames,
    seed: 20,
    isDone: ({ executions }) => executions >= 4000,
    onFinding: ({ target, why }) => found.push(`${target}: ${why}`),
  });
  assert.deepEqual(found, []);
  assert.ok(end.executions >= 4000);
  assert.ok(end.blocks.reached > 700, `${end.blocks.reached} blocks`);
  const { envelopes, certificates, crls } = await theWorld();
  assert.ok(end.corpus > envelopes.length + certificates.length + crls.length + 30, `corpus ${end.corpus}`);
});

test('fuzz: the messages that it begins with open, each of ours for somebody', async () => {
  const world = await theWorld();
  for (const { name, readers } of world.envelopes) {
    if (/^(signed|bare)/.test(name)) assert.ok(readers.length > 0, name);
  }
  assert.ok(world.genuine.size >= 60, `${world.genuine.size} genuine`);
});

test('fuzz: notices what it is there to notice', async () => {
  const world = await theWorld();
  const [reader] = world.readers;
  assert.ok(reader);
  const trial = { reader, input: Buffer.of(1) };
  assert.equal(
    faultOf(() => undefined, trial),
    undefined,
  );
  assert.equal(
    faultOf(() => 'opened to something else', trial),
    'opened to something else',
  );
  const slow = () => {
    for (const start = performance.now(); performance.now() - start < 60;);
    return undefined;
  };
  assert.match(faultOf(slow, trial) ?? '', /^took \d+ ms$/);
  const kept: Buffer[] = [];
  const large = () => {
    kept.push(Buffer.alloc(20 * 1024 * 1024));
    return undefined;
  };
  assert.match(faultOf(large, trial) ?? '', /^took \d+ octets of memory$/);
  const broken = () => {
    throw new TypeError('planted');
  };
  const { open } = await targetsOf(world);
  assert.match(open(trial.input, { ...reader, opener: { open: broken } }) ?? '', /^threw TypeError: planted/);
});

test('fuzz: notices an envelope that opens to what nobody sealed', async () => {
  const world = await theWorld();
  const seed = world.envelopes.find(({ name }) => name === 'signed.der');
  assert.ok(seed?.readers[0]);
  const { open } = await targetsOf({ ...world, genuine: new Set() });
  assert.match(open(seed.octets, seed.readers[0]) ?? '', /^opened to what nobody sealed/);
  assert.equal(await reproduce('open', seed.readers[0].name, seed.octets), undefined);
});

test('mutated: the same seed makes the same inputs', async () => {
  const donors = (await theWorld()).envelopes.map(({ octets }) => octets);
  const inputsOf = (seed: number) => {
    const generator = new Generator(seed);
    return donors.slice(0, 40).map((octets) => mutated(octets, donors, generator));
  };
  assert.deepEqual(inputsOf(5), inputsOf(5));
  assert.notDeepEqual(inputsOf(5), inputsOf(6));
});

test('readForest, writeForest: what can be read is written as it was', async () => {
  for (const { name, octets } of (await theWorld()).envelopes) {
    const forest = readForest(octets);
    if (forest === undefined || /nonminimal/.test(name)) continue;
    assert.deepEqual(writeForest(forest), octets, name);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (octets) => {
      const forest = readForest(Buffer.from(octets));
      if (forest === undefined) return;
      const written = writeForest(forest);
      const again = readForest(written);
      assert.ok(again);
      assert.deepEqual(writeForest(again), written);
    }),
    { numRuns: 500, seed: 3 },
  );
  assert.equal(readForest(Buffer.concat([Buffer.from('30840000ffff', 'hex'), randomBytes(4)])), undefined);
});
