import jsQR from 'jsqr';
import { describe, expect, it } from 'vitest';

import { createOutput } from '../../src/cli/output.ts';
import { qrLines } from '../../src/cli/qr.ts';
import { verifies } from '../requirements.ts';

const INVITATION = `loopsy-${'abcdefgh'.repeat(4)}-${'z2345'.repeat(5)}a`;
const terminal = (columns?: number) => ({ isTTY: true, columns, write: () => true });
const paintOf = (colour: boolean) =>
  createOutput({ stdout: terminal(), stderr: terminal() }, { json: false, colour }).paint;

const SCALE = 4;
/** Upper and lower half of each character, true where it is lit. */
const HALVES: Readonly<Record<string, readonly [boolean, boolean]>> = {
  '█': [true, true],
  '▀': [true, false],
  '▄': [false, true],
  ' ': [false, false],
};

/** What a camera sees of a terminal. */
const photograph = (lines: readonly string[]): { pixels: Uint8ClampedArray; width: number; height: number } => {
  const rows = lines.flatMap((line) => [0, 1].map((half) => Array.from(line, (sign) => HALVES[sign]?.[half] ?? false)));
  const [width, height] = [(rows[0]?.length ?? 0) * SCALE, rows.length * SCALE];
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const lit = rows[Math.floor(y / SCALE)]?.[Math.floor(x / SCALE)] === true ? 255 : 0;
      pixels.set([lit, lit, lit, 255], (y * width + x) * 4);
    }
  }
  return { pixels, width, height };
};

describe('an invitation as a QR code', () => {
  it(verifies('pair.qr', 'is read from the terminal as what it is'), async () => {
    const lines = await qrLines(INVITATION, { stdout: terminal(), paint: paintOf(false) });
    const { pixels, width, height } = photograph(lines);
    expect(jsQR.default(pixels, width, height)?.data).toBe(INVITATION);
    expect([lines.length, lines[0]?.length]).toEqual([19, 37]);
  });

  it('is white on black whatever colours the terminal has', async () => {
    const lines = await qrLines(INVITATION, { stdout: terminal(), paint: paintOf(true) });
    expect(lines.every((line) => /^\u001B\[97;40m[█▀▄ ]{37}\u001B\[39;49m$/.test(line))).toBe(true);
  });

  it('is left out where it does not fit, and where no person looks', async () => {
    const paint = paintOf(false);
    expect(await qrLines(INVITATION, { stdout: terminal(36), paint })).toEqual([]);
    expect(await qrLines(INVITATION, { stdout: terminal(37), paint })).not.toEqual([]);
    expect(await qrLines(INVITATION, { stdout: terminal(0), paint })).not.toEqual([]);
    expect(await qrLines(INVITATION, { stdout: { ...terminal(), isTTY: false }, paint })).toEqual([]);
  });
});
