const MAX_NAME = 63;
/** The slug of a name of which nothing is left. */
const NAMELESS = 'peer';
const LOCAL_SUFFIX = /\.(?:local|lan|home|localdomain|internal)$/i;

/** A host name as a peer's first name: lower case, without its local domain, of `[a-z0-9-]`; `peer` where nothing is left. */
export const slugOf = (hostname: string): string => {
  const plain = hostname
    .replace(LOCAL_SUFFIX, '')
    .normalize('NFKD')
    .replace(/[\u0300-\u036f'’]/g, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_NAME)
    .replace(/^-+|-+$/g, '');
  return plain === '' ? NAMELESS : plain;
};

/** What every surface takes for the machine that a person sits at: no peer is called so. */
export const THIS_MACHINE = 'localhost';

/** The names that mean the node itself, lower case: beside its nodeId. No peer gets one. */
export const ownNames = (hostname: string): string[] => {
  const slug = slugOf(hostname);
  return [...new Set([THIS_MACHINE, hostname.toLowerCase(), ...(slug === NAMELESS ? [] : [slug])])];
};

/** `wanted`, or `wanted-2`, `wanted-3` … where it is taken. */
export const uniqueName = (wanted: string, taken: (name: string) => boolean): string => {
  if (!taken(wanted)) return wanted;
  for (let number = 2; ; number += 1) {
    const suffix = `-${number}`;
    const name = `${wanted.slice(0, MAX_NAME - suffix.length).replace(/-+$/, '')}${suffix}`;
    if (!taken(name)) return name;
  }
};

/** An address as people type it. */
export interface ParsedAddress {
  readonly host: string;
  readonly port: number | undefined;
}

/** True for an IPv6 address in any of its spellings, with a zone or without. */
const isIPv6 = (text: string): boolean => {
  const [address = '', zone, ...more] = text.split('%');
  if ((zone !== undefined && !/^[\w.:-]+$/.test(zone)) || more.length > 0) return false;
  // An IPv4 address at its end stands for two groups.
  const plain = address.replace(/(?<=:)(?:\d{1,3}\.){3}\d{1,3}$/, '0:0');
  const halves = plain.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const groups = halves.flat();
  const whole = halves.length === 1 ? groups.length === 8 : halves.length === 2 && groups.length < 8;
  return whole && groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group));
};

const LABEL = /^[\p{L}\p{M}\p{N}_](?:[\p{L}\p{M}\p{N}_-]{0,61}[\p{L}\p{M}\p{N}_])?$/u;
const MAX_HOST = 253;

/** True for an IPv4 or IPv6 address, and for a name that a machine may have in a network. */
export const isHost = (text: string): boolean => {
  if (isIPv6(text)) return true;
  const labels = text.replace(/\.$/, '').split('.');
  // What ends in a number is an address, however few numbers some systems are content with.
  if (/^(?:\d+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? ''))
    return (
      labels.length === 4 &&
      !text.endsWith('.') &&
      labels.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)
    );
  return text.length <= MAX_HOST && labels.every((label) => LABEL.test(label));
};

/**
 * Reads `host`, `host:port`, `[v6]` and `[v6]:port`; a bare IPv6 address is taken whole.
 * @returns undefined where it is none of them, or its port is none.
 */
export const parseAddress = (text: string): ParsedAddress | undefined => {
  if (isIPv6(text)) return { host: text, port: undefined };
  const [, v6, name, digits] = /^(?:\[([^\]]+)\]|([^\s:[\]/@]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = v6 ?? name;
  if (host === undefined || (v6 !== undefined && !isIPv6(v6))) return undefined;
  const port = digits === undefined ? undefined : Number(digits);
  return port !== undefined && (port < 1 || port > 65_535) ? undefined : { host, port };
};
