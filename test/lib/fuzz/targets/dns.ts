/** DNS messages: every query gets a response that fits and can be decoded, or a refusal; nothing else is answered. */
import { decode, encode } from 'dns-packet';
import type { Service } from '../../../../src/api/types/objects.ts';
import { ClusterZone } from '../../../../src/dns/cluster-zone.ts';
import { type Query, readQuery, TCP_BYTES, udpRoom, writeRefusal, writeResponse } from '../../../../src/dns/message.ts';
import { Resolver } from '../../../../src/dns/resolver.ts';
import { service } from '../../../unit/controllers/test-cluster.ts';
import { pick, type Random } from '../../seeded-random.ts';
import type { FuzzTarget } from '../target.ts';

const zone = new ClusterZone('cluster.local', '10.96.0.10');
zone.setService(service('web') as Service);
const resolver = new Resolver({ zone, isOwnAddress: (address) => address.startsWith('10.') });

const NAMES = [
  'web.default.svc.cluster.local',
  'WEB.default.SVC.cluster.local',
  '_http._tcp.web.default.svc.cluster.local',
  'cluster.local',
  'svc.cluster.local',
  'nothing.default.svc.cluster.local',
  '10-244-1-2.default.pod.cluster.local',
  '10.0.96.10.in-addr.arpa',
  '1.0.0.f.ip6.arpa',
  'example.com',
  '',
  'a'.repeat(63),
  `${'b.'.repeat(120)}c`,
];
const TYPES = ['A', 'AAAA', 'SRV', 'PTR', 'SOA', 'NS', 'ANY', 'TXT', 'MX', 'AXFR', 'CNAME', 'HTTPS', 'NAPTR'];

function message(random: Random): Buffer {
  const name = pick(random, NAMES);
  const type = pick(random, TYPES) as 'A';
  const questions = Array.from({ length: random.below(8) === 0 ? random.below(3) : 1 }, () => ({ name, type }));
  const additionals = Array.from({ length: random.below(4) === 0 ? random.below(3) : 0 }, () => ({
    type: 'OPT' as const,
    name: '.' as const,
    udpPayloadSize: pick(random, [0, 512, 1232, 4096, 65535]),
    extendedRcode: 0,
    ednsVersion: random.below(8) === 0 ? 1 : 0,
    flags: 0,
    flag_do: false,
    options: [],
  }));
  const bytes = Buffer.from(
    encode({ type: 'query', id: random.below(65536), flags: 256, questions, additionals } as never),
  );
  // Counts, lengths of labels, compression.
  for (let n = random.below(4); n > 0; n--)
    bytes[random.below(bytes.length)] = pick(random, [0, 1, 0xc0, 0xff, 0x3f, 12]);
  return random.below(6) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}

export const target: FuzzTarget = {
  name: 'dns',
  unit: 'messages',
  async run(random: Random): Promise<number> {
    const given = message(random);
    const query = readQuery(given);
    if (query === undefined) return 1;
    if ('rcode' in query) {
      if (decode(writeRefusal(query.id, query.rcode)).id !== query.id) throw new Error('a refusal of another query');
      return 1;
    }
    const response = await resolver.resolve(query);
    for (const room of [udpRoom(query as Query), TCP_BYTES]) {
      const bytes = writeResponse(query as Query, response, room);
      if (bytes.length > room) throw new Error(`${bytes.length} bytes of ${room}`);
      const decoded = decode(bytes);
      if (decoded.type !== 'response' || decoded.id !== query.id) throw new Error('a response to another query');
    }
    return 1;
  },
};
