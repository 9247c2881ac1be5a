/** TCP options from the text that print/transport.ts prints, padded with NOPs to a multiple of four bytes. */

/** `mss 1460, sackOK, ts 1 0, nop, wscale 7, sack 5-9 20-30`; bytes are passed through. */
export function tcpOptionBytes(options: string | Uint8Array): Uint8Array {
  if (typeof options !== 'string') return options;
  const bytes: number[] = [];
  for (const part of options.split(',').map((text) => text.trim())) {
    if (part === '') continue;
    const [name, ...values] = part.split(' ');
    bytes.push(...optionBytes(part, name ?? '', values));
  }
  while (bytes.length % 4 !== 0) bytes.push(1);
  if (bytes.length > 40) throw new Error(`${bytes.length} bytes of TCP options: 40 is the most`);
  return Uint8Array.from(bytes);
}

function optionBytes(part: string, name: string, values: string[]): number[] {
  switch (name) {
    case 'nop':
      return [1];
    case 'eol':
      return [0];
    case 'mss':
      return [2, 4, ...big(values[0], 2)];
    case 'wscale':
      return [3, 3, ...big(values[0], 1)];
    case 'sackOK':
      return [4, 2];
    case 'sack': {
      const edges = values.flatMap((block) => block.split('-'));
      return [5, 2 + 4 * edges.length, ...edges.flatMap((edge) => big(edge, 4))];
    }
    case 'ts':
      return [8, 10, ...big(values[0], 4), ...big(values[1], 4)];
    default:
      throw new Error(`TCP option ${JSON.stringify(part)} is not known`);
  }
}

/** Big-endian bytes of a number in text. */
function big(text: string | undefined, bytes: number): number[] {
  const value = Number(text);
  if (!Number.isInteger(value)) throw new Error(`TCP option value ${JSON.stringify(text)} is not a number`);
  return Array.from({ length: bytes }, (_, i) => (value >>> (8 * (bytes - 1 - i))) & 0xff);
}
