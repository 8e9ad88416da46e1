/** `::ffff:10.0.0.7`, as a dual-stack socket reports an IPv4 address, in its plain form; others in lower case. */
export const unmapped = (address: string): string => address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '');
