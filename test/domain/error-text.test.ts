import assert from 'node:assert/strict';
import test from 'node:test';
import { errorText } from '../../domain/error-text.ts';

test('errorText: an error says its message, anything else what it is', () => {
  assert.equal(errorText(new TypeError('no such door')), 'no such door');
  assert.equal(errorText('gone'), 'gone');
  assert.equal(errorText(undefined), 'undefined');
});
