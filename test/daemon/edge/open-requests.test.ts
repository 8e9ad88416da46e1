import { Ending } from '../../../src/kernel/ending.ts';
import { describe, expect, it } from 'vitest';

import { endedByNode, type OpenRequest, OpenRequests } from '../../../src/daemon/edge/open-requests.ts';

const request = (name: string, requestId: string): OpenRequest => ({
  caller: { kind: 'key', name, grant: { level: 'full', scopes: [], reach: [] } },
  operation: 'job.stream',
  peers: [],
  requestId,
  ending: new Ending(),
  callerNow: () => ({ kind: 'stranger' }),
  cut: () => undefined,
});

describe('open requests', () => {
  it('are there until they are answered', () => {
    const open = new OpenRequests();
    const [first, second] = [open.add(request('ci', '1')), open.add(request('ci', '2'))];
    expect(open.size).toBe(2);
    first();
    first();
    expect(open.size).toBe(1);
    second();
    expect(open.size).toBe(0);
  });

  it('end where their caller may no longer do it, with the reason, and no others', () => {
    const open = new OpenRequests();
    const [mine, other] = [request('ci', '1'), request('board', '2')];
    open.add(mine);
    open.add(other);
    expect(open.abortWhere(({ caller }) => caller.kind === 'key' && caller.name === 'ci', 'revoked')).toEqual([mine]);
    expect(endedByNode(mine.ending)?.error).toBe('revoked');
    expect(other.ending.aborted).toBe(false);
  });

  it('are cancelled by their own caller alone', () => {
    const open = new OpenRequests();
    const mine = request('ci', 'same-id');
    open.add(mine);
    expect(open.cancel('key:board', 'same-id')).toBe(false);
    expect(open.cancel('key:ci', 'another-id')).toBe(false);
    expect(mine.ending.aborted).toBe(false);
    expect(open.cancel('key:ci', 'same-id')).toBe(true);
    expect(mine.ending.reason).toBe('client-gone');
  });

  it('say why only where the node has ended them', () => {
    const left = new AbortController();
    expect(endedByNode(left.signal)).toBeUndefined();
    left.abort('client-gone');
    expect(endedByNode(left.signal)).toBeUndefined();
  });
});
