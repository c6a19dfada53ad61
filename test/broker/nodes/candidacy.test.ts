import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Candidacy } from '../../../broker/nodes/candidacy.ts';
import type { Comparison } from '../../../broker/nodes/shared-log.ts';

const leaseMs = 1000;
const place = { position: 7, epoch: 3 };

function report(changes: Partial<Comparison> = {}): Comparison {
  return { isKnown: true, isAhead: false, position: 7, tailEpoch: 3, ...changes };
}

test('Candidacy.claim: for a lease after Redis is there nobody claims, unless the cluster began with it', () => {
  const candidacy = new Candidacy(leaseMs);
  assert.equal(candidacy.claim(place, 5000, leaseMs - 1), 'none');
  assert.equal(candidacy.claim(place, 5000, leaseMs), 'even');
  candidacy.founded();
  assert.equal(candidacy.claim(place, 5000, 0), 'even');
  candidacy.lead();
  assert.equal(candidacy.claim(place, 5000, 0), 'none', 'only the first time');
  candidacy.founded();
  candidacy.follow();
  assert.equal(candidacy.claim(place, 5000, 0), 'none', 'another one was quicker');
});

test('Candidacy.claim: a copy with more than the log claims it after three leases, also if others came meanwhile', () => {
  const candidacy = new Candidacy(leaseMs);
  candidacy.learn(report({ isAhead: true }), 5000);
  candidacy.learn(report({ isAhead: true }), 7000);
  assert.equal(candidacy.claim(place, 7999, leaseMs), 'even');
  assert.equal(candidacy.claim(place, 8000, leaseMs), 'any');
  candidacy.learn(report(), 8000);
  candidacy.learn(report({ isAhead: true }), 8000);
  assert.equal(candidacy.claim(place, 8001, leaseMs), 'even', 'it was even in between');
});

test('Candidacy.claim: who was active lets others try for two leases', () => {
  const candidacy = new Candidacy(leaseMs);
  candidacy.led(5000);
  assert.equal(candidacy.claim(place, 6999, leaseMs), 'none');
  assert.equal(candidacy.claim(place, 7000, leaseMs), 'even');
});

test('Candidacy.claim: a copy that lacks what Redis had once does not lead, also if Redis has forgotten it', () => {
  const candidacy = new Candidacy(leaseMs);
  candidacy.learn(report({ position: 9, tailEpoch: 4 }), 5000);
  assert.equal(candidacy.isRobbed(place), false, 'it lags behind');
  assert.equal(candidacy.claim(place, 5000, leaseMs), 'none');
  candidacy.learn(report(), 5000);
  assert.equal(candidacy.claim(place, 60_000, leaseMs), 'none');
  assert.equal(candidacy.claim({ position: 20, epoch: 3 }, 60_000, leaseMs), 'none', 'of an older epoch');
  assert(candidacy.isRobbed(place));
  assert.equal(candidacy.claim({ position: 9, epoch: 4 }, 60_000, leaseMs), 'even');
  candidacy.learn(report({ position: 10, tailEpoch: 5 }), 70_000);
  assert.equal(candidacy.isRobbed(place), false, 'somebody has it');
});
