import { describe, expect, it } from 'vitest';

import { OPERATION_IDS, rowOf } from '../../src/protocol/operations.ts';
import { describeGrant, describeLevel, LEVEL_SCOPES, LEVELS, type Level, SCOPES } from '../../src/protocol/scopes.ts';

const TODAY = new Set<string>(OPERATION_IDS.map((id) => rowOf(id).access));
const LATER = '; more of this level comes with later versions';
const NO_FOLDER = '; you list none (--folder lists one)';

const words = (level: Level, inUse: ReadonlySet<string>): string => describeLevel(level, { user: 'maria', inUse });

describe('the words before a yes', () => {
  it('promise what this version can do, and nothing else', () => {
    const looks = 'see the state of this node, read its shared context';
    const reads = 'read files in the folders you list';
    const writes = 'write files in the folders you list (what it changes may run when you build)';
    expect(words('observe', TODAY)).toBe(`may ${looks} and ${reads}${NO_FOLDER}`);
    expect(words('collaborate', TODAY)).toBe(
      `may ${looks}, ${reads}, write its shared context, send messages and ${writes}${NO_FOLDER}${LATER}`,
    );
    expect(words('observe', new Set())).toBe(`may do nothing yet${LATER}`);
  });

  it('name the folders that are listed', () => {
    const folders = ['/srv', '/home/maria/work'];
    expect(describeLevel('observe', { user: 'maria', inUse: TODAY, folders })).toBe(
      'may see the state of this node, read its shared context and read files in /srv and /home/maria/work',
    );
  });

  it('grow by themselves when an operation asks for another scope', () => {
    const next = new Set([...TODAY, 'messages']);
    expect(words('observe', next)).toContain('may see the state of this node, read its shared context and read files');
    // Nothing of the level is missing any more.
    expect(words('observe', next)).not.toContain(LATER);
    expect(words('collaborate', next)).toContain('send messages');
    for (const level of ['observe', 'collaborate'] as const) {
      const all = words(level, new Set(SCOPES));
      expect(all).not.toContain(LATER);
      // As many things as scopes.
      expect(all.replace(NO_FOLDER, '').split(/, | and /)).toHaveLength(LEVEL_SCOPES[level].length);
    }
  });

  it('say of full what it is, whatever there is', () => {
    for (const inUse of [TODAY, new Set<string>(), new Set(SCOPES)])
      expect(words('full', inUse)).toBe('may run any command as maria: it can do anything that you can do here');
  });
});

describe('a grant in words', () => {
  const grant = { level: 'observe' as Level, scopes: LEVEL_SCOPES.observe, reach: [] };
  const text = (more: Partial<Parameters<typeof describeGrant>[0]>): string =>
    describeGrant({ ...grant, ...more }, (ms) => `day ${ms}`);

  it('never says less than it gives', () => {
    const anything = 'may do anything that you can do here (full)';
    expect(text({ level: 'full', scopes: SCOPES })).toBe(anything);
    for (const scope of SCOPES.filter((one) => !LEVEL_SCOPES.collaborate.includes(one)))
      expect(text({ level: 'full', scopes: [scope] })).toBe(anything);
    expect(text({ folders: ['/srv'], expiresAt: 5, reach: 'all' })).toBe(
      'may look (observe), in /srv, until day 5, reaches every peer',
    );
    expect(text({ reach: ['kai', 'maria'] })).toBe('may look (observe), in no folder, reaches kai, maria');
  });

  it('counts no scope that its level does not have: no operation would', () => {
    expect(text({ scopes: [...LEVEL_SCOPES.observe, 'exec'] })).toBe('may look (observe), in no folder');
    expect(text({ scopes: ['exec'] })).toBe('may do nothing here');
  });

  it('says that it is over, and what it was', () => {
    expect(text({ level: 'full', scopes: SCOPES, expiresAt: 5, expired: true })).toBe(
      'may do nothing any more (full, ended day 5)',
    );
  });

  it('says where it gives less than its level', () => {
    for (const level of LEVELS) expect(text({ level, scopes: [] })).toBe('may do nothing here');
    expect(text({ level: 'collaborate', scopes: ['status', 'messages'] })).toBe('may use only status, messages');
    expect(text({ level: 'collaborate', scopes: LEVEL_SCOPES.collaborate, folders: [] })).toBe(
      'may collaborate, in no folder',
    );
  });
});
