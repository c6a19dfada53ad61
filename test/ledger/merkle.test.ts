import assert from 'node:assert/strict';
import test from 'node:test';
import * as fc from 'fast-check';
import { consistencyPath, inclusionPath, isConsistent, isIncluded } from '../../ledger/merkle-proof.ts';
import { emptyRoot, Frontier, hashLeaf, LeafHashes } from '../../ledger/merkle.ts';

/** The entries and roots that the test vectors of Certificate Transparency have. */
const entries = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map((text) => Buffer.from(text, 'hex'));
const roots = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
const sizesMax = 65;

interface Trees {
  readonly hashes: LeafHashes;
  /** By the number of leaves. */
  readonly states: readonly { readonly size: number; readonly root: Buffer }[];
}

function treesOf(leaves: readonly Buffer[]): Trees {
  const hashes = new LeafHashes();
  const frontier = new Frontier();
  const states = [{ size: 0, root: frontier.root() }];
  for (const leaf of leaves) {
    hashes.push(hashLeaf(leaf));
    frontier.append(hashLeaf(leaf));
    states.push({ size: frontier.size, root: frontier.root() });
  }
  return { hashes, states };
}

const many = treesOf(Array.from({ length: sizesMax }, (_, index) => Buffer.from([index])));

function state(size: number): Trees['states'][number] {
  return many.states[size] ?? assert.fail(`no tree of ${size}`);
}

test('Frontier: the roots of RFC 9162 §2.1.1, as logs of certificates have them', () => {
  const { states } = treesOf(entries);
  assert.deepEqual(
    states.map(({ root }) => root.toString('hex')),
    roots,
  );
  assert.deepEqual(states[0]?.root, emptyRoot);
});

test('Frontier: goes on from what it was', () => {
  const frontier = new Frontier();
  for (let size = 0; size < sizesMax; size++) {
    const again = new Frontier(frontier.size, frontier.subtrees);
    for (const one of [frontier, again]) one.append(many.hashes.at(size));
    assert.deepEqual(again.root(), state(size + 1).root);
  }
  assert.throws(() => new Frontier(3, [emptyRoot]), RangeError);
});

test('inclusionPath: every leaf of every tree is in it, at its own place and nowhere else', () => {
  for (let size = 1; size <= 17; size++) {
    for (let index = 0; index < size; index++) {
      const path = inclusionPath(many.hashes, index, size);
      const leaf = many.hashes.at(index);
      assert.ok(isIncluded(leaf, index, path, state(size)), `${index} of ${size}`);
      for (let other = 0; other < size; other++) {
        if (other !== index)
          assert.ok(!isIncluded(leaf, other, path, state(size)), `${index} as ${other} of ${size}`);
      }
      assert.ok(!isIncluded(many.hashes.at(20), index, path, state(size)));
      assert.ok(!isIncluded(leaf, index, [...path, emptyRoot], state(size)));
      if (path.length > 0) assert.ok(!isIncluded(leaf, index, path.slice(1), state(size)));
    }
  }
  assert.throws(() => inclusionPath(many.hashes, 3, 3), RangeError);
  assert.throws(() => inclusionPath(many.hashes, 0, sizesMax + 1), RangeError);
  assert.ok(!isIncluded(many.hashes.at(0), 0, [], { size: 0, root: emptyRoot }));
});

test('consistencyPath: every tree continues every smaller one, and no other', () => {
  for (let size = 0; size <= sizesMax; size++) {
    for (let first = 0; first <= size; first++) {
      const path = consistencyPath(many.hashes, first, size);
      assert.ok(isConsistent(state(first), state(size), path), `${first} to ${size}`);
      if (first === 0) continue;
      const other = { size: first, root: hashLeaf(Buffer.from('another')) };
      assert.ok(!isConsistent(other, state(size), path), `another ${first} to ${size}`);
      assert.ok(!isConsistent(state(first), state(size), [...path, emptyRoot]));
      if (path.length > 0) assert.ok(!isConsistent(state(first), state(size), path.slice(1)));
    }
  }
  assert.ok(!isConsistent(state(3), state(2), []));
  assert.throws(() => consistencyPath(many.hashes, 3, 2), RangeError);
});

test('isIncluded, isConsistent: one flipped bit of a path proves nothing', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: sizesMax }), fc.nat(), fc.nat(), (size, chosen, bit) => {
      const flipped = (path: readonly Buffer[]): Buffer[] =>
        path.map((node, index) => {
          const copy = Buffer.from(node);
          if (index === chosen % path.length) copy[bit % 32] = (copy[bit % 32] ?? 0) ^ (1 << (bit & 7));
          return copy;
        });
      const index = chosen % size;
      const inclusion = flipped(inclusionPath(many.hashes, index, size));
      assert.ok(!isIncluded(many.hashes.at(index), index, inclusion, state(size)));
      const first = 1 + (chosen % (size - 1));
      assert.ok(!isConsistent(state(first), state(size), flipped(consistencyPath(many.hashes, first, size))));
    }),
  );
});
