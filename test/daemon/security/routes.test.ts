import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import type FindMyWay from 'find-my-way';
import { describe, expect, it, vi } from 'vitest';

import { createRouter } from '../../../src/daemon/edge/router.ts';
import type { EdgeParts } from '../../../src/daemon/edge/parts.ts';
import { OPERATION_IDS, rowOf } from '../../../src/protocol/operations.ts';
import { verifies } from '../../requirements.ts';

const registered = vi.hoisted((): string[] => []);

vi.mock('find-my-way', async (load) => {
  const { default: make } = await load<{ default: typeof FindMyWay }>();
  return {
    default: (options: Parameters<typeof make>[0]) => {
      const router = make(options);
      const on = router.on.bind(router) as (...route: unknown[]) => void;
      router.on = (...route: unknown[]) => {
        registered.push(`${String(route[0])} ${String(route[1])}`);
        on(...route);
      };
      return router;
    },
  };
});

const DAEMON = fileURLToPath(new URL('../../../src/daemon', import.meta.url));

describe('the ways in', () => {
  it(verifies('edge.one-way', 'are the routes of the table, and no other'), () => {
    // Routes are registered without a look at the parts.
    createRouter({} as EdgeParts);
    expect(registered).toEqual([
      ...new Set(OPERATION_IDS.map((id) => `${rowOf(id).method} /api/v1${rowOf(id).path.split('?')[0]}`)),
    ]);
    expect(new Set(registered).size).toBe(registered.length);
  });

  it('are opened in one place: no second inbound path can forget the check', () => {
    const files = readdirSync(DAEMON, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
    const opens = (what: RegExp): string[] =>
      files
        .filter((name) => what.test(readFileSync(`${DAEMON}/${name}`, 'utf8')))
        .map((name) => name.replaceAll('\\', '/'))
        .sort();
    expect(opens(/createServer\(|new Server\(|createSecureServer\(/)).toEqual([
      'edge/bind-addresses.ts',
      'edge/listener.ts',
      'edge/secure-server.ts',
      // No port: a socket in a private folder, between a node and its own supervisor, which ask each other for a secret.
      'supervisor/door.ts',
    ]);
    expect(opens(/\.serve\(/)).toEqual(['compose.ts']);
    expect(opens(/findMyWay\(/)).toEqual(['edge/router.ts']);
  });

  it('change nothing where they are a GET', () => {
    const effects = OPERATION_IDS.filter((id) => rowOf(id).method === 'GET' && rowOf(id).effect);
    expect(effects).toEqual([]);
  });
});
