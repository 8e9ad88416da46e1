import { nameFault } from './native-path.ts';

/**
 * True where a symbolic link that lies `depth` folders below a tree's root stays in the tree, whatever links the names
 * in it are: it is relative, climbs no further than the root, and only before it goes down. (`a/../b` would climb from
 * wherever `a` leads.) `depth` 0: directly in the root.
 */
export const staysInTree = (link: string, depth: number, platform: NodeJS.Platform): boolean => {
  const text = platform === 'win32' ? link.replaceAll('\\', '/') : link;
  if (text === '' || text.startsWith('/') || text.includes('\0')) return false;
  if (platform === 'win32' && text.includes(':')) return false;
  const names = text.split('/').filter((name) => name !== '' && name !== '.');
  const ups = names.findIndex((name) => name !== '..');
  const climbs = ups < 0 ? names.length : ups;
  const down = names.slice(climbs);
  // Windows takes other names for `..`, and drops what stands behind some.
  if (platform === 'win32' && down.some((name) => nameFault(name, platform) !== undefined)) return false;
  return climbs <= depth && !down.includes('..');
};
