import { describe, expect, it } from 'vitest';

import { newestLeaf, pathTo, versionsOf } from './tree';

const node = (id: string, parent_id: string | null, created_at = 0) => ({
  id,
  parent_id,
  created_at,
});
// u1 ─ a1 ─ u2 ─ a2
//    └ a3 (regenerated)   u4 ─ a4 (first message edited)
const messages = [
  node('u1', null),
  node('a1', 'u1'),
  node('u2', 'a1'),
  node('a2', 'u2'),
  node('a3', 'u1'),
  node('u4', null),
  node('a4', 'u4'),
];
const ids = (nodes: { id: string }[]): string[] => nodes.map((entry) => entry.id);

describe('pathTo', () => {
  it('runs from the root to the leaf', () => {
    expect(ids(pathTo(messages, 'a2'))).toEqual(['u1', 'a1', 'u2', 'a2']);
    expect(ids(pathTo(messages, 'a3'))).toEqual(['u1', 'a3']);
  });

  it('is empty without a leaf and ends at a missing parent', () => {
    expect(pathTo(messages, null)).toEqual([]);
    expect(ids(pathTo([node('x', 'gone')], 'x'))).toEqual(['x']);
  });

  it('ends on a circle', () => {
    expect(ids(pathTo([node('x', 'y'), node('y', 'x')], 'x'))).toEqual(['y', 'x']);
  });
});

describe('versionsOf', () => {
  it('are the answers to the same message, and the roots among themselves', () => {
    expect(versionsOf(messages, node('a1', 'u1'))).toEqual(['a1', 'a3']);
    expect(versionsOf(messages, node('u4', null))).toEqual(['u1', 'u4']);
  });

  it('are also those that are known by name alone', () => {
    const told = { ...node('a1', 'u1'), versions: ['a0', 'a1'] };
    expect(versionsOf([...messages, told], node('a3', 'u1'))).toEqual(['a0', 'a1', 'a3']);
  });
});

describe('newestLeaf', () => {
  it('follows the newest child down', () => {
    expect(newestLeaf(messages, 'u1')).toBe('a3');
    expect(newestLeaf(messages, 'a1')).toBe('a2');
    expect(newestLeaf(messages, 'a2')).toBe('a2');
  });

  it('ends on a circle', () => {
    expect(newestLeaf([node('x', 'y'), node('y', 'x')], 'x')).toBe('y');
  });
});
